import copy

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from encoder.families import CONFIGS, make_classifier
from pkd.data.batches_by_length import batches_by_length
from pkd.data.tokenize import encode
from pkd.encoder import inference
from pkd.encoder.inference import answer_rows, tokenizer_for


def test_answers_come_in_the_order_of_the_rows(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: datasets.Dataset
) -> None:
    encoded = encode(rows, tokenizer, 64)
    answers = answer_rows(teacher, encoded, layers=[1, 3])
    assert answers.cls_states is not None
    assert answers.cls_states.shape == (40, 2, 16)
    for index in (0, 7, 39):
        alone = teacher(input_ids=torch.tensor([encoded[index]["input_ids"]]), output_hidden_states=True)
        np.testing.assert_allclose(answers.logits[index], alone.logits[0].detach(), atol=1e-5)
        np.testing.assert_allclose(answers.cls_states[index, 1], alone.hidden_states[3][0, 0].detach(), atol=1e-5)


def test_on_the_cpu_batches_have_few_shapes_whatever_the_rows(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    shapes: list[set[tuple[int, ...]]] = []
    teacher.register_forward_pre_hook(
        lambda _, __, inputs: shapes[-1].add(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    monkeypatch.setitem(inference.TOKENS_PER_BATCH, "cpu", 256)
    for _ in range(3):
        texts = [
            " ".join(["good"] * count) for count in [70, *random.integers(0, 70, size=int(random.integers(150, 250)))]
        ]
        encoded = encode(datasets.Dataset.from_dict({"text": texts}), tokenizer, 64)
        shapes.append(set())
        assert len(answer_rows(teacher, encoded).logits) == len(texts)
    lengths = {length for _, length in set.union(*shapes)}
    assert lengths <= {*range(17), *range(18, 33, 2), *range(36, 65, 4)}
    assert len(set.union(*shapes)) <= len(lengths) + 9
    for rows, length in set.union(*shapes):
        assert rows == 256 // length or rows.bit_count() == 1


def test_dropout_is_off_and_the_models_mode_is_left_as_it_was(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: datasets.Dataset
) -> None:
    encoded = encode(rows, tokenizer, 64)
    teacher.train()
    once, again = answer_rows(teacher, encoded), answer_rows(teacher, encoded)
    np.testing.assert_array_equal(once.logits, again.logits)
    assert teacher.training


def test_no_rows_give_no_answers(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: datasets.Dataset
) -> None:
    assert answer_rows(teacher, encode(rows.select([]), tokenizer, 64)).logits.shape == (0, 2)


def test_no_rows_of_a_multiple_choice_are_as_wide_as_others(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    choices = {"text_a": ["a film"], **{f"choice_{number}": ["good"] for number in range(3)}}
    encoded = encode(datasets.Dataset.from_dict(choices), tokenizer, 64)
    assert answer_rows(teacher, encoded.select([])).logits.shape == (0, 3)


@given(st.lists(st.integers(1, 512), max_size=60), st.integers(1, 2048))
def test_batches_hold_every_row_once_and_no_more_tokens_than_allowed(lengths: list[int], tokens: int) -> None:
    array = np.asarray(lengths, dtype=np.int64)
    batches = list(batches_by_length(array, tokens))
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * array[batch].max() <= tokens


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_without_a_second_token_type_reads_pairs_whatever_its_tokenizer_gives(
    kind: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Also rows that another model's tokenizer encoded, and a tokenizer that is saved with it gives what it takes."""
    model = make_classifier(kind)
    if hasattr(model.config, "type_vocab_size"):
        config = copy.deepcopy(model.config)
        config.type_vocab_size = 1
        model = AutoModelForSequenceClassification.from_config(config).eval()
    pairs = encode(
        datasets.Dataset.from_dict({"text_a": ["a fine film"], "text_b": ["the plot was dull"]}), tokenizer, 64
    )
    assert 1 in pairs["token_type_ids"][0]
    ids = torch.tensor([pairs["input_ids"][0]])
    expected = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.detach()
    np.testing.assert_allclose(answer_rows(model, pairs).logits, expected, atol=1e-5)
    fitting = tokenizer_for(model.config, tokenizer)
    assert set(fitting("a", "b")) == {"input_ids", "attention_mask"}
    assert "token_type_ids" in tokenizer("a", "b")  # the caller's own stays as it is
    assert fitting("a", "b")["input_ids"] == tokenizer("a", "b")["input_ids"]


def test_a_model_with_two_token_types_reads_both(teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = datasets.Dataset.from_dict({"text_a": ["a fine film"], "text_b": ["the plot was dull"]})
    batch = tokenizer("a fine film", "the plot was dull", return_tensors="pt")
    np.testing.assert_allclose(
        answer_rows(teacher, encode(rows, tokenizer, 64)).logits, teacher(**batch).logits.detach(), atol=1e-5
    )
    assert tokenizer_for(teacher.config, tokenizer) is tokenizer
