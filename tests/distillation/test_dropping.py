"""Greedy dropping: a layer that changes nothing goes first, and distances are those of the formula."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.dropping import ROWS, least_missed, left_after_dropping, rows_to_drop_by
from pkd.tasks import MULTI_LABEL, REGRESSION, SINGLE_LABEL


def annotated(teacher: PreTrainedModel, folder: Path, count: int = 20) -> datasets.Dataset:
    reviews = make_reviews(count)
    rows = datasets.Dataset.from_dict({"text": [text for text, _ in reviews], "label": [0] * count})
    folder.mkdir()
    return encode(
        annotate_rows(rows, TeacherPass(teacher, make_tokenizer(), (), max_length=64), folder), make_tokenizer(), 64
    )


def without_effect(teacher: PreTrainedModel, layer: int) -> PreTrainedModel:
    """The teacher with a layer, counted from 1, whose output is its input.

    Both of its residual branches add 0, and a norm of what is normalised already changes nothing.
    """
    chosen = teacher.bert.encoder.layer[layer - 1]
    with torch.no_grad():
        for branch in (chosen.attention.output.dense, chosen.output.dense):
            branch.weight.zero_()
            branch.bias.zero_()
    return teacher


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_a_layer_that_changes_nothing_goes_first(layer: int, tmp_path: Path) -> None:
    teacher = without_effect(make_teacher().eval(), layer)  # type: ignore[arg-type]
    rows = annotated(teacher, tmp_path / "rows")
    gone, distance = least_missed(teacher, [1, 2, 3, 4], rows, SINGLE_LABEL)
    assert gone == layer
    assert distance == pytest.approx(0.0, abs=1e-6)


def test_the_distance_is_the_divergence_from_the_stored_logits() -> None:
    """Stored logits (0, ln 3) are probabilities 1/4 and 3/4; a head of zeros answers 1/2 and 1/2 after any cut.

    KL = 1/4 ln(1/4 / 1/2) + 3/4 ln(3/4 / 1/2) = 3/4 ln 3 - ln 2 = 0.1308; all layers are equal, so the first goes.
    """
    teacher = make_teacher(layers=2).eval()
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.zero_()
    rows = stored([[0.0, float(np.log(3))]] * 3)
    heard: list[None] = []
    gone, distance = least_missed(teacher, [1, 2], rows, SINGLE_LABEL, lambda: heard.append(None))  # type: ignore[arg-type]
    assert gone == 1
    assert distance == pytest.approx(0.75 * np.log(3) - np.log(2), abs=1e-6)
    assert len(heard) == 2


def test_scores_and_sets_have_distances_of_their_own() -> None:
    """A score of 3 against 0 is 9 away; the cross-entropy of any label with 1/2 is ln 2."""
    one, two = (make_teacher(layers=2, labels=labels).eval() for labels in (("score",), ("a", "b")))
    for model in (one, two):
        with torch.no_grad():
            model.classifier.weight.zero_()
            model.classifier.bias.zero_()
    assert least_missed(one, [1, 2], stored([[3.0]] * 2), REGRESSION)[1] == pytest.approx(9.0)  # type: ignore[arg-type]
    sets = stored([[float(np.log(3)), float(np.log(3))]] * 2)
    assert least_missed(two, [1, 2], sets, MULTI_LABEL)[1] == pytest.approx(np.log(2))  # type: ignore[arg-type]


def stored(logits: list[list[float]]) -> datasets.Dataset:
    texts = datasets.Dataset.from_dict({"text": [text for text, _ in make_reviews(len(logits))]})
    feature = datasets.Sequence(datasets.Value("float32"), length=len(logits[0]))
    return encode(texts, make_tokenizer(), 64).add_column("teacher_logits", logits, feature=feature)


def test_every_part_of_a_sorted_file_is_measured() -> None:
    many = datasets.Dataset.from_dict({"number": list(range(10 * ROWS))})
    some = rows_to_drop_by(many)["number"]
    assert len(some) == ROWS
    assert (some[0], some[-1]) == (0, 10 * ROWS - 1)
    assert max(np.diff(some)) <= 11
    few = datasets.Dataset.from_dict({"number": [1, 2, 3]})
    assert rows_to_drop_by(few)["number"] == [1, 2, 3]


def test_a_student_keeps_what_was_not_dropped_before_its_depth() -> None:
    order = [3, 2, 6, 5, 1]
    assert [left_after_dropping(order, 6, layers) for layers in (6, 5, 3, 1)] == [
        [1, 2, 3, 4, 5, 6], [1, 2, 4, 5, 6], [1, 4, 5], [4]
    ]  # fmt: skip
