import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from conftest import make_teacher
from encoder.families import CONFIGS, make_classifier
from pkd.data.outputs import Outputs
from pkd.encoder.load import check_max_length, fingerprint_model, load_pretrained, load_teacher, without_bars
from pkd.errors import RecipeError, ResourceError, TeacherError

OUTPUTS = Outputs("single_label_classification", ("a", "b"))


@pytest.fixture
def folder(workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workspace / "teacher", tmp_path / "teacher"))


def test_a_fine_tuned_folder_loads_in_float32_whatever_it_holds(folder: Path) -> None:
    loaded = load_teacher(str(folder))
    assert loaded.label_names == ("negative", "positive")
    half = loaded.model.half()
    half.save_pretrained(folder)
    assert load_teacher(str(folder)).model.dtype == torch.float32


def test_a_folder_loads_without_bars_and_leaves_those_of_the_user(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "_tqdm_active", True)
    seen = []
    before = logging.set_tqdm_hook(lambda make, args, keywords: seen.append(keywords) or make(*args, **keywords))
    try:
        loaded = load_teacher(str(folder))
        with without_bars():
            loaded.model.save_pretrained(folder / "again")
        assert (seen, capsys.readouterr().err) == ([], "")
        loaded.model.save_pretrained(folder / "again")
    finally:
        logging.set_tqdm_hook(before)
    assert seen
    assert "Writing model shards" in capsys.readouterr().err


def test_a_new_head_on_an_encoder_is_not_reported_as_missing_weights(
    foreign_encoder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.get_logger("transformers.modeling_utils")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    level, _ = logger.level, logger.setLevel("WARNING")
    try:
        load_pretrained(str(foreign_encoder), OUTPUTS)
        assert not caplog.records
        AutoModelForSequenceClassification.from_pretrained(foreign_encoder)
        assert "LOAD REPORT" in caplog.text  # a user's own loading has it
    finally:
        logger.setLevel(level)


def test_the_pooler_of_a_bare_encoder_is_no_head_of_its_own(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    AutoModel.from_config(CONFIGS["mpnet"]).save_pretrained(folder)  # its classifier has no pooler
    with pytest.raises(TeacherError, match=r"is not fine-tuned.*classifier.*pkd finetune"):
        load_teacher(str(folder))


def test_an_encoder_without_a_trained_head_is_no_teacher(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    BertModel(
        BertConfig(vocab_size=31, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    ).save_pretrained(folder)
    with pytest.raises(TeacherError, match=r"is not fine-tuned.*classifier.*pkd finetune"):
        load_teacher(str(folder))
    assert load_pretrained(str(folder), Outputs("single_label_classification", ("a", "b", "c"))).label_names == (
        "a",
        "b",
        "c",
    )


def add_weights(folder: Path, *names: str) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, **{name: torch.zeros(2) for name in names}}, folder / "model.safetensors", metadata={"format": "pt"}
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["head.dense.weight", "head.dense.bias"], r"does not use: head\.dense\.bias, head\.dense\.weight\. Without"),
        (["heads.topic.weight", "heads.tone.weight"], r"does not use: heads\.tone\.weight, heads\.topic\.weight"),
        (["classifier2.weight"], r"BertForSequenceClassification does not use: classifier2\.weight"),
        (["cls.weight"], r"does not use: cls\.weight"),
        (["decoder.bias"], r"does not use: decoder\.bias"),  # which is ModernBERT's for masked words, and not BERT's
        (["bert.encoder.layer.4.output.dense.bias"], r"does not use: bert\.encoder\.layer\.4"),
        ([f"extra.{number}" for number in range(9)], r"extra\.0, extra\.1, extra\.2 and 6 more"),
        (["bert.encoder.layer.0.attention.self.query.lora_A.default.weight"], "saved with an adapter in it .*merge"),
    ],
)
def test_weights_that_the_class_does_not_use_are_refused_by_name(folder: Path, names: list[str], words: str) -> None:
    add_weights(folder, *names)
    with pytest.raises(TeacherError, match=words):
        load_teacher(str(folder))
    assert load_pretrained(str(folder), OUTPUTS)  # whose head is new anyway


