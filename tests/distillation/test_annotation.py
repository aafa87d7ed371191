from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd import progress
from pkd.data.batching import Collator, TokenRows, stored_teacher_layers
from pkd.data.shards import finished_shards
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.encoder.inference import cls_states_of
from pkd.errors import Stopped, TeacherError


def annotate(rows: datasets.Dataset, folder: Path, **keywords: object) -> datasets.Dataset:
    options = {"teacher_layers": [1, 3], "max_length": 64, "states_dtype": "float32", "rows_per_shard": 16, **keywords}
    folder.mkdir(exist_ok=True)
    return annotate_rows(rows, TeacherPass(make_teacher().eval(), make_tokenizer(), **options), folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    reviews = make_reviews(50)
    rows = datasets.Dataset.from_dict(
        {"text": [text for text, _ in reviews], "label": [int(label == "positive") for _, label in reviews]}
    )
    return annotate(rows, tmp_path_factory.mktemp("annotated"))


def answers_of(text: str) -> tuple[np.ndarray, np.ndarray]:
    output = make_teacher().eval()(
        **make_tokenizer()(text, return_tensors="pt", return_token_type_ids=False), output_hidden_states=True
    )
    return output.logits[0].detach().numpy(), cls_states_of(output.hidden_states, [1, 3], 1)[0].detach().numpy()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_row_keeps_its_own_teacher_through_shuffles_filters_and_concatenations(
    annotated: datasets.Dataset, data: st.DataObject
) -> None:
    first = data.draw(st.booleans())  # whether the word pieces are there before or after
    changed = encode(annotated, make_tokenizer(), 64) if first else annotated
    for _ in range(data.draw(st.integers(1, 3))):
        match data.draw(st.sampled_from(["shuffle", "filter", "select", "concatenate"])):
            case "shuffle":
                changed = changed.shuffle(seed=data.draw(st.integers(0, 99)))
            case "filter":
                changed = changed.filter(
                    lambda row: len(row["text"]) % 2 == 0, load_from_cache_file=False, keep_in_memory=True
                )
            case "select":
                changed = changed.select(range(0, len(changed), data.draw(st.integers(1, 3))))
            case "concatenate":
                changed = datasets.concatenate_datasets([changed.select(range(len(changed) // 2)), changed])
        if len(changed) == 0:
            return
    changed = encode(changed, make_tokenizer(), 64)
    index = data.draw(st.integers(0, len(changed) - 1))
    assert changed[index]["input_ids"] == make_tokenizer()(changed[index]["text"])["input_ids"]
    batch = Collator(0, [1, 3])(TokenRows(changed).__getitems__([index]))
    logits, states = answers_of(changed[index]["text"])
    np.testing.assert_allclose(batch["teacher_logits"][0], logits, atol=1e-5)
    np.testing.assert_allclose(batch["teacher_cls_states"][0], states, atol=1e-5)


def test_a_batch_brings_the_states_in_the_order_of_the_loss(annotated: datasets.Dataset) -> None:
    table = TokenRows(encode(annotated, make_tokenizer(), 64)).__getitems__([4, 2, 40])
    forward, backward = Collator(0, [1, 3])(table), Collator(0, [3, 1])(table)
    assert forward["teacher_cls_states"].shape == (3, 2, 16)
    torch.testing.assert_close(forward["teacher_cls_states"].flip(1), backward["teacher_cls_states"])
    assert stored_teacher_layers(annotated) == (1, 3)


def test_float16_is_stored_as_such_and_logits_alone_without_layers(rows: datasets.Dataset, tmp_path: Path) -> None:
    half = annotate(rows, tmp_path / "half", states_dtype="float16")
    batch = Collator(0, [1, 3])(TokenRows(encode(half, make_tokenizer(), 64)).__getitems__([0]))
    assert batch["teacher_cls_states"].dtype == torch.float16
    assert batch["teacher_logits"].dtype == torch.float32
    assert "teacher_cls_states" not in annotate(rows, tmp_path / "logits", teacher_layers=[]).column_names


def test_a_stopped_pass_goes_on_and_makes_only_what_is_missing(rows: datasets.Dataset, tmp_path: Path) -> None:
    whole = annotate(rows, tmp_path / "whole")
    folder = tmp_path / "stopped"
    try:
        with pytest.raises(Stopped, match="1 of 3 shards are saved") as stopped, progress.saves_on_stop():
            progress.request_stop(75)
            annotate(rows, folder)
    finally:
        progress.clear_stop()
    assert stopped.value.exit_code == 75
    first = (folder / "shard-00000.arrow").stat().st_mtime_ns
    assert annotate(rows, folder).to_dict() == whole.to_dict()
    assert (folder / "shard-00000.arrow").stat().st_mtime_ns == first
    assert [file.name for file in finished_shards(folder)] == [f"shard-0000{number}.arrow" for number in range(3)]


def test_a_damaged_shard_alone_is_made_again(rows: datasets.Dataset, tmp_path: Path) -> None:
    whole = annotate(rows, tmp_path / "a").to_dict()
    shard = tmp_path / "a" / "shard-00001.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    untouched = (tmp_path / "a" / "shard-00002.arrow").stat().st_mtime_ns
    assert annotate(rows, tmp_path / "a").to_dict() == whole
    assert (tmp_path / "a" / "shard-00002.arrow").stat().st_mtime_ns == untouched


def test_an_answer_that_is_not_finite_is_refused(
    rows: datasets.Dataset, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with torch.no_grad():
        teacher.classifier.bias[0] = float("inf")
    with pytest.raises(TeacherError, match=r"row 0 \(and 39 more\).*not finite"):
        annotate_rows(rows, TeacherPass(teacher, tokenizer, [], 64), tmp_path)


def test_a_state_too_large_for_float16_is_refused_and_fits_float32(
    rows: datasets.Dataset, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with torch.no_grad():
        teacher.bert.encoder.layer[0].output.LayerNorm.weight.fill_(1e6)
    with pytest.raises(TeacherError, match="do not fit float16"):
        annotate_rows(rows, TeacherPass(teacher, tokenizer, [1], 64), tmp_path)
    stored = annotate_rows(rows, TeacherPass(teacher, tokenizer, [1], 64, states_dtype="float32"), tmp_path)
    assert np.isfinite(stored[0]["teacher_cls_states"]["1"]).all()
