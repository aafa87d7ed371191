"""Time left for the current stage and the whole job, from the stages so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pkd.progress import Stage, duration


class Forecast:
    """Estimates from the finished stages how long one unit of the planned relative cost takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._planned: list[tuple[str, float]] = []
        self._ahead: list[tuple[str, float]] = []
        self._cost = 0.0  # of the stages that ran, and their seconds
        self._seconds = 0.0
        self._began: dict[int, float] = {}
        self._first: dict[int, tuple[int, float]] = {}

    def plan(self, stages: Sequence[tuple[str, float]]) -> None:
        """Set the stages to come."""
        self._planned, self._ahead = list(stages), list(stages)
        self._cost = self._seconds = 0.0

    @property
    def stages(self) -> int:
        """How many stages are planned."""
        return len(self._planned)

    def begin(self, stage: Stage) -> None:
        """A stage begins; planned ones before it were kept from an earlier run, and cost nothing."""
        self._began[id(stage)] = self._clock()
        names = [name for name, _ in self._ahead]
        if stage.name in names:
            del self._ahead[: names.index(stage.name)]

    def move(self, stage: Stage) -> None:
        """A stage advanced: the first call gives its start, which is not 0 if it was resumed."""
        self._first.setdefault(id(stage), (stage.done, self._clock()))

    def end(self, stage: Stage) -> float:
        """A stage ended; return its seconds."""
        seconds = self._clock() - self._began.pop(id(stage), self._clock())
        if self._is_next(stage):
            _, cost = self._ahead.pop(0)
            first, _ = self._first.get(id(stage), (0, 0.0))
            share = (stage.done - first) / stage.total if stage.total else 1.0
            if not stage.failed and share > 0:
                self._cost += cost * share
                self._seconds += seconds
        self._first.pop(id(stage), None)
        return seconds

    def number(self, stage: Stage) -> int | None:
        """The stage's number among the planned ones, from 1; None if it is not planned."""
        return len(self._planned) - len(self._ahead) + 1 if self._is_next(stage) else None

    def rate(self, stage: Stage) -> float | None:
        """Units per second since the stage first advanced."""
        first, at = self._first.get(id(stage), (0, 0.0))
        passed = self._clock() - at
        return (stage.done - first) / passed if stage.done > first and passed > 0 else None

    def stage_seconds_left(self, stage: Stage) -> float | None:
        """Seconds to the end of the stage; None unless its length and speed are known."""
        rate = self.rate(stage)
        return max(0.0, stage.total - stage.done) / rate if rate and stage.total else None

    def seconds_left(self, stage: Stage) -> float | None:
        """Seconds to the end of the whole job; None while nothing is known."""
        if not self._is_next(stage):
            return None
        left, rate = self.stage_seconds_left(stage), self.rate(stage)
        cost, seconds, current = self._cost, self._seconds, self._ahead[0][1]
        if rate and stage.total:
            done = stage.done - self._first[id(stage)][0]
            cost += current * done / stage.total
            seconds += done / rate
        if not cost or not seconds:
            return None
        if left is None:
            left = max(0.0, current * seconds / cost - (self._clock() - self._began.get(id(stage), self._clock())))
        return left + sum(one for _, one in self._ahead[1:]) * seconds / cost

    def _is_next(self, stage: Stage) -> bool:
        return bool(self._ahead) and self._ahead[0][0] == stage.name


def about(seconds: float) -> str:
    """Seconds rounded as an estimate: about 40 s, about 3 min, about 2 h 5 min."""
    if seconds < 55:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    return f"about {duration(60 * max(1, round(seconds / 60)))}"
