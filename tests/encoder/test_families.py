import pytest
import torch
from transformers import (
    AlbertConfig,
    BartConfig,
    BertConfig,
    FNetConfig,
    GPT2Config,
    ModernBertConfig,
    RobertaConfig,
)

from encoder.families import CONFIGS, make_classifier
from pkd.encoder.families import FAMILIES, check_pooling, cut_config, depth_of, family_of, layers_of, longest_input
from pkd.errors import TeacherError


def test_every_family_of_the_table_is_tested() -> None:
    assert set(CONFIGS) == set(FAMILIES)


@pytest.mark.parametrize("kind", CONFIGS)
def test_layers_are_found_where_the_table_says(kind: str) -> None:
    model = make_classifier(kind)
    assert len(layers_of(model)) == depth_of(model.config) == 6


@pytest.mark.parametrize("kind", CONFIGS)
def test_hidden_states_are_counted_from_the_embeddings(kind: str) -> None:
    model = make_classifier(kind)
    output = model(input_ids=torch.tensor([[2, 5, 6, 3]]), output_hidden_states=[2])
    assert len(output.hidden_states) == 7
    seen = {}
    layers_of(model)[1].register_forward_hook(lambda module, args, out: seen.update(out=out))
    model(input_ids=torch.tensor([[2, 5, 6, 3]]))
    layer_output = seen["out"][0] if isinstance(seen["out"], tuple) else seen["out"]
    torch.testing.assert_close(output.hidden_states[2], layer_output)


def test_a_family_that_cannot_work_says_why() -> None:
    with pytest.raises(TeacherError, match="share one set of weights"):
        family_of(AlbertConfig())
    with pytest.raises(TeacherError, match="A fnet model is not supported"):
        family_of(FNetConfig())
    for generative in (BartConfig(), GPT2Config(), BertConfig(is_decoder=True)):
        with pytest.raises(TeacherError, match=rf"A {generative.model_type} model generates text; a BERT-like encoder"):
            family_of(generative)


def test_a_head_that_pools_over_all_positions_is_refused_where_states_are_compared_alone() -> None:
    config = ModernBertConfig(classifier_pooling="mean")
    assert family_of(config).layers == "model.layers"
    with pytest.raises(TeacherError, match=r"The head of ettin pools over all positions .* method='kd'"):
        check_pooling("ettin", config)
    for each in (CONFIGS["modernbert"], CONFIGS["mpnet"]):
        check_pooling("x", each)


def test_modernbert_needs_its_first_layer_and_keeps_each_layers_kind_of_attention() -> None:
    config = CONFIGS["modernbert"]
    with pytest.raises(TeacherError, match="must start from the teacher's first layer"):
        cut_config(config, [2, 4, 6])
    assert cut_config(config, [1, 3, 4]).layer_types == [config.layer_types[index] for index in (0, 2, 3)]
    assert len(config.layer_types) == 6


def test_roberta_counts_positions_from_behind_the_padding() -> None:
    assert longest_input(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512
    assert longest_input(CONFIGS["bert"]) == 66
