from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from pkd.errors import DataError, TeacherError
from pkd.evaluation.regression import compare_with_teacher, gain_by_row, score
from pkd.tasks import REGRESSION


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.uniform(0, 5, 200).astype(np.float32)
    teacher = (labels + random.normal(0, 0.5, 200)).astype(np.float32)[:, None]
    student = (teacher[:, 0] + random.normal(0, 0.7, 200)).astype(np.float32)[:, None]
    return student, teacher, labels


def test_scores_are_those_of_scipy(answers: tuple[np.ndarray, ...]) -> None:
    student, _, labels = answers
    found = score(student, labels)
    assert found["pearson"] == pytest.approx(pearsonr(student[:, 0], labels).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(student[:, 0], labels).statistic)
    assert found["mse"] == pytest.approx(np.mean((student[:, 0] - labels) ** 2), rel=1e-6)


def test_intervals_hold_the_scores_and_are_those_of_rows_drawn_one_by_one(answers: tuple[np.ndarray, ...]) -> None:
    student, teacher, labels = answers
    found = score(student, labels) | compare_with_teacher(student, teacher)
    intervals = REGRESSION.scoring.bootstrap_intervals(
        student, labels, resamples=800, confidence=0.95, seed=3, teacher_logits=teacher
    )
    assert set(intervals) == set(found)
    assert all(low < found[name] < high for name, (low, high) in intervals.items())
    random = np.random.default_rng(3)
    drawn = [random.integers(0, 200, 200) for _ in range(800)]
    naive = np.quantile([pearsonr(student[rows, 0], labels[rows]).statistic for rows in drawn], [0.025, 0.975])
    assert intervals["pearson"] == pytest.approx(tuple(naive), abs=1e-6)


def test_a_constant_answer_has_no_correlation() -> None:
    assert score(np.ones((4, 1)), np.array([1.0, 2.0, 3.0, 4.0]))["pearson"] == 0


def test_the_gain_of_a_row_is_its_squared_error_below_zero() -> None:
    np.testing.assert_allclose(gain_by_row(np.array([[1.0], [4.0]]), np.array([1.5, 2.0])), [-0.25, -4.0])


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(DataError, match="Row 1 has a label that is not a number"):
        score(np.ones((2, 1)), np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="one number per row"):
        score(np.ones((2, 2)), np.array([1.0, 2.0]))
    with pytest.raises(TeacherError):
        score(np.array([[np.inf], [1.0]]), np.array([1.0, 2.0]))