def test_a_head_of_another_form_than_the_class_reads_is_told_as_that(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["head.out.weight"] = weights.pop("classifier.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TeacherError, match=r"its own head \(head\.out\.weight\), not .*\(classifier\.weight\)"):
        load_teacher(str(folder))


@pytest.mark.parametrize(("kind", "count"), [*((kind, 3) for kind in CONFIGS), ("roberta", 16), ("electra", 16)])
def test_a_head_that_an_encoder_brings_gets_the_order_of_the_labels(folder: Path, kind: str, count: int) -> None:
    """16 outputs are as many as a head of RoBERTa or ELECTRA has hidden units between its two maps."""
    names = tuple("abcdefghijklmnop"[:count])
    classifier = make_classifier(kind, num_labels=count)
    classifier.config.id2label = dict(enumerate(name.upper() for name in names))
    classifier.save_pretrained(folder)
    pieces = torch.tensor([[2, 7, 9, 11, 3]])
    before = classifier(pieces).logits
    wanted = names[1:] + names[:1]
    found = load_pretrained(str(folder), Outputs("single_label_classification", wanted))
    assert found.label_names == wanted
    torch.testing.assert_close(found.model.eval()(pieces).logits, before.roll(-1, dims=1))
    others = ("x", *names[1:])  # another set of labels: as it was
    kept = load_pretrained(str(folder), Outputs("single_label_classification", others)).model.eval()
    assert torch.equal(kept(pieces).logits, before)


@pytest.mark.parametrize("kind", CONFIGS)
def test_weights_that_pretraining_leaves_behind_are_harmless(folder: Path, kind: str) -> None:
    """A masked-language head beside a full classification head, the pooler of an encoder whose classifier has none."""
    classifier = make_classifier(kind)
    masked = AutoModelForMaskedLM.from_config(CONFIGS[kind])
    encoder = AutoModel.from_config(CONFIGS[kind])
    prefix = classifier.base_model_prefix
    weights = {**masked.state_dict(), **{f"{prefix}.{name}": tensor for name, tensor in encoder.state_dict().items()}}
    weights |= {f"{prefix}.embeddings.position_ids": torch.arange(8), "loss_fct.weight": torch.ones(3)}
    weights |= classifier.state_dict()
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / "model.safetensors")
    classifier.config.save_pretrained(folder)
    if kind in ("roberta", "mpnet"):
        assert f"{prefix}.pooler.dense.weight" in weights
    assert any(
        "lm_head" in name or "cls." in name or "vocab" in name or "decoder" in name or "generator" in name
        for name in weights
    )
    loaded = load_teacher(str(folder)).model
    assert torch.equal(next(iter(loaded.parameters())), next(iter(classifier.parameters())))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_weights_that_are_not_finite_are_refused_by_name(folder: Path, value: float, place: int) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["bert.pooler.dense.weight"].view(-1)[place] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TeacherError, match=r"bert\.pooler\.dense\.weight hold values that are not finite"):
        load_teacher(str(folder))


def test_a_tokenizer_larger_than_the_embeddings_is_refused_with_both_numbers(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    larger = PreTrainedTokenizerFast.from_pretrained(folder)
    larger.add_tokens(["one", "two", "three"])
    larger.save_pretrained(folder)
    with pytest.raises(TeacherError, match="34 word pieces, but the model embeds 31"):
        load_teacher(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem_type": "regression"}, r"2 output.s. and problem_type regression"),
        (
            {"problem_type": "single_label_classification", "id2label": {"0": "one"}, "label2id": {"one": 0}},
            "cannot be loaded|has 1 output",
        ),
    ],
)
def test_a_head_that_does_not_fit_its_problem_type_is_refused(
    folder: Path, change: dict[str, str], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(TeacherError, match=message):
        load_teacher(str(folder))


def test_albert_is_refused_with_the_reason(folder: Path) -> None:
    config = AlbertConfig(vocab_size=31, embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=8)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    with pytest.raises(TeacherError, match="share one set of weights"):
        load_teacher(str(folder))


def test_a_truncated_file_is_told_in_one_sentence(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load_teacher(str(folder))


def test_a_missing_folder_and_a_hub_name_offline_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="does not exist"):
        load_teacher(str(tmp_path / "nowhere"))
    with pytest.raises(TeacherError, match="HF_HUB_OFFLINE is set"):
        load_teacher("someone/something")
    with pytest.raises(TeacherError, match=r"has no config\.json"):
        load_teacher(str(tmp_path))


def test_a_length_beyond_the_positions_is_refused(folder: Path) -> None:
    config = load_teacher(str(folder)).model.config
    check_max_length(config, 64)
    with pytest.raises(RecipeError, match="max_length is 65, but this bert model reads at most 64"):
        check_max_length(config, 65)


def test_the_fingerprint_is_of_the_weights_not_of_the_path(folder: Path, tmp_path: Path) -> None:
    model = load_teacher(str(folder)).model
    moved = Path(shutil.move(str(folder), str(tmp_path / "moved")))
    assert fingerprint_model(load_teacher(str(moved)).model) == fingerprint_model(model)
    with torch.no_grad():
        model.classifier.bias[0] += 1e-6
    assert fingerprint_model(load_teacher(str(moved)).model) != fingerprint_model(model)
    assert fingerprint_model(make_teacher(seed=1)) != fingerprint_model(make_teacher(seed=2))


@pytest.mark.parametrize("load", [load_teacher, lambda name: load_pretrained(name, OUTPUTS)])
def test_weights_of_another_architecture_are_refused_and_not_drawn_anew(folder: Path, load: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "roberta"}))
    with pytest.raises(TeacherError, match=r"model_type roberta\): \d+ weights of the encoder are missing"):
        load(str(folder))


