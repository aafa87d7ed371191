"""Did it help? Compare two methods' gains on the same rows; the verdict generalises over rows and seeds.

Rows and seeds are crossed random effects: every seed of a method predicts every row, both methods predict the same
rows, and each method has its own seeds. The variance of the difference of the two means is

    V_rows + Σ over methods max(V_seeds − V_residual, 0)

V_rows is the variance over rows of the mean gain in a minus that in b, divided by N. V_seeds is the variance of a
method's S mean gains, divided by S. Both contain the residual, which neither row nor seed explains, so it is subtracted
once: the analysis of variance of a two-way layout (Searle, Casella & McCulloch 1992, chapter 4), as in Obuchowski &
Rockette (1995) for readers and cases in radiology. Resampling only rows mistakes luck with seeds for the method
(Bouthillier et al. 2021); resampling both counts the residual three times (Owen 2007).

The interval is Student's t with Satterthwaite's degrees of freedom (1946; Hillis 2007 for readers and cases).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pkd.errors import DataError

Verdict = Literal["HELPS", "DOES NOT", "UNCLEAR"]
_ROUNDING = 1e-12  # relative to the largest gain: the mean of equal numbers may differ from them by rounding


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The difference of two gains per row (a − b), its interval, and the verdict.

    Attributes:
        difference: of the means over rows and seeds.
        low: lower end of the interval.
        high: upper end of the interval.
        verdict: HELPS if the whole interval is above 0, DOES NOT if it is below, else UNCLEAR.
        examples: the difference as a number of rows.
        seeds_a: number of seeds of method a; None if a is one fixed model.
        seeds_b: likewise for b.
    """

    difference: float
    low: float
    high: float
    verdict: Verdict
    examples: float
    seeds_a: int | None
    seeds_b: int | None


def judge(gains_a: NDArray[Any], gains_b: NDArray[Any], *, confidence: float, seed: int = 0) -> Judgement:
    """Judge a against b on the same rows: two methods, two fixed models, or one of each.

    Args:
        gains_a: [S, N], the gain of method a with seed s on row n; for a classifier, 1 where it is right. [N] is one
            fixed model, which has no spread over seeds.
        gains_b: [S, N] or [N], the same for b: the same rows, any seeds.
        confidence: of the interval, e.g. 0.95.
        seed: ignored: the interval has a closed form.

    Returns:
        The judgement. With one seed, [1, N], the spread over seeds is unknown: the interval is over rows only, and the
        verdict UNCLEAR.

    Raises:
        DataError: if the two are not of the same rows, there is no row or seed, a gain is not finite, or `confidence`
            is not between 0 and 1.

    >>> a, b = np.array([[1, 1, 1, 0], [1, 1, 0, 1]]), np.array([0, 1, 0, 0])
    >>> judgement = judge(a, b, confidence=0.95)
    >>> judgement.difference, judgement.examples, judgement.verdict
    (0.5, 2.0, 'UNCLEAR')
    """
    a, b = _as_gains(gains_a), _as_gains(gains_b)
    if a.shape[-1] != b.shape[-1]:
        raise DataError(
            f"Two methods are judged on the same rows, [seeds, rows] or [rows] each; got {a.shape} and {b.shape}. "
            "Evaluate both on the same file."
        )
    if not 0 < confidence < 1:
        raise DataError(f"confidence is {confidence}; it must be between 0 and 1, such as 0.95.")
    unit = float(max(np.abs(a).max(), np.abs(b).max())) or 1.0  # so that no square overflows or underflows
    a, b = a / unit, b / unit
    methods = [gains for gains in (a, b) if gains.ndim == 2]
    is_of_one_seed = any(len(gains) == 1 for gains in methods)
    by_row = np.atleast_2d(a).mean(axis=0) - np.atleast_2d(b).mean(axis=0)  # [N]
    by_row[np.abs(by_row) < _ROUNDING] = 0.0
    difference, rows = unit * float(by_row.mean()), len(by_row)
    center, of_rows = _mean_over_rows(by_row)
    of_seeds = [] if is_of_one_seed else [_variances_over_seeds(gains) for gains in methods]
    variance = of_rows + sum(seeds for seeds, _, _ in of_seeds)
    half = math.sqrt(variance) * float(stdtrit(_freedom(of_rows, rows, of_seeds), (1 + confidence) / 2))
    low, high = unit * (center - half), unit * (center + half)
    verdict: Verdict = "HELPS" if low > 0 else "DOES NOT" if high < 0 else "UNCLEAR"
    return Judgement(
        difference=difference,
        low=low,
        high=high,
        verdict="UNCLEAR" if is_of_one_seed else verdict,
        examples=difference * rows,
        seeds_a=len(a) if a.ndim == 2 else None,
        seeds_b=len(b) if b.ndim == 2 else None,
    )


