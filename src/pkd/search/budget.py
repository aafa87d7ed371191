"""Whether a shape keeps to a budget: its pessimistic end counts, and what it breaks is told in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pkd.recipe.settings import BudgetSettings
from pkd.recipe.spelling import named, set_to
from pkd.reporting.amounts import megabytes, milliseconds, times
from pkd.reporting.front import Figures
from pkd.reporting.results import Score


@dataclass(frozen=True)
class Constraint:
    """One limit of a budget.

    Attributes:
        key: of the recipe.
        limit: milliseconds, rows a second, times, or bytes.
        figure: of a graph, as a score with its interval; None if it was not measured.
        most: whether the limit is the most that is allowed, else the least.
        told: a value in words.
    """

    key: str
    limit: float
    figure: Callable[[Figures], Score | None]
    most: bool
    told: Callable[[float], str]

    def breaks(self, figures: Figures) -> bool:
        """Whether the pessimistic end of the figure's interval is beyond the limit."""
        score = self.figure(figures)
        return score is not None and self.excess(self.pessimistic(score)) > 0

    def is_hopeless(self, figures: Figures) -> bool:
        """Whether the figure itself is beyond the limit, not only the end of its interval."""
        score = self.figure(figures)
        return score is not None and self.excess(score.value) > 0

    def pessimistic(self, score: Score) -> float:
        """The end of the interval that counts."""
        end = score.high if self.most else score.low
        return score.value if end is None else end

    def excess(self, value: float) -> float:
        """By which share of the limit a value is beyond it; at most 0 within it."""
        return value / self.limit - 1 if self.most else self.limit / max(value, 1e-12) - 1

    def given(self, value: float) -> str | float:
        """A value as the recipe takes it: 3.04ms, 20.4MB, 500."""
        if self.key == "size":
            return f"{value / 1e6:.3g}MB"
        return self.told(value).replace(" ", "").replace(",", "") if self.most else float(f"{value:.3g}")

    def sentence(self, figures: Figures) -> str:
        """What is measured and what is allowed."""
        score = self.figure(figures)
        assert score is not None
        interval = ""
        if score.low is not None and score.high is not None and score.low != score.high:
            interval = f" ({self.told(score.low)} to {self.told(score.high)})"
        allowed = f"at most {self.told(self.limit)}" if self.most else f"at least {self.told(self.limit)}"
        return f"{_TITLES[self.key]} {self.told(score.value)}{interval}, where {allowed} is asked for"


_TITLES = {
    "latency": "latency",
    "latency_p95": "95th percentile of the latency",
    "throughput": "throughput",
    "speed_up": "speed-up",
    "size": "size",
}


def constraints_of(budget: BudgetSettings) -> list[Constraint]:
    """The limits of a budget that a shape alone decides."""
    limits: list[tuple[str, float | None, Callable[[Figures], Score | None], bool, Callable[[float], str]]] = [
        ("latency", budget.milliseconds, lambda figures: figures.latency, True, milliseconds),
        ("latency_p95", budget.milliseconds_p95, lambda figures: figures.p95, True, milliseconds),
        ("throughput", budget.throughput, lambda figures: figures.throughput, False, _rows),
        ("speed_up", budget.speed_up, lambda figures: figures.speed_up, False, times),
        ("size", budget.bytes, lambda figures: Score(value=figures.bytes), True, megabytes),
    ]
    return [Constraint(key, limit, *rest) for key, limit, *rest in limits if limit is not None]  # type: ignore[arg-type]


def over_budget(figures: Figures, budget: BudgetSettings) -> list[str]:
    """The constraints that a graph breaks, each in words; empty within the budget."""
    return [each.sentence(figures) for each in constraints_of(budget) if each.breaks(figures)]


def nearest(figures: Sequence[Figures], budget: BudgetSettings) -> int:
    """The index of the graph that is least beyond the budget, by the constraint that it breaks most."""

    def worst(index: int) -> float:
        of = figures[index]
        excesses = [
            each.excess(each.pessimistic(score))
            for each in constraints_of(budget)
            if (score := each.figure(of)) is not None
        ]
        return max(excesses, default=0.0)

    return min(range(len(figures)), key=worst)


def refusal(name: str, figures: Figures, budget: BudgetSettings, others: Sequence[Figures] = ()) -> str:
    """Why a budget is refused: the nearest shape, what it breaks, and which values of the budget would let it in.

    Args:
        name: of the nearest shape.
        figures: of it.
        budget: that no shape keeps to.
        others: the figures of the other shapes; what one of them keeps to is impossible only beside the rest.
    """
    broken = [each for each in constraints_of(budget) if each.breaks(figures)]
    impossible = [each for each in broken if all(each.breaks(other) for other in others)]
    keys = " and ".join(named(f"budget.{each.key}") for each in impossible or constraints_of(budget))
    together = "" if impossible else " together"
    told = "; ".join(each.sentence(figures) for each in broken)
    enough = " and ".join(
        set_to(f"budget.{each.key}", each.given(_further(each.pessimistic(score), most=each.most)))
        for each in broken
        if (score := each.figure(figures)) is not None
    )
    return f"No shape keeps to {keys}{together}. The nearest is {name}: {told}. It would fit with {enough}."


def _further(value: float, *, most: bool) -> float:
    """A value a little beyond this one, so that it fits when it is measured again."""
    return value * (1.1 if most else 0.9)


def _rows(value: float) -> str:
    return f"{value:.3g} rows/s" if value < 1000 else f"{value:.0f} rows/s"
