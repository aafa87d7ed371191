"""Measure how close a student's predictions are to its teacher's, and find the rows that only the teacher gets right.

Both models' logits [N, C] of the same rows in the same order come in; shares, nats and row indices go out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from pkd.errors import DataError
from pkd.evaluation.metrics import Floats, Integers, require_finite, require_scorable
from pkd.evaluation.probabilities import predictions, probabilities


def compare_with_teacher(logits: Floats, teacher_logits: Floats) -> dict[str, float]:
    """Fidelity of a student to its teacher (Stanton et al. 2021).

    Args:
        logits: [N, C] of the student.
        teacher_logits: [N, C] of the teacher on the same rows.

    Returns:
        `agreement`, the share of rows on which both predict the same class, and `kl`, the mean over rows of
        KL(teacher ‖ student) at temperature 1, in nats.

    Raises:
        DataError: if the shapes differ or there is no row.
        TeacherError: if a logit is not finite.
    """
    require_comparable(logits, teacher_logits)
    return {
        "agreement": float(agreement_by_row(logits, teacher_logits).mean()),
        "kl": float(kl_by_row(logits, teacher_logits).mean()),
    }


def negative_flips(logits: Floats, teacher_logits: Floats, labels: Integers) -> NDArray[np.int64]:
    """Rows that the teacher gets right and the student wrong, the student's most confident mistakes first.

    The term is from Yan et al. 2021, for rows that a model update breaks. Ties keep the order of the rows.

    Raises:
        DataError: if the shapes do not fit or a label is not a class id.
        TeacherError: if a logit is not finite.
    """
    require_comparable(logits, teacher_logits)
    require_scorable(logits, labels)
    flipped = np.flatnonzero((predictions(teacher_logits) == labels) & (predictions(logits) != labels))
    confidence = probabilities(logits[flipped]).max(axis=1, initial=0.0)
    return np.asarray(flipped[np.argsort(-confidence, kind="stable")], dtype=np.int64)


def agreement_by_row(logits: Floats, teacher_logits: Floats) -> NDArray[np.float64]:
    """1 where student and teacher predict the same class, else 0, [N]."""
    return np.asarray(predictions(logits) == predictions(teacher_logits), dtype=np.float64)


def kl_by_row(logits: Floats, teacher_logits: Floats) -> NDArray[np.float64]:
    """KL(teacher ‖ student) per row in nats, [N]."""
    student = log_softmax(logits.astype(np.float64), axis=1)
    teacher = log_softmax(teacher_logits.astype(np.float64), axis=1)
    # rounding can leave −1e-17 for equal rows; a divergence is never below 0
    return np.asarray(np.maximum((np.exp(teacher) * (teacher - student)).sum(axis=1), 0.0))


def require_comparable(logits: Floats, teacher_logits: Floats) -> None:
    """Refuse two models' logits of different rows or classes.

    Raises:
        DataError: if the shapes differ or there is no row.
        TeacherError: if a logit is not finite.
    """
    if logits.ndim != 2 or logits.shape != teacher_logits.shape:
        raise DataError(
            f"The student's logits have the shape {logits.shape}, the teacher's {teacher_logits.shape}; both must be "
            "[rows, classes] of the same rows and classes. Evaluate both on the same file."
        )
    if not len(logits):
        raise DataError("There are 0 rows to compare student and teacher on. Give at least one row.")
    require_finite(logits)
    require_finite(teacher_logits)
