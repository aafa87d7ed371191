"""Metrics of sets of labels, where each class is a yes-or-no decision.

Logits [N, C] and labels [N, C] of 0 and 1 in, numbers out; a class is predicted if its logit is above 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pkd.errors import DataError
from pkd.evaluation.metrics import Floats, require_finite
from pkd.evaluation.resampling import resampled_sums


def score(logits: Floats, labels: Floats) -> dict[str, float]:
    """`micro_f1`, `macro_f1`, `accuracy` (of whole sets), `label_accuracy` (of single labels), `cross_entropy`.

    A class that is neither a label nor predicted in any row counts as 0 in the macro F1, as in scikit-learn's
    `f1_score` with `zero_division=0`. The cross-entropy is binary, in nats, a mean over rows and classes.

    Args:
        logits: [N, C].
        labels: [N, C], 0 or 1.

    Raises:
        DataError: if there is no row, or the shapes do not fit.
        TeacherError: if a logit is not finite.
    """
    require_sets(logits, labels)
    sums = _contributions(logits, labels).sum(axis=0)[None]
    return {name: float(values[0]) for name, values in _metrics(sums, len(labels), logits.shape[1]).items()}


def compare_with_teacher(logits: Floats, teacher_logits: Floats) -> dict[str, float]:
    """Fidelity: `agreement`, the share of equal single decisions, and `kl`, a mean over rows and classes."""
    beside = _beside_teacher(logits, teacher_logits)
    return {"agreement": float(beside[:, 0].mean()), "kl": float(beside[:, 1].mean())}


def bootstrap_samples(
    logits: Floats, labels: Floats, *, resamples: int, seed: int, teacher_logits: Floats | None = None
) -> dict[str, NDArray[np.float64]]:
    """Every metric of `score` and `compare_with_teacher` in each resample of the rows, [R]."""
    require_sets(logits, labels)
    samples = _metrics(resampled_sums(_contributions(logits, labels), resamples, seed), *logits.shape)
    if teacher_logits is not None:
        beside = resampled_sums(_beside_teacher(logits, teacher_logits), resamples, seed) / len(logits)
        samples |= {"agreement": beside[:, 0], "kl": beside[:, 1]}
    return samples


def gain_by_row(logits: Floats, labels: Floats) -> NDArray[np.float64]:
    """The share of each row's single decisions that are right, [N]."""
    return np.asarray(((logits > 0) == (labels > 0.5)).mean(axis=1), dtype=np.float64)


def cross_entropy_by_row(logits: Floats, labels: Floats) -> NDArray[np.float64]:
    """Binary cross-entropy per row in nats, a mean over its classes, [N]."""
    wide = logits.astype(np.float64)
    return np.asarray((np.logaddexp(0, wide) - labels * wide).mean(axis=1))


def require_sets(logits: Floats, labels: Floats) -> None:
    """Refuse arrays that cannot be scored.

    Raises:
        DataError: if there is no row, or the shapes do not fit.
        TeacherError: if a logit is not finite.
    """
    if logits.ndim != 2 or logits.shape != labels.shape or not len(labels):
        raise DataError(
            f"Sets of labels need logits and labels of one shape [rows, classes]; got {logits.shape} and "
            f"{labels.shape}."
        )
    require_finite(logits)


def _contributions(logits: Floats, labels: Floats) -> NDArray[np.float64]:
    """Each row's part in the hits, predictions and labels of each class, and in the means: [N, 3 C + 3]."""
    answered, wanted = logits > 0, labels > 0.5
    same = answered == wanted
    means = [same.all(axis=1), same.mean(axis=1), cross_entropy_by_row(logits, labels)]
    return np.column_stack([answered & wanted, answered, wanted, *means]).astype(np.float64)


def _metrics(sums: NDArray[np.float64], rows: int, classes: int) -> dict[str, NDArray[np.float64]]:
    hits, answered, wanted, means = np.split(sums, [classes, 2 * classes, 3 * classes], axis=1)
    return {
        "micro_f1": _f1(hits.sum(axis=1), answered.sum(axis=1) + wanted.sum(axis=1)),
        "macro_f1": _f1(hits, answered + wanted).mean(axis=1),
        **dict(zip(("accuracy", "label_accuracy", "cross_entropy"), means.T / rows, strict=True)),
    }


def _f1(hits: Any, occurrences: Any) -> NDArray[np.float64]:
    return np.asarray(2 * hits / np.maximum(occurrences, 1))


def _beside_teacher(logits: Floats, teacher_logits: Floats) -> NDArray[np.float64]:
    """Agreement and KL(teacher ‖ student) per row, means over its classes: [N, 2]."""
    if logits.shape != teacher_logits.shape:
        raise DataError(f"The student's logits are {logits.shape}, the teacher's {teacher_logits.shape}; they differ.")
    student, teacher = logits.astype(np.float64), teacher_logits.astype(np.float64)
    kl = expit(teacher) * (teacher - student) + np.logaddexp(0, student) - np.logaddexp(0, teacher)
    same = (logits > 0) == (teacher_logits > 0)
    return np.column_stack([same.mean(axis=1), np.maximum(kl, 0.0).mean(axis=1)])
