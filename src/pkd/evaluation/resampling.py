"""The percentile bootstrap over rows (Efron & Tibshirani 1993, chapter 13): rows are resampled with replacement.

Every metric here is a function of sums over rows, so no row is copied: a matrix product of how often each row was drawn
and what it contributes gives all sums at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DRAWS_AT_ONCE = 4_000_000  # rows drawn per chunk: about 100 MB


def resampled_sums(contributions: Any, resamples: int, seed: int) -> NDArray[np.float64]:
    """Sum the rows' contributions [N, M], dense or sparse, over each resample: [R, M].

    The draws depend only on the seed, so that two models are resampled identically.
    """
    counts = _draw_counts(contributions.shape[0], resamples, seed)
    return np.concatenate([drawn @ contributions for drawn in counts])


def percentile_intervals(
    samples: Mapping[str, NDArray[np.float64]], confidence: float
) -> dict[str, tuple[float, float]]:
    """The interval of each metric that leaves (1 − confidence) / 2 of its resampled values on either side."""
    tail = (1 - confidence) / 2
    ends = {metric: np.quantile(values, [tail, 1 - tail]) for metric, values in samples.items()}
    return {metric: (float(low), float(high)) for metric, (low, high) in ends.items()}


def _draw_counts(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each row is drawn in each resample, [some resamples, N] at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // rows)
    for done in range(0, resamples, at_once):
        size = min(at_once, resamples - done)
        drawn = generator.integers(0, rows, (size, rows)) + np.arange(size)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)
