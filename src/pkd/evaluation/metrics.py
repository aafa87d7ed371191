"""How good a classifier's answers are: logits and labels in, numbers out.

Every metric is a plain function of `logits` [N, C] and `labels` [N]; `score` gathers them under the names that
results, tables and charts use. A new metric starts here, and in `significance.py` where its interval is wanted.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from pkd.errors import DataError, TeacherError
from pkd.evaluation.answers import predictions, probabilities

Floats: TypeAlias = NDArray[np.floating]
Integers: TypeAlias = NDArray[np.integer]

CALIBRATION_BINS = 15  # as in Guo et al. 2017, section 5


def score(logits: Floats, labels: Integers) -> dict[str, float]:
    """Every metric of one model on one set of rows.

    Args:
        logits: [N, C], the model's answers before the softmax.
        labels: [N], class ids from 0 to C − 1.

    Returns:
        `accuracy`, `macro_f1`, `mcc`, `cross_entropy` (nats) and `ece`; of two classes `f1` too, that of the second.
        Shares are between 0 and 1.

    Raises:
        DataError: if there is no row, or a label is not a class id.
        TeacherError: if a logit is not finite.
    """
    require_scorable(logits, labels)
    scores = {
        "accuracy": accuracy(logits, labels),
        "macro_f1": macro_f1(logits, labels),
        "mcc": mcc(logits, labels),
        "cross_entropy": cross_entropy(logits, labels),
        "ece": expected_calibration_error(logits, labels),
    }
    if logits.shape[1] == 2:
        scores["f1"] = f1(logits, labels)
    return scores


def accuracy(logits: Floats, labels: Integers) -> float:
    """Share of rows whose most probable class is the label.

    >>> accuracy(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    0.5
    """
    return float(accuracy_score(labels, predictions(logits)))


def f1(logits: Floats, labels: Integers) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) of the second of two classes, as GLUE scores MRPC and QQP; 0 where it never is."""
    return float(f1_score(labels == 1, predictions(logits) == 1, zero_division=0.0))


def macro_f1(logits: Floats, labels: Integers) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN), each class counting the same.

    As in scikit-learn's `f1_score(average="macro")`, the classes are those that occur among labels or predictions.
    """
    return float(f1_score(labels, predictions(logits), average="macro", zero_division=0.0))


def mcc(logits: Floats, labels: Integers) -> float:
    """Matthews correlation coefficient, from −1 to 1; 0 where labels or predictions are all of one class.

    For two classes Matthews 1975, for more the R_K of Gorodkin 2004, as in scikit-learn's `matthews_corrcoef`.
    """
    if len(np.union1d(labels, predictions(logits))) < 2:  # scikit-learn warns here before it too says 0
        return 0.0
    return float(matthews_corrcoef(labels, predictions(logits)))


def cross_entropy(logits: Floats, labels: Integers) -> float:
    """Mean of −log p(label) in nats, p being the softmax of the logits."""
    return float(cross_entropy_by_row(logits, labels).mean())


def expected_calibration_error(logits: Floats, labels: Integers) -> float:
    """Expected calibration error (Naeini et al. 2015; here as in Guo et al. 2017, equation 3).

    Rows go by their top probability into 15 bins of equal width, (0, 1/15], (1/15, 2/15], ...; the error is the mean
    over rows of |share right − mean top probability| of the row's bin.
    """
    bins, gap = calibration_gap_by_row(logits, labels)
    return float(np.abs(np.bincount(bins, weights=gap, minlength=CALIBRATION_BINS)).sum() / len(labels))


def cross_entropy_by_row(logits: Floats, labels: Integers) -> NDArray[np.float64]:
    """−log p(label) of each row in nats, [N]."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)  # [N, C]
    return np.asarray(-log_probabilities[np.arange(len(labels)), labels])


def calibration_gap_by_row(logits: Floats, labels: Integers) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The calibration bin of each row and (right − top probability) of each row, [N] twice."""
    top = probabilities(logits).max(axis=1)
    bins = np.clip(np.ceil(top * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    return bins, (predictions(logits) == labels).astype(np.float64) - top


def require_scorable(logits: Floats, labels: Integers) -> None:
    """Refuse arrays that cannot be scored, each fault in a sentence.

    Raises:
        DataError: if there is no row, the shapes do not fit, or a label is not a class id.
        TeacherError: if a logit is not finite.
    """
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels):
        raise DataError(
            f"Scores need logits of shape [rows, classes] and one label a row; got logits {logits.shape} "
            f"and labels {labels.shape}."
        )
    if not len(labels):
        raise DataError("There are 0 rows to score. Give at least one row that has a label.")
    classes = logits.shape[1]
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        raise DataError(
            f"Row {outside[0]} has the label {labels[outside[0]]}, but the model has the classes 0 to {classes - 1} "
            f"({len(outside)} such rows). Hidden labels (−1) can be predicted but not scored."
        )
    require_finite(logits)


def require_finite(logits: Floats) -> None:
    """Refuse answers that are not numbers.

    Raises:
        TeacherError: if a logit is not finite.
    """
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise TeacherError(
            f"The model's logits are not finite in {len(broken)} of {len(logits)} rows, first in row {broken[0]}. "
            "Its weights are damaged or it diverged in training; train it again."
        )
