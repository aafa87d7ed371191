import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pkd.errors import DataError, TeacherError
from pkd.evaluation.fidelity import compare_with_teacher, negative_flips


def logits_of(*shares: float) -> list[list[float]]:
    """Logits of two classes whose first has these probabilities."""
    return [[math.log(share), math.log(1 - share)] for share in shares]


def test_agreement_is_the_share_of_rows_with_the_same_class_right_or_wrong() -> None:
    student = np.array(logits_of(0.6, 0.6, 0.2, 0.9))
    teacher = np.array(logits_of(0.9, 0.4, 0.3, 0.8))
    assert compare_with_teacher(student, teacher)["agreement"] == pytest.approx(3 / 4)


def test_kl_runs_from_the_teacher_to_the_student() -> None:
    # KL((3/4, 1/4) ‖ (1/2, 1/2)) = 3/4 log(3/2) + 1/4 log(1/2); the other way round it is log(2) − 1/2 log(3).
    student, teacher = np.array(logits_of(0.5)), np.array(logits_of(0.75))
    assert compare_with_teacher(student, teacher)["kl"] == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert compare_with_teacher(teacher, student)["kl"] == pytest.approx(math.log(2) - 0.5 * math.log(3))


def test_negative_flips_are_the_rows_only_the_teacher_has_right_most_confident_first() -> None:
    labels = np.array([0, 0, 0, 1, 1, 0])
    teacher = np.array(logits_of(0.9, 0.9, 0.2, 0.1, 0.3, 0.6))  # wrong on row 2
    student = np.array(logits_of(0.4, 0.9, 0.1, 0.8, 0.4, 0.3))  # wrong on rows 0 (60 %), 2, 3 (80 %), 5 (70 %)
    assert negative_flips(student, teacher, labels).tolist() == [3, 5, 0]


def test_equally_confident_flips_stay_in_order() -> None:
    student, teacher = np.array(logits_of(0.25, 0.25, 0.25)), np.array(logits_of(0.9, 0.9, 0.9))
    assert negative_flips(student, teacher, np.zeros(3, dtype=int)).tolist() == [0, 1, 2]


def test_a_student_equal_to_its_teacher_flips_nothing() -> None:
    logits = np.array(logits_of(0.9, 0.2))
    assert negative_flips(logits, logits, np.array([0, 0])).tolist() == []


@given(arrays(np.float64, (2, 7, 3), elements=st.floats(-30, 30)))
def test_kl_is_never_negative_and_zero_for_equal_answers(pair: np.ndarray) -> None:
    assert compare_with_teacher(pair[0], pair[1])["kl"] >= 0
    assert compare_with_teacher(pair[0], pair[0]) == {"agreement": 1.0, "kl": 0.0}


@given(arrays(np.float64, (2, 9, 3), elements=st.floats(-30, 30)), arrays(np.int64, 9, elements=st.integers(0, 2)))
def test_flips_are_distinct_rows_and_count_what_the_definition_counts(pair: np.ndarray, labels: np.ndarray) -> None:
    flips = negative_flips(pair[0], pair[1], labels)
    wanted = [row for row in range(9) if pair[1][row].argmax() == labels[row] != pair[0][row].argmax()]
    assert sorted(flips.tolist()) == wanted


def test_different_shapes_are_refused_with_both() -> None:
    with pytest.raises(DataError, match=r"\(4, 2\).*\(3, 2\)"):
        compare_with_teacher(np.zeros((4, 2)), np.zeros((3, 2)))


def test_no_row_is_refused() -> None:
    with pytest.raises(DataError, match="0 rows"):
        compare_with_teacher(np.zeros((0, 2)), np.zeros((0, 2)))


def test_a_teacher_that_answers_nan_is_refused() -> None:
    with pytest.raises(TeacherError, match="row 1"):
        compare_with_teacher(np.zeros((2, 2)), np.array([[0.0, 1.0], [math.nan, 0.0]]))
