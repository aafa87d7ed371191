from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, log_loss

from pkd.errors import DataError
from pkd.evaluation.multilabel import compare_with_teacher, gain_by_row, score
from pkd.tasks import MULTI_LABEL


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = (random.random((150, 4)) < [0.5, 0.3, 0.1, 0.02]).astype(np.float32)
    teacher = (4 * labels - 2 + random.normal(0, 1.5, labels.shape)).astype(np.float32)
    student = (teacher + random.normal(0, 1.5, labels.shape)).astype(np.float32)
    return student, teacher, labels


def test_scores_are_those_of_scikit_learn(answers: tuple[np.ndarray, ...]) -> None:
    student, _, labels = answers
    found, said = score(student, labels), student > 0
    assert found["micro_f1"] == pytest.approx(f1_score(labels, said, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro", zero_division=0))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, said))
    assert found["label_accuracy"] == pytest.approx(1 - hamming_loss(labels, said))
    probability = 1 / (1 + np.exp(-student.astype(np.float64)))
    assert found["cross_entropy"] == pytest.approx(log_loss(labels.ravel(), probability.ravel()))


def test_intervals_hold_the_scores(answers: tuple[np.ndarray, ...]) -> None:
    student, teacher, labels = answers
    found = score(student, labels) | compare_with_teacher(student, teacher)
    intervals = MULTI_LABEL.scoring.bootstrap_intervals(
        student, labels, resamples=500, confidence=0.95, seed=1, teacher_logits=teacher
    )
    assert set(intervals) == set(found)
    assert all(low <= found[name] <= high for name, (low, high) in intervals.items())
    random = np.random.default_rng(1)
    drawn = [random.integers(0, 150, 150) for _ in range(500)]
    naive = [f1_score(labels[rows], student[rows] > 0, average="micro") for rows in drawn]
    assert intervals["micro_f1"] == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))


def test_a_model_agrees_with_itself(answers: tuple[np.ndarray, ...]) -> None:
    assert compare_with_teacher(answers[0], answers[0]) == {"agreement": 1.0, "kl": pytest.approx(0.0, abs=1e-12)}


def test_the_gain_of_a_row_is_its_share_of_right_answers() -> None:
    gains = gain_by_row(np.array([[1.0, -1.0, 2.0, 2.0]]), np.array([[1, 0, 0, 1]]))
    np.testing.assert_allclose(gains, [0.75])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="one shape"):
        score(np.ones((2, 3)), np.ones((2, 2)))
