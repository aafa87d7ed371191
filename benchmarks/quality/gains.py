"""Arithmetic of the study's page: gains between contenders on the same test rows, their intervals, means over tasks.

A line holds which test rows were answered right. Two contenders of a task are paired by row and judged as everywhere
else, over rows and seeds (`pkd.evaluation.judge`). A mean over tasks is the plain mean of their gains; the tasks'
standard errors count as independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.lines import Line
from pkd.evaluation import judge

CONFIDENCE = 0.95
_NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %


@dataclass(frozen=True)
class Gain:
    """A difference in points of accuracy, with the ends of its interval.

    Attributes:
        points: the difference.
        low: lower end of the interval.
        high: upper end of the interval.
        tasks: of how many tasks it is the mean.
        seeds: of the contender that has fewer.
    """

    points: float
    low: float
    high: float
    tasks: int = 1
    seeds: int = 1

    @property
    def standard_error(self) -> float:
        """Half the interval over the normal quantile: a little large where the interval is Student's with few seeds."""
        return (self.high - self.low) / 2 / _NORMAL_QUANTILE


def right_rows(line: Line, end: str = "") -> NDArray[np.float64]:
    """1 for each test row that is answered right, else 0, [N].

    The bits are padded to whole bytes; N follows from how many are right and which share of all that is.

    >>> right_rows({"right": "d0", "test": 0.6})
    array([1., 1., 0., 1., 0.])
    """
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(line[f"right{end}"]), dtype=np.uint8))
    share = line[f"test{end}"]
    rows = round(int(bits.sum()) / share) if share else len(bits)
    return bits[:rows].astype(np.float64)


def gain(method: NDArray[np.float64], other: NDArray[np.float64]) -> Gain:
    """The gain of one contender over another on the same rows, each [S, N], or [N] for one fixed model.

    With one seed the interval is over rows alone.
    """
    judged = judge(method, other, confidence=CONFIDENCE)
    seeds = min((len(rows) for rows in (method, other) if rows.ndim == 2), default=1)
    return Gain(100 * judged.difference, 100 * judged.low, 100 * judged.high, seeds=seeds)


def mean_over_tasks(gains: Sequence[Gain]) -> Gain:
    """The plain mean; the interval from the tasks' standard errors as independent ones.

    >>> mean = mean_over_tasks([Gain(1.0, -0.5, 2.5), Gain(2.0, 0.0, 4.0)])
    >>> mean.points, mean.low, mean.high, mean.tasks  # half the interval: √(1.5² + 2²) / 2
    (1.5, 0.25, 2.75, 2)
    """
    points = sum(each.points for each in gains) / len(gains)
    half = _NORMAL_QUANTILE * math.sqrt(sum(each.standard_error**2 for each in gains)) / len(gains)
    return Gain(points, points - half, points + half, len(gains), min(each.seeds for each in gains))
