"""The search between shapes of students: which of them train longer, and which are stopped.

It is successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) between shapes: all train a short schedule, the
better ones a longer one, at most three the whole. Each schedule is a whole one of its own, with warm-up and decay. The
sought point is the fastest that is level with the best, so both ends of what is level go on, and a shape ends early if
another is no slower, no larger and better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pkd.distillation.race import HEATS, rank

LAST = len(HEATS) - 1  # the number of the last heat, from 0
FINALISTS = 3  # shapes that are trained in full, at most
_FEW = 6  # shapes, up to which one heat suffices
_FEWEST = 4  # shapes in the last heat


@dataclass(frozen=True)
class Entrant:
    """A shape after a heat.

    Attributes:
        name: of the shape.
        latency: of one text, of its fastest graph within the budget.
        bytes: of that graph's folder.
        score: on the development rows, the higher the better; nan for a training that diverged.
    """

    name: str
    latency: float
    bytes: int
    score: float


@dataclass(frozen=True)
class Halved:
    """The end of a heat: the shapes that go on, the better first, and why each of the others is stopped."""

    kept: list[str]
    stopped: Mapping[str, str]


def heats_of(entrants: int) -> range:
    """The heats between so many shapes: three need none, a few only the longer one.

    >>> list(heats_of(3)), list(heats_of(6)), list(heats_of(18))
    ([], [1], [0, 1])
    """
    if entrants <= FINALISTS:
        return range(0)
    return range(LAST if entrants <= _FEW else 0, len(HEATS))


def places_after(heat: int, entrants: int) -> int:
    """How many shapes go on at most after a heat of so many.

    >>> places_after(0, 18), places_after(0, 8), places_after(1, 6)
    (6, 4, 3)
    """
    if heat == LAST:
        return FINALISTS
    return min(_FEW, max(_FEWEST, math.ceil(entrants / 3)))


def noise_of(scores: Sequence[float], rows: int) -> float:
    """The standard error of the difference of two scores on so many rows, as that of two shares as good as the best.

    >>> round(noise_of([0.9, 0.4], 1000), 4)
    0.0134
    """
    best = max((score for score in scores if not math.isnan(score)), default=0.5)
    share = min(0.99, max(0.5, best))
    return math.sqrt(2 * share * (1 - share) / max(1, rows))


def halve(entrants: Sequence[Entrant], places: int, noise: float, *, is_last: bool) -> Halved:
    """Decide which shapes go on after a heat.

    Those go on that no other dominates: first the best, then the fastest that is level with it, then the others by
    score.

    Args:
        entrants: the shapes of the heat; of equal scores the faster is the better.
        places: how many go on at most.
        noise: by how much two scores may differ and be level.
        is_last: whether the whole training follows: then a dominated shape needs no doubt.
    """
    ranked = sorted(entrants, key=lambda one: (rank(one.score), one.latency))
    stopped: dict[str, str] = {}
    for one in ranked:
        margin = 0.0 if is_last else noise
        if math.isnan(one.score):
            stopped[one.name] = "diverged"
        elif (better := next((other for other in ranked if _dominates(other, one, margin)), None)) is not None:
            stopped[one.name] = f"dominated by {better.name}"
    left = [one for one in ranked if one.name not in stopped]
    if not left:
        return Halved([], stopped)
    level = [one for one in left if one.score >= left[0].score - noise]
    order = list(dict.fromkeys([left[0], min(level, key=lambda one: one.latency), *left]))
    for one in order[places:]:
        stopped[one.name] = ""
    return Halved([one.name for one in order[:places]], stopped)


def _dominates(one: Entrant, other: Entrant, margin: float) -> bool:
    """Whether `one` is no slower, no larger and better than `other` by more than a margin."""
    if one.name == other.name or one.latency > other.latency or one.bytes > other.bytes:
        return False
    return one.score > other.score + margin
