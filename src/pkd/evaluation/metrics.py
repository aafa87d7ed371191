"""Metrics of a classifier: logits and labels in, numbers out.

`score` returns every metric under its name in results, tables and charts (`metric_facts`). Metrics of the confusion
matrix are formulas in `metrics_of_counts`, which serves the rows and their resamples alike: a new metric is a line
there and an entry in `metric_facts`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import log_softmax

from pkd.errors import DataError, TeacherError
from pkd.evaluation.probabilities import predictions, probabilities

Floats: TypeAlias = NDArray[np.floating]
Integers: TypeAlias = NDArray[np.integer]

CALIBRATION_BINS = 15  # as in Guo et al. 2017, section 5


def score(logits: Floats, labels: Integers) -> dict[str, float]:
    """Every metric of one model on one set of rows.

    Args:
        logits: [N, C], before the softmax.
        labels: [N], class ids from 0 to C − 1.

    Returns:
        `accuracy`, `macro_f1`, `mcc`, `cross_entropy` (nats) and `ece`; for two classes also `f1` of the second.
        Shares are between 0 and 1.

    Raises:
        DataError: if there is no row, or a label is not a class id.
        TeacherError: if a logit is not finite.
    """
    require_scorable(logits, labels)
    cells, counts = np.unique(labels * logits.shape[1] + predictions(logits), return_counts=True)
    label_of_cell, prediction_of_cell = np.divmod(cells, logits.shape[1])
    of_counts = metrics_of_counts(counts[None].astype(np.float64), label_of_cell, prediction_of_cell, logits.shape[1])
    return {
        **{name: float(value[0]) for name, value in of_counts.items()},
        "cross_entropy": cross_entropy(logits, labels),
        "ece": expected_calibration_error(logits, labels),
    }


def metrics_of_counts(
    counts: NDArray[np.float64], label_of_cell: Integers, prediction_of_cell: Integers, classes: int
) -> dict[str, NDArray[np.float64]]:
    """Accuracy, macro F1 and MCC of R sets of rows from their counts, of two classes the second's F1 too, [R] each.

    F1 = 2 TP / (2 TP + FP + FN), 0 where a class never is; the macro F1 is its mean over the classes that occur among
    labels or predictions. The Matthews correlation coefficient, from −1 to 1, is for more than two classes the R_K of
    Gorodkin 2004, and 0 where labels or predictions are all of one class. All as scikit-learn has them.

    Args:
        counts: [R, cells], the number of rows in each occupied cell of the confusion matrix.
        label_of_cell: [cells].
        prediction_of_cell: [cells].
        classes: C.
    """
    ones = np.ones(len(label_of_cell))
    by_label = counts @ one_entry_a_row(label_of_cell, ones, classes)  # [R, C]
    by_prediction = counts @ one_entry_a_row(prediction_of_cell, ones, classes)
    hits = counts @ one_entry_a_row(label_of_cell, (label_of_cell == prediction_of_cell) * ones, classes)
    rows = by_label.sum(axis=1)
    right = hits.sum(axis=1)
    occurs = by_label + by_prediction > 0
    f1 = 2 * hits / np.where(occurs, by_label + by_prediction, 1)
    covariance = right * rows - (by_label * by_prediction).sum(axis=1)
    spread = (rows**2 - (by_label**2).sum(axis=1)) * (rows**2 - (by_prediction**2).sum(axis=1))
    metrics = {
        "accuracy": right / rows,
        "macro_f1": f1.sum(axis=1) / occurs.sum(axis=1),
        "mcc": np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), 0.0),
    }
    if classes == 2:
        metrics["f1"] = f1[:, 1]
    return metrics


def cross_entropy(logits: Floats, labels: Integers) -> float:
    """Mean of −log p(label) in nats, where p is the softmax of the logits."""
    return float(cross_entropy_by_row(logits, labels).mean())


def expected_calibration_error(logits: Floats, labels: Integers) -> float:
    """Expected calibration error (Naeini et al. 2015; here as in Guo et al. 2017, equation 3).

    Rows are sorted by top probability into 15 bins of equal width, (0, 1/15], (1/15, 2/15], ...; the error is the mean
    over rows of |accuracy − mean top probability| of the row's bin.
    """
    bins, gap = calibration_gap_by_row(logits, labels)
    return float(np.abs(np.bincount(bins, weights=gap, minlength=CALIBRATION_BINS)).sum() / len(labels))


def cross_entropy_by_row(logits: Floats, labels: Integers) -> NDArray[np.float64]:
    """−log p(label) per row in nats, [N]."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)  # [N, C]
    return np.asarray(-log_probabilities[np.arange(len(labels)), labels])


def calibration_gap_by_row(logits: Floats, labels: Integers) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The calibration bin and (right − top probability) per row, [N] each."""
    top = probabilities(logits).max(axis=1)
    bins = np.clip(np.ceil(top * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    return bins, (predictions(logits) == labels).astype(np.float64) - top


def one_entry_a_row(columns: Integers, values: NDArray[np.float64], width: int) -> Any:
    """A sparse matrix [N, width] whose row i holds `values[i]` in column `columns[i]`."""
    rows = len(columns)
    return csr_matrix((values, columns, np.arange(rows + 1)), shape=(rows, width))


def require_scorable(logits: Floats, labels: Integers) -> None:
    """Refuse arrays that cannot be scored.

    Raises:
        DataError: if there is no row, the shapes do not fit, or a label is not a class id.
        TeacherError: if a logit is not finite.
    """
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels):
        raise DataError(
            f"Scores need logits of shape [rows, classes] and one label per row; got logits {logits.shape} "
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
    """Refuse logits that are not finite.

    Raises:
        TeacherError: if a logit is not finite.
    """
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise TeacherError(
            f"The model's logits are not finite in {len(broken)} of {len(logits)} rows, first in row {broken[0]}. "
            "Its weights are damaged or it diverged in training; train it again."
        )
