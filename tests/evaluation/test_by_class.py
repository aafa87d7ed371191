from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pkd.evaluation.by_class import BlindSpots, blind_to_classes, by_class, by_label
from pkd.tasks import BINARY, MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SINGLE_LABEL

NAMES = ("a", "b", "c")


def logits_of(answers: list[int], classes: int = 3) -> np.ndarray:
    return np.eye(classes)[answers] * 2.0 - 1.0


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40))
def test_the_figures_are_scikit_learns(rows: list[tuple[int, int, int]]) -> None:
    labels, answers, teachers = (np.array(column) for column in zip(*rows, strict=True))
    found = by_class(logits_of(answers), labels, NAMES, teacher_logits=logits_of(teachers))
    theirs = precision_recall_fscore_support(labels, answers, labels=[0, 1, 2], zero_division=0.0)
    for number, one in enumerate(found.classes):
        assert (one.precision, one.recall, one.f1, one.rows) == pytest.approx(tuple(each[number] for each in theirs))
        assert one.with_teacher == int(((answers == number) & (teachers == number)).sum())
    for cells, down in ((found.confusion, labels), (found.against_teacher, teachers)):
        matrix = np.zeros((3, 3), dtype=int)
        for row, column, count in cells:
            matrix[row, column] = count
        np.testing.assert_array_equal(matrix, confusion_matrix(down, answers, labels=[0, 1, 2]))


@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=40))
def test_each_class_of_a_set_is_a_yes_or_no_of_its_own(rows: list[tuple[bool, ...]]) -> None:
    both = np.array(rows)
    labels, answers = both[:, :3].astype(np.float32), both[:, 3:]
    logits = np.where(answers, 1.0, -1.0)
    found = by_label(logits, labels, NAMES, teacher_logits=-logits)
    theirs = precision_recall_fscore_support(labels, answers, average=None, zero_division=0.0)
    for number, one in enumerate(found.classes):
        assert (one.precision, one.recall, one.f1, one.rows) == pytest.approx(tuple(each[number] for each in theirs))
        assert one.with_teacher == 0  # a teacher that says the opposite
    assert found.confusion == found.against_teacher == []


def test_scores_and_places_have_no_figures_by_class() -> None:
    assert REGRESSION.scoring.by_class is None
    assert MULTIPLE_CHOICE.scoring.by_class is None


@pytest.mark.parametrize(
    ("answers", "labels", "found"),
    [
        ([0, 0, 0, 0], [0, 1, 1, 2], BlindSpots("a", {"b": 2, "c": 1})),
        ([0, 0, 2, 0], [0, 1, 1, 2], BlindSpots(None, {"b": 2, "c": 1})),  # what is answered need not be found
        ([0, 1, 2], [0, 1, 2], BlindSpots()),
        ([0, 1, 0], [0, 1, 0], BlindSpots()),  # a class without rows cannot be found
        ([0, 0], [0, 0], BlindSpots("a", {})),
        ([1], [0], BlindSpots()),
    ],
)
def test_a_model_of_one_answer_and_classes_that_are_never_found_are_seen(
    answers: list[int], labels: list[int], found: BlindSpots
) -> None:
    assert blind_to_classes(logits_of(answers), np.array(labels), NAMES) == found


def test_a_model_that_gives_no_label_to_any_row_answers_none() -> None:
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=np.float32)
    seen = MULTI_LABEL.scoring.blind_spots(-np.ones((3, 3)), labels, NAMES)
    assert seen == BlindSpots("none", {"a": 2, "b": 1})
    always = MULTI_LABEL.scoring.blind_spots(np.tile([1.0, -1.0, 1.0], (3, 1)), labels, NAMES)
    assert always == BlindSpots("a, c", {"b": 1})


def test_a_model_that_always_takes_the_first_choice_is_seen_and_misses_no_class() -> None:
    seen = MULTIPLE_CHOICE.scoring.blind_spots(logits_of([0, 0, 0]), np.array([0, 1, 2]), NAMES)
    assert seen == BlindSpots("choice a", {})


def test_scores_that_hardly_differ_are_one_answer() -> None:
    labels = np.array([0.0, 2.5, 5.0])
    assert REGRESSION.scoring.blind_spots(np.array([[2.5], [2.501], [2.502]]), labels, ("score",)) == BlindSpots(
        "2.5", {}
    )
    assert REGRESSION.scoring.blind_spots(np.array([[2.5], [2.6], [2.7]]), labels, ("score",)) == BlindSpots()


def test_one_output_has_the_figures_of_its_two_classes() -> None:
    labels, output = np.array([0, 1, 1, 0, 1]), np.array([[-1.0], [2.0], [-3.0], [-1.0], [1.0]])
    two = np.column_stack([np.zeros(5), output])
    names, scorings = ("0", "1"), (BINARY.scoring, SINGLE_LABEL.scoring)
    assert BINARY.scoring.by_class is not None
    one, again = (BINARY.scoring.by_class(each, labels, names, each) for each in (output, two))
    assert one == again == by_class(two, labels, names, two)
    assert [each.right for each in one.classes] == [2, 2]
    for scoring, each in zip(scorings, (output, two), strict=True):
        assert scoring.blind_spots(-np.abs(each) - (each == 0), labels, names).one_answer in ("0", "1")
    assert BINARY.scoring.blind_spots(-np.abs(output), labels, names).never_found == {"1": 3}
