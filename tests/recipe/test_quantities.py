from __future__ import annotations

from typing import Any

import pytest

from pkd.errors import RecipeError
from pkd.recipe.quantities import bytes_of, seconds_of
from pkd.recipe.reading import validate
from pkd.recipe.settings import BudgetSettings


def budget(**values: Any) -> BudgetSettings:
    return validate(BudgetSettings, values, "budget")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3ms", 0.003), ("3 ms", 0.003), ("0.5S", 0.5), (".5s", 0.5), ("250us", 0.00025), ("2 µs", 2e-6), ("2h", 7200.0),
     ("90m", 5400.0), ("90min", 5400.0), ("1e-3s", 0.001), ("1h30m", 5400.0), ("1 h 5 min 2 s", 3902.0),
     ("1h 0min", 3600.0), ("1.5h30s", 5430.0)],
)  # fmt: skip
def test_a_time_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"), [("20MB", 20_000_000), ("20 mb", 20_000_000), ("1.5kB", 1500), ("1MiB", 1_048_576), ("7 B", 7)]
)
def test_a_size_is_read_with_its_unit(text: str, count: int) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize(
    "given",
    [
        "3",
        3,
        3.5,
        "ms",
        "-3ms",
        "0ms",
        "3 apples",
        "3ms 2",
        "1e999s",
        "nanms",
        True,
        [],
        "",
        "1h30",
        "30m1h",
        "1h 2h",
        "1h 3apples",
    ],
)
def test_what_is_no_time_is_refused_with_the_units(given: Any) -> None:
    with pytest.raises(RecipeError, match=r"latency is .*; it must be a time above 0 with its unit .* as 3ms or 1h30m"):
        budget(latency=given)


@pytest.mark.parametrize("given", [20, "20", "20M", "0MB", "0.4B", "-1kB", "20ms"])
def test_what_is_no_size_is_refused_with_the_units(given: Any) -> None:
    with pytest.raises(RecipeError, match=r"size is .*; it must be a size above 0 with its unit .* as 20MB"):
        budget(size=given)


def test_lists_are_read_as_lists_or_as_text() -> None:
    assert budget(widths="0.25,1", batch_sizes="4", lengths=[16, 64]) == budget(
        widths=[1, 0.25], batch_sizes=4, lengths="16, 64"
    )
    assert budget(widths=[0.5, 0.5]).widths == [0.5]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"widths": "0,1"}, "widths is '0,1'; it must be shares above 0 and at most 1"),
        ({"widths": []}, "widths is"),
        ({"widths": [50]}, "widths is"),
        ({"batch_sizes": "8,x"}, "batch_sizes is '8,x'; it must be whole numbers from 1 to 1,000,000"),
        ({"batch_sizes": [1.5]}, "batch_sizes is"),
        ({"lengths": "2"}, "lengths is '2'; it must be whole numbers from 3"),
        ({"lengths": [True]}, "lengths is"),
        ({"threads": 0}, "threads is 0; it must be above 0"),
        ({"max_drop": 5}, "max_drop is 5; it must be at most 1"),
        ({"speed_up": "fast"}, "speed_up is 'fast'; it must be a number"),
    ],
)
def test_what_no_budget_can_be_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        budget(**values)


def test_a_budget_is_in_the_units_of_its_figures() -> None:
    given = budget(latency="3ms", latency_p95="0.005s", size="20MB", time="2h")
    assert (given.milliseconds, given.milliseconds_p95, given.bytes, given.seconds) == (3.0, 5.0, 20_000_000, 7200.0)
    nothing = budget()
    assert (nothing.milliseconds, nothing.milliseconds_p95, nothing.bytes, nothing.seconds) == (None,) * 4
