from __future__ import annotations

from typing import Any

import pytest

from pkd.recipe.settings import BudgetSettings
from pkd.reporting.front import Figures
from pkd.reporting.results import Score
from pkd.search.budget import nearest, over_budget, refusal


def figures(latency: float = 2.0, **others: Any) -> Figures:
    """Figures with intervals of a tenth on either side."""
    given = {"p95": 4.0, "throughput": 500.0, "speed_up": 8.0, "bytes": 20_000_000, "latency": latency, **others}
    size = given.pop("bytes")
    scores = {name: Score(value=value, low=0.9 * value, high=1.1 * value) for name, value in given.items()}
    return Figures(**scores, bytes=size)


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"latency": "2.2ms"}, ""),
        ({"latency": "2.19ms"}, "latency 2 ms (1.8 ms to 2.2 ms), where at most 2.19 ms is asked for"),
        ({"latency_p95": "4.3ms"}, "95th percentile of the latency 4 ms (3.6 ms to 4.4 ms)"),
        ({"throughput": 450}, ""),
        ({"throughput": 460}, "throughput 500 rows/s (450 rows/s to 550 rows/s), where at least 460 rows/s is asked"),
        ({"speed_up": 7.2}, ""),
        ({"speed_up": 7.5}, "speed-up 8.0 × (7.2 × to 8.8 ×), where at least 7.5 × is asked for"),
        ({"size": "20MB"}, ""),
        ({"size": "19.9MB"}, "size 20.0 MB, where at most 19.9 MB is asked for"),
        ({"max_drop": 0.0, "time": "1s"}, ""),  # which the shape does not decide
    ],
)
def test_the_pessimistic_end_of_an_interval_counts(limit: dict[str, Any], told: str) -> None:
    broken = over_budget(figures(), BudgetSettings(**limit))
    assert len(broken) == bool(told)
    assert "".join(broken).startswith(told)


def test_what_was_not_measured_breaks_nothing() -> None:
    unknown = figures().model_copy(update={"throughput": None, "speed_up": None})
    assert over_budget(unknown, BudgetSettings(throughput=1e6, speed_up=1e6)) == []


def test_the_nearest_is_the_one_whose_worst_constraint_is_least_beyond_its_limit() -> None:
    budget = BudgetSettings(latency="1ms", size="10MB")
    small_and_slow, large_and_fast = figures(5.0, bytes=9_000_000), figures(0.5, bytes=30_000_000)
    between = figures(2.0, bytes=20_000_000)
    assert nearest([small_and_slow, large_and_fast, between], budget) == 2


def test_a_refusal_names_the_shape_and_a_budget_that_it_keeps_to() -> None:
    told = refusal("L1-int8", figures(), BudgetSettings(latency="1ms", speed_up=100, size="100MB"))
    assert told == (
        "No shape keeps to latency and speed_up. The nearest is L1-int8: latency 2 ms (1.8 ms to 2.2 ms), where at most "
        "1 ms is asked for; speed-up 8.0 × (7.2 × to 8.8 ×), where at least 100 × is asked for. It would fit with "
        "latency='2.42ms' and speed_up=6.48."
    )


def test_a_small_size_that_is_advised_suffices() -> None:
    told = refusal("L1-int8", figures(bytes=404_000), BudgetSettings(size="200kB"))
    assert told.endswith("It would fit with size='0.444MB'.")


def test_limits_that_only_together_are_impossible_are_refused_as_such() -> None:
    budget = BudgetSettings(latency="1ms", size="10MB")
    small_and_slow, large_and_fast = figures(5.0, bytes=9_000_000), figures(0.5, bytes=30_000_000)
    told = refusal("L1", large_and_fast, budget, [small_and_slow, large_and_fast])
    assert told.startswith("No shape keeps to latency and size together. The nearest is L1: size 30.0 MB, where")
    assert refusal("L1", small_and_slow, budget, [figures(4.0)]).startswith("No shape keeps to latency. The nearest")
