"""Did it help? Two methods' gains on the same rows and seeds in, a verdict in words and in examples out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pkd.errors import DataError
from pkd.evaluation.resampling import percentile_interval, resampled_sums

Verdict = Literal["HELPS", "DOES NOT", "UNCLEAR"]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The difference of two methods' gains a row (a − b), its interval, and what they mean."""

    difference: float
    low: float
    high: float
    verdict: Verdict
    examples: float  # what the difference amounts to, in rows


def judge(
    gains_a: NDArray[np.float64], gains_b: NDArray[np.float64], *, resamples: int, confidence: float, seed: int
) -> Judgement:
    """Judge method a against method b on the same rows, averaged over seeds.

    Args:
        gains_a: [S, N], how well method a with seed s answers row n; of a classifier, 1 where it is right.
        gains_b: [S, N], the same for method b, same seeds, same rows.
        resamples: bootstrap resamples of the rows.
        confidence: of the interval, e.g. 0.95.
        seed: of the resamples.

    Returns:
        HELPS if the whole interval of the difference is above 0, DOES NOT if it is below, else UNCLEAR. The interval
        is over rows: it says what other rows could have shown, not what other seeds could have.

    Raises:
        DataError: if the two are not of the same seeds and rows, or there is no row.
    """
    if gains_a.shape != gains_b.shape or gains_a.ndim != 2 or not gains_a.size:
        raise DataError(
            f"Two methods are judged on the same seeds and rows, [seeds, rows] each; got {gains_a.shape} and "
            f"{gains_b.shape}. Evaluate both with the same seeds on the same file."
        )
    seeds, rows = gains_a.shape
    net = (gains_a.astype(np.float64) - gains_b.astype(np.float64)).sum(axis=0)  # [N]
    values, counts = np.unique(net, return_counts=True)
    if len(values) <= 2 * seeds + 1:
        # A classifier's row counts only by its net, −S .. S: drawing rows again is drawing how many there are of each.
        drawn = np.random.default_rng(seed).multinomial(rows, counts / rows, size=resamples)  # [R, values]
        sums = drawn @ values
    else:
        sums = resampled_sums(net[:, None], resamples, seed)[:, 0]
    low, high = percentile_interval(sums / (seeds * rows), confidence)
    difference = float(net.sum() / (seeds * rows))
    verdict: Verdict = "HELPS" if low > 0 else "DOES NOT" if high < 0 else "UNCLEAR"
    return Judgement(difference=difference, low=low, high=high, verdict=verdict, examples=difference * rows)
