"""Did it help? Two methods on the same rows and seeds in, a verdict in words and in examples out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pkd.errors import DataError
from pkd.evaluation.significance import percentile_interval

Verdict = Literal["HELPS", "DOES NOT", "UNCLEAR"]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The difference of two methods' accuracies (a − b), its interval, and what they mean."""

    difference: float
    low: float
    high: float
    verdict: Verdict
    examples: float  # what the difference amounts to, in rows


def judge(
    correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_], *, resamples: int, confidence: float, seed: int
) -> Judgement:
    """Judge method a against method b on the same rows, averaged over seeds.

    Args:
        correct_a: [S, N], whether method a with seed s is right on row n.
        correct_b: [S, N], the same for method b, same seeds, same rows.
        resamples: bootstrap resamples of the rows.
        confidence: of the interval, e.g. 0.95.
        seed: of the resamples.

    Returns:
        HELPS if the whole interval of the difference is above 0, DOES NOT if it is below, else UNCLEAR. The interval
        is over rows: it says what other rows could have shown, not what other seeds could have.

    Raises:
        DataError: if the two are not of the same seeds and rows, or there is no row.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 2 or not correct_a.size:
        raise DataError(
            f"Two methods are judged on the same seeds and rows, [seeds, rows] each; got {correct_a.shape} and "
            f"{correct_b.shape}. Evaluate both with the same seeds on the same file."
        )
    seeds, rows = correct_a.shape
    net = (correct_a.astype(np.int64) - correct_b.astype(np.int64)).sum(axis=0)  # [N], each −S .. S
    # A row counts only by its net: drawing rows again is drawing how many rows of each net value there are.
    values, counts = np.unique(net, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(rows, counts / rows, size=resamples)  # [R, values]
    low, high = percentile_interval(drawn @ values / (seeds * rows), confidence)
    difference = float(net.sum() / (seeds * rows))
    verdict: Verdict = "HELPS" if low > 0 else "DOES NOT" if high < 0 else "UNCLEAR"
    return Judgement(difference=difference, low=low, high=high, verdict=verdict, examples=difference * rows)