def test_an_encoder_of_another_shape_than_its_configuration_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    with pytest.raises(TeacherError, match=r"have another shape, among them bert\.encoder\.layer\.0"):
        load_pretrained(str(folder), OUTPUTS)


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_folder_without_a_tokenizer_is_refused_and_one_with_a_plain_vocabulary_is_not(folder: Path) -> None:
    pieces = PreTrainedTokenizerFast.from_pretrained(folder).get_vocab()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(TeacherError, match=r"has no tokenizer: no vocabulary is saved beside the model"):
        load_teacher(str(folder))
    (folder / "vocab.txt").write_text("\n".join(sorted(pieces, key=lambda piece: pieces[piece])))
    assert load_teacher(str(folder)).tokenizer("a film")["input_ids"][0] == pieces["[CLS]"]


def test_a_tokenizer_that_adds_no_class_token_is_refused(folder: Path) -> None:
    change(folder / "tokenizer.json", post_processor=None)
    with pytest.raises(TeacherError, match=r"does not put the class token \(\[CLS\]\) before a text"):
        load_teacher(str(folder))


@pytest.mark.parametrize("value", [0, 2, -1, "x", 1.5])
def test_a_length_that_leaves_no_room_for_a_word_piece_is_refused(folder: Path, value: Any) -> None:
    change(folder / "tokenizer_config.json", model_max_length=value)
    with pytest.raises(TeacherError, match=f"model_max_length in its tokenizer_config.json is {value!r}"):
        load_teacher(str(folder))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id2label": {"0": "a", "1": "a"}}, "gives several outputs the name 'a'"),
        ({"id2label": {"0": "a", "1": " "}}, "gives output 1 an empty name"),
        ({"id2label": {"1": "a", "2": "b"}}, "must name every output by its number, from 0 on"),
        ({"problem_type": "foo"}, "problem_type is 'foo'; it must be one of single_label_classification"),
        ({"num_hidden_layers": 0}, r"config\.json has num_hidden_layers 0"),
        ({"num_hidden_layers": 10_000_000}, r"config\.json has num_hidden_layers 10000000"),
        ({"pad_token_id": -1}, r"config\.json has pad_token_id -1"),
        ({"hidden_dropout_prob": math.nan}, r"config\.json has hidden_dropout_prob nan"),
    ],
)
def test_a_configuration_that_no_model_can_have_is_refused_by_its_key(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    change(folder / "config.json", **changes)
    with pytest.raises(TeacherError, match=words):
        load_teacher(str(folder))


@pytest.mark.parametrize(
    "told",  # as PyTorch and safetensors say it
    ["unable to mmap 90871032 bytes from file <model.safetensors>: Cannot allocate memory (12)",
     "Cannot allocate memory (os error 12)"],
)  # fmt: skip
def test_a_model_for_which_the_memory_does_not_suffice_is_not_called_damaged(
    told: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(told)

    monkeypatch.setattr("pkd.encoder.load.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(ResourceError, match=r"memory does not suffice to load the teacher .*End other programs"):
        load_teacher(workspace / "teacher")
