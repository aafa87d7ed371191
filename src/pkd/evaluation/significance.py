"""The uncertainty of a classifier's scores: bootstrap intervals of one model, exact McNemar test of two models.

A row contributes its cell of the confusion matrix, its calibration bin and its cross-entropy to the resampled sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.stats import binomtest

from pkd.errors import DataError
from pkd.evaluation.fidelity import agreement_by_row, kl_by_row, require_comparable
from pkd.evaluation.metrics import (
    CALIBRATION_BINS,
    Floats,
    Integers,
    calibration_gap_by_row,
    cross_entropy_by_row,
    metrics_of_counts,
    one_entry_a_row,
    require_scorable,
)
from pkd.evaluation.probabilities import predictions
from pkd.evaluation.resampling import resampled_sums


def bootstrap_samples(
    logits: Floats, labels: Integers, *, resamples: int, seed: int, teacher_logits: Floats | None = None
) -> dict[str, NDArray[np.float64]]:
    """Every metric of `score`, and agreement and kl with a teacher, in each resample of the rows, [R].

    Args:
        logits: [N, C] of the model.
        labels: [N] class ids.
        resamples: number of resamples of the N rows.
        seed: of the draws; the same seed draws the same rows for every model.
        teacher_logits: [N, C] of the teacher, for `agreement` and `kl`.

    Raises:
        DataError: if the shapes do not fit or a label is not a class id.
        TeacherError: if a logit is not finite.
    """
    require_scorable(logits, labels)
    by_row: dict[str, NDArray[np.float64]] = {"cross_entropy": cross_entropy_by_row(logits, labels)}
    if teacher_logits is not None:
        require_comparable(logits, teacher_logits)
        by_row["agreement"] = agreement_by_row(logits, teacher_logits)
        by_row["kl"] = kl_by_row(logits, teacher_logits)
    rows, classes = logits.shape
    cells, cell_of_row = np.unique(labels * classes + predictions(logits), return_inverse=True)
    bins, gap = calibration_gap_by_row(logits, labels)
    contributions = hstack(
        [
            one_entry_a_row(cell_of_row, np.ones(rows), len(cells)),
            one_entry_a_row(bins, gap, CALIBRATION_BINS),
            csr_matrix(np.column_stack(list(by_row.values()))),
        ],
        format="csr",
    )
    sums = resampled_sums(contributions, resamples, seed)
    confusion, gaps, means = np.split(sums, [len(cells), len(cells) + CALIBRATION_BINS], axis=1)
    return {
        **metrics_of_counts(confusion, cells // classes, cells % classes, classes),
        "ece": np.abs(gaps).sum(axis=1) / rows,
        **dict(zip(by_row, means.T / rows, strict=True)),
    }


def exact_mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Exact McNemar test of two models on the same rows (McNemar 1947, with the binomial in place of its χ²).

    Args:
        correct_a: [N], whether model a is right.
        correct_b: [N], whether model b is right on the same rows.

    Returns:
        The number of rows that only a has right, of those that only b has right, and the two-sided p value of both
        being equally likely; 1 if the two never differ.

    Raises:
        DataError: if the two are not of the same rows.

    >>> exact_mcnemar(np.array([True, True, False]), np.array([True, False, False]))
    (1, 0, 1.0)
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1:
        raise DataError(
            f"McNemar's test pairs two models on the same rows; got {correct_a.shape} and {correct_b.shape}. "
            "Evaluate both on the same file."
        )
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    return only_a, only_b, float(binomtest(only_a, only_a + only_b, 0.5).pvalue)