def _as_gains(given: NDArray[Any]) -> NDArray[np.float64]:
    try:
        gains = np.asarray(given, dtype=np.float64)
    except ValueError as error:
        raise DataError(
            "Gains are numbers, with the same rows for each seed: [seeds, rows] of a method or [rows] of one model; "
            f"these are not ({error})."
        ) from error
    if gains.ndim not in (1, 2) or not gains.size:
        raise DataError(
            f"Gains are [seeds, rows] of a method or [rows] of one model, with at least one of each; got {gains.shape}."
        )
    if not np.isfinite(gains).all():
        raise DataError("A gain is not a finite number, so nothing can be judged by it.")
    return gains


def _mean_over_rows(by_row: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of the differences per row, [N], and its variance, also for few differing rows.

    Few differing rows underestimate the variance: five in favour of a and none of b would count as certain. So two rows
    are added, one in favour of each, with the mean size of the differing rows (Bonett & Price 2012, for two proportions
    on the same rows).
    """
    squares, sizes = float(by_row @ by_row), float(np.abs(by_row).sum())
    if not squares:
        return 0.0, 0.0
    differing = sizes**2 / squares  # number of equal rows with these sums; for two classifiers, the count
    rows = len(by_row) + 2
    mean = float(by_row.sum()) / rows
    return mean, (squares * (1 + 2 / differing) / rows - mean**2) / rows


def _variances_over_seeds(gains: NDArray[np.float64]) -> tuple[float, float, int]:
    """The variance of a method's mean over its seeds, from [S, N] with S > 1; the residual's part of it; and S."""
    seeds, rows = gains.shape
    gains = gains - gains.mean()  # so that the squares do not cancel
    by_row, by_seed = gains.mean(axis=0), gains.mean(axis=1)
    of_means = float(by_seed @ by_seed) / (seeds - 1)
    within_rows = float(np.vdot(gains, gains) - seeds * (by_row @ by_row)) / (seeds - 1) / rows
    # the spread within a row includes the seeds' shift
    residual = max(within_rows - of_means, 0.0) / max(rows - 1, 1) / seeds
    return max(of_means / seeds - residual, 0.0), residual, seeds


def _freedom(of_rows: float, rows: int, of_seeds: list[tuple[float, float, int]]) -> float:
    """Satterthwaite's degrees of freedom of the sum, reduced for few seeds.

    The variance of few seeds is sometimes estimated far too small; the degrees of freedom are then those of the rows,
    far too many: with three seeds against a fixed model 7 % of the intervals missed, with two 13 %. So that variance is
    multiplied by (1 + 2 / (S − 1))², only here: with three or more seeds at most 5.2 % miss, whatever the shares of
    rows, seeds and residual, with two 8 % (`python -m benchmarks.verdicts --simulate`).
    """
    total, squares = of_rows, of_rows**2 / max(rows - 1, 1)
    for seeds, residual, count in of_seeds:
        counted = seeds * (1 + 2 / (count - 1)) ** 2
        total += counted
        squares += (counted + residual) ** 2 / (count - 1)
    if not total:
        return math.inf
    fewest = min((count - 1 for _, _, count in of_seeds), default=1)  # the sum has at least as many as each part
    return max(total**2 / squares, fewest)
