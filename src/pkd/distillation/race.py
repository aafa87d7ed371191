"""`start: auto`: the starts that are tried, and the race that chooses one of them.

The race is successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): all starts train a short schedule, the
better ones a longer one, the best the whole. Each schedule is a whole one of its own, with warm-up and decay, because
scores in the middle of a schedule say less about its end. With five starts the race costs one whole training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pkd.distillation.dropping import left_after_dropping
from pkd.distillation.student import start_layers

HEATS = (0.1, 0.25)  # shares of the whole training's epochs
FINALISTS = 2  # starts in the last heat

Start = str | list[int]


@dataclass(frozen=True)
class Heat:
    """One round of a race.

    Attributes:
        epochs: of each training.
        scores: start → its score on the development rows, in the order of the starts.
        kept: the starts that go on, the better first; after the last heat one.
    """

    epochs: float
    scores: Mapping[str, float]
    kept: tuple[str, ...]


def tried_starts(teacher_layers: int, layers: int, dropped: Sequence[int] = ()) -> dict[str, Start]:
    """The starts that `auto` tries, each under the words that say how it was made; the same layers are tried once.

    Args:
        teacher_layers: depth of the teacher.
        layers: depth of the student.
        dropped: the teacher's layers in the order in which they are dropped; without it that start is left out.

    >>> tried_starts(6, 3, dropped=[4, 3, 2, 5, 6])  # doctest: +NORMALIZE_WHITESPACE
    {'the first layers': 'first', 'spread': 'spread', 'spread, with the last layer': [1, 3, 6],
     'the first layers, with the last': [1, 2, 6], 'greedy dropping': [1, 5, 6]}
    >>> tried_starts(2, 2)
    {'the first layers': 'first'}
    """
    spread = start_layers("spread", teacher_layers, layers)
    found: dict[str, Start] = {
        "the first layers": "first",
        "spread": "spread",
        "spread, with the last layer": [*spread[:-1], teacher_layers],
        "the first layers, with the last": [*range(1, layers), teacher_layers],
    }
    if dropped:
        found["greedy dropping"] = left_after_dropping(dropped, teacher_layers, layers)
    seen: set[tuple[int, ...]] = set()
    kept: dict[str, Start] = {}
    for words, start in found.items():
        taken = tuple(start_layers(start, teacher_layers, layers))
        if taken not in seen:
            kept[words] = start
        seen.add(taken)
    return kept


def heats_of(starts: int) -> range:
    """The heats of a race between so many starts: two begin with the last, and one needs none."""
    if starts < FINALISTS:
        return range(0)
    return range(0 if starts > FINALISTS else len(HEATS) - 1, len(HEATS))


def heat_epochs(heat: int, epochs: float) -> float:
    """The epochs of a training in a heat, from those of the whole one.

    >>> heat_epochs(0, 3.0)
    0.3
    """
    return round(HEATS[heat] * epochs, 6)


def race(starts: Sequence[str], score: Callable[[str, int], float | None], epochs: float) -> Iterator[Heat]:
    """The heats of a race, as they end; it stops before a heat with a score that is not known.

    Args:
        starts: in the order that decides between equal scores.
        score: start and heat → score on the development rows, the higher the better.
        epochs: of the whole training.
    """
    going: Sequence[str] = starts
    for heat in heats_of(len(starts)):
        scores: dict[str, float] = {}
        for start in going:
            found = score(start, heat)
            if found is None:
                return
            scores[start] = found
        better = sorted(going, key=lambda start: rank(scores[start]))  # stable: of equal ones the earlier is before
        kept = tuple(better[: FINALISTS if heat < len(HEATS) - 1 else 1])
        yield Heat(heat_epochs(heat, epochs), scores, kept)
        going = [start for start in starts if start in kept]


def winner(starts: Sequence[str], heats: Sequence[Heat]) -> str | None:
    """The start that won; None if the race is not over."""
    if len(heats) < len(heats_of(len(starts))):
        return None
    return heats[-1].kept[0] if heats else starts[0]


def rank(score: float) -> float:
    """A key that sorts the best score first, and one that is no number last."""
    return math.inf if math.isnan(score) else -score
