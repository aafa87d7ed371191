"""Metrics of a regression: one number per row.

Outputs [N, 1] and labels [N] in, numbers out, under their names in results.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, rankdata, spearmanr

from pkd.errors import DataError
from pkd.evaluation.metrics import Floats, require_finite
from pkd.evaluation.resampling import resampled_sums


def score(outputs: Floats, labels: Floats) -> dict[str, float]:
    """`pearson` and `spearman` correlation (0 if either side is constant) and `mse`, the mean squared error.

    Args:
        outputs: [N, 1].
        labels: [N].

    Raises:
        DataError: if there is no row, or a label is not finite.
        TeacherError: if an output is not finite.
    """
    values = require_scores(outputs, labels)
    return {
        "pearson": _correlation(pearsonr, values, labels),
        "spearman": _correlation(spearmanr, values, labels),
        "mse": float(np.mean(np.square(values - labels))),
    }


def compare_with_teacher(outputs: Floats, teacher_outputs: Floats) -> dict[str, float]:
    """Fidelity: `teacher_pearson`, the correlation with the teacher's scores, and `teacher_mse`, the squared error."""
    values, teacher = outputs[:, 0].astype(np.float64), teacher_outputs[:, 0].astype(np.float64)
    return {
        "teacher_pearson": _correlation(pearsonr, values, teacher),
        "teacher_mse": float(np.mean(np.square(values - teacher))),
    }


def bootstrap_samples(
    outputs: Floats, labels: Floats, *, resamples: int, seed: int, teacher_logits: Floats | None = None
) -> dict[str, NDArray[np.float64]]:
    """Every metric of `score` and `compare_with_teacher` in each resample of the rows, [R].

    Spearman's ranks are those among all rows: ranking each resample again would differ only by ties.
    """
    values, wanted = require_scores(outputs, labels), labels.astype(np.float64)
    pairs = {
        "pearson": (values, wanted),
        "spearman": (rankdata(values), rankdata(wanted)),
        "mse": (values, wanted),
    }
    if teacher_logits is not None:
        teacher = teacher_logits[:, 0].astype(np.float64)
        pairs |= {"teacher_pearson": (values, teacher), "teacher_mse": (values, teacher)}
    samples = {}
    for metric, (one, other) in pairs.items():
        if metric.endswith("mse"):
            samples[metric] = resampled_sums(np.square(one - other)[:, None], resamples, seed)[:, 0] / len(one)
        else:
            samples[metric] = _resampled_correlation(one, other, resamples, seed)
    return samples


def gain_by_row(outputs: Floats, labels: Floats) -> NDArray[np.float64]:
    """The negative squared error per row, [N]."""
    return np.asarray(-np.square(outputs[:, 0].astype(np.float64) - labels))


def require_scores(outputs: Floats, labels: Floats) -> NDArray[np.float64]:
    """The outputs as [N], checked to be scorable.

    Raises:
        DataError: if there is no row, the shapes do not fit, or a label is not finite.
        TeacherError: if an output is not finite.
    """
    if outputs.ndim != 2 or outputs.shape[1] != 1 or labels.shape != (len(outputs),) or not len(labels):
        raise DataError(
            f"Scores need outputs of shape [rows, 1] and one number per row; got {outputs.shape} and {labels.shape}."
        )
    if not np.isfinite(labels).all():
        raise DataError(f"Row {int(np.argmin(np.isfinite(labels)))} has a label that is not a number.")
    require_finite(outputs)
    return outputs[:, 0].astype(np.float64)


def _correlation(measure: object, one: Floats, other: Floats) -> float:
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about nearly constant scores, which the result shows
        return float(measure(one, other).statistic)  # type: ignore[operator]


def _resampled_correlation(one: Floats, other: Floats, resamples: int, seed: int) -> NDArray[np.float64]:
    one, other = one - one.mean(), other - other.mean()  # so that the sums do not cancel
    sums = resampled_sums(np.column_stack([one, other, one * one, other * other, one * other]), resamples, seed)
    x, y, xx, yy, xy = (sums / len(one)).T
    spread = np.sqrt(np.maximum(xx - x * x, 0) * np.maximum(yy - y * y, 0))
    return np.asarray(np.where(spread > 0, (xy - x * y) / np.where(spread > 0, spread, 1), 0.0))
