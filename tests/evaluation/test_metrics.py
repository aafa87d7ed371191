import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from pkd.errors import DataError, TeacherError
from pkd.evaluation.metrics import cross_entropy, expected_calibration_error, score


def logits_that_predict(classes: list[int], of: int = 3) -> np.ndarray:
    return np.eye(of)[classes] * 5


# Labels     0 0 0 1 1 2
# Predicted  0 0 1 1 0 1   the confusion matrix has rows (2 1 0), (1 1 0), (0 1 0)
LABELS = np.array([0, 0, 0, 1, 1, 2])
LOGITS = logits_that_predict([0, 0, 1, 1, 0, 1])


def test_accuracy_is_the_share_of_rows_whose_top_class_is_the_label() -> None:
    assert score(LOGITS, LABELS)["accuracy"] == pytest.approx(3 / 6)


def test_macro_f1_weighs_every_class_the_same() -> None:
    # Class 0: 2·2 / (2·2 + 1 + 1) = 2/3; class 1: 2·1 / (2·1 + 2 + 1) = 2/5; class 2: 0.
    assert score(LOGITS, LABELS)["macro_f1"] == pytest.approx((2 / 3 + 2 / 5 + 0) / 3)


def test_macro_f1_leaves_out_a_class_that_is_neither_label_nor_prediction() -> None:
    assert score(logits_that_predict([0, 1]), np.array([0, 1]))["macro_f1"] == 1.0


def test_mcc_is_the_correlation_of_the_confusion_matrix() -> None:
    # c s − Σ p t = 3·6 − (3·3 + 3·2 + 0·1) = 3; s² − Σ p² = 36 − 18; s² − Σ t² = 36 − 14.
    assert score(LOGITS, LABELS)["mcc"] == pytest.approx(3 / math.sqrt(18 * 22))


def test_mcc_is_zero_when_only_one_class_is_predicted() -> None:
    assert score(logits_that_predict([1, 1, 1]), np.array([0, 1, 2]))["mcc"] == 0.0


def test_cross_entropy_is_the_mean_of_minus_log_p_of_the_label_in_nats() -> None:
    # softmax(log 3, 0) = (3/4, 1/4).
    logits = np.array([[math.log(3), 0.0], [math.log(3), 0.0]])
    assert cross_entropy(logits, np.array([0, 1])) == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


def test_cross_entropy_stays_finite_where_the_softmax_underflows() -> None:
    assert cross_entropy(np.array([[1000.0, 0.0]]), np.array([1])) == pytest.approx(1000.0)


def test_calibration_error_is_the_gap_of_each_bin_weighed_by_its_rows() -> None:
    # Two rows at 3/4, one of them right: |1/2 − 3/4| = 1/4. Two rows at 9/10, both right: 1/10.
    at = [math.log(3), math.log(3), math.log(9), math.log(9)]
    logits = np.array([[logit, 0.0] for logit in at])
    assert expected_calibration_error(logits, np.array([0, 1, 0, 0])) == pytest.approx((2 * 0.25 + 2 * 0.1) / 4)


def test_calibration_gaps_of_opposite_sign_cancel_within_a_bin_only() -> None:
    # 3/4 and 0.74 share a bin (0.733, 0.8]: (0 − 0.75) + (1 − 0.74) = −0.49; 9/10 lies in another: +0.1.
    logits = np.array([[math.log(3), 0.0], [math.log(0.74 / 0.26), 0.0], [math.log(9), 0.0]])
    assert expected_calibration_error(logits, np.array([1, 0, 0])) == pytest.approx((0.49 + 0.1) / 3)


def test_float16_logits_are_scored_as_float64() -> None:
    logits = np.array([[8.0, 0.0]], dtype=np.float16)
    assert cross_entropy(logits, np.array([0])) == pytest.approx(math.log1p(math.exp(-8)))


@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(2, 5)), elements=st.floats(-50, 50)),
    st.randoms(use_true_random=False),
)
def test_every_metric_stays_in_its_range_and_ignores_the_order_of_rows(logits: np.ndarray, random) -> None:
    labels = np.array([random.randrange(logits.shape[1]) for _ in logits])
    scores = score(logits, labels)
    order = np.array(random.sample(range(len(labels)), len(labels)))
    assert 0 <= scores["accuracy"] <= 1
    assert 0 <= scores["macro_f1"] <= 1
    assert -1 - 1e-9 <= scores["mcc"] <= 1 + 1e-9
    assert 0 <= scores["ece"] <= 1
    assert scores["cross_entropy"] >= 0
    assert score(logits[order], labels[order]) == pytest.approx(scores)


@given(st.integers(2, 4), st.integers(1, 40), st.randoms(use_true_random=False))
def test_what_is_told_by_counts_is_scikit_learns(classes: int, rows: int, random) -> None:
    labels, answers = (np.array([random.randrange(classes) for _ in range(rows)]) for _ in range(2))
    found = score(logits_that_predict(answers.tolist(), of=classes), labels)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro", zero_division=0.0))
    if len(set(labels) | set(answers)) > 1:  # of one class scikit-learn says 0 with a warning
        assert found["mcc"] == pytest.approx(matthews_corrcoef(labels, answers))
    if classes == 2:
        assert found["f1"] == pytest.approx(f1_score(labels == 1, answers == 1, zero_division=0.0))


@given(st.integers(0, 4), st.floats(-20, 20))
def test_a_constant_added_to_a_rows_logits_changes_nothing(row: int, constant: float) -> None:
    shifted = LOGITS.copy()
    shifted[row] += constant
    assert score(shifted, LABELS) == pytest.approx(score(LOGITS, LABELS))


def test_no_row_is_refused() -> None:
    with pytest.raises(DataError, match="0 rows"):
        score(np.zeros((0, 2)), np.zeros(0, dtype=int))


def test_labels_of_another_length_are_refused_with_both_shapes() -> None:
    with pytest.raises(DataError, match=r"\(6, 3\).*\(5,\)"):
        score(LOGITS, LABELS[:5])


@pytest.mark.parametrize("label", [-1, 3, -100])
def test_a_label_that_is_no_class_is_refused_with_its_row(label: int) -> None:
    labels = LABELS.copy()
    labels[4] = label
    with pytest.raises(DataError, match=rf"Row 4 has the label {label}, .* 0 to 2"):
        score(LOGITS, labels)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_logit_that_is_not_finite_is_the_models_fault(broken: float) -> None:
    logits = LOGITS.copy()
    logits[2, 1] = broken
    with pytest.raises(TeacherError, match="1 of 6 rows, first in row 2"):
        score(logits, LABELS)
