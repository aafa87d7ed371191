"""What a watching user sees: lines in a log, a live display on a terminal, warnings when quiet."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from pkd import progress
from pkd.cli.display import PlainDisplay, QuietDisplay, RichDisplay
from pkd.cli.forecast import Forecast, about
from pkd.progress import Stage, duration


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=60)


def written(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_plain_lines_tell_start_progress_and_end() -> None:
    console, clock = plain_console(), Clock()
    with progress.watch(PlainDisplay(console, clock)):
        progress.plan([("annotate train", 1.0), ("distil pkd-skip-L3-spread seed 42", 2.0), ("evaluate", 1.0)])
        with progress.stage("annotate train", 10, "rows") as stage:
            stage.advance(0)
            clock.now += 5
            stage.advance(10)
        with progress.stage("distil pkd-skip-L3-spread seed 42", 200, "steps") as stage:
            stage.reach(0)
            clock.now += 4
            stage.reach(80)  # too soon for a line
            clock.now += 6
            stage.reach(100)
            clock.now += 10
            stage.reach(200)
    assert written(console) == [
        "stage 1 of 3 annotate train",
        "stage 1 of 3 annotate train: done after 5 s",
        "stage 2 of 3 distil pkd-skip-L3-spread seed 42",
        "stage 2 of 3 distil pkd-skip-L3-spread seed 42: 50 % (100 of 200 steps), 10 s to go; "
        "whole job about 20 s to go",
        "stage 2 of 3 distil pkd-skip-L3-spread seed 42: 100 % (200 of 200 steps), 0 s to go; "
        "whole job about 10 s to go",
        "stage 2 of 3 distil pkd-skip-L3-spread seed 42: done after 20 s",
    ]


def test_a_failed_stage_is_not_called_done() -> None:
    console = plain_console()
    with pytest.raises(ZeroDivisionError), progress.watch(PlainDisplay(console)), progress.stage("train"):
        raise ZeroDivisionError
    assert written(console)[-1] == "train: stopped after 0 s"


def test_notes_are_printed_as_they_are() -> None:
    console = plain_console()
    long = "kept [bold]runs/x[/bold] " + "word " * 30
    with progress.watch(PlainDisplay(console)):
        progress.note(long)
        progress.warn("odd")
    assert written(console) == [long, "warning: odd"]


def test_quiet_shows_warnings_alone() -> None:
    console = plain_console()
    with progress.watch(QuietDisplay(console)):
        progress.plan([("a", 1.0)])
        with progress.stage("a", 2) as stage:
            stage.advance()
        progress.note("a note")
        progress.warn("a warning")
    assert written(console) == ["warning: a warning"]


def test_the_terminal_shows_bar_rate_and_time_to_go_and_keeps_finished_stages() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    display = RichDisplay(console, clock)
    with progress.watch(display):
        progress.plan([("annotate", 1.0), ("train", 1.0)])
        with progress.stage("annotate", 100, "rows") as stage:
            stage.reach(0)
            clock.now += 10
            stage.reach(100)
        with progress.stage("train", 50, "steps") as stage:
            stage.reach(0)
            clock.now += 20
            stage.reach(20, "loss 0.31")
            expected = "20/50 steps · 1/s · 30 s to go · loss 0.31"
            drawn_by = time.monotonic() + 10  # it is drawn four times a second
            while expected not in "\n".join(written(console)) and time.monotonic() < drawn_by:
                time.sleep(0.05)
        shown = "\n".join(written(console))
    assert "train" in shown
    assert expected in shown
    assert "stage 2 of 2 · about 30 s left" in shown
    assert "✓ annotate  10 s" in shown
    assert "✓ train  20 s" in shown


def test_the_forecast_learns_the_cost_of_a_unit_from_what_ran() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.plan([("a", 1.0), ("b", 3.0), ("c", 2.0)])
    first = Stage("a", total=10)
    forecast.begin(first)
    forecast.move(first)
    assert forecast.seconds_left(first) is None
    clock.now += 10
    first.done = 10
    forecast.end(first)
    second = Stage("b", total=100)
    forecast.begin(second)
    assert forecast.number(second) == 2
    assert forecast.seconds_left(second) == pytest.approx(30 + 20)
    forecast.move(second)
    clock.now += 30
    second.done = 50
    # 30 more seconds here; 40 seconds bought 1 + 1.5 units of cost, so 2 units cost 32
    assert forecast.seconds_left(second) == pytest.approx(30 + 32)


def test_a_resumed_stage_is_not_taken_for_a_fast_one() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    stage = Stage("train", total=100)
    forecast.begin(stage)
    stage.done = 80
    forecast.move(stage)
    clock.now += 10
    stage.done = 90
    assert forecast.stage_seconds_left(stage) == pytest.approx(10)


def test_stages_that_were_kept_count_as_passed_and_cost_nothing() -> None:
    forecast = Forecast(Clock())
    forecast.plan([("a", 1.0), ("b", 1.0), ("c", 1.0)])
    third = Stage("c", total=1)
    forecast.begin(third)
    assert forecast.number(third) == 3
    assert forecast.number(Stage("unplanned")) is None


def test_durations_are_said_in_words() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 60, 70, 660, 7500)] == [
        "0 s", "59 s", "1 min", "1 min 10 s", "11 min", "2 h 5 min",
    ]  # fmt: skip
    assert [about(seconds) for seconds in (1, 42, 170, 7500)] == [
        "about 5 s", "about 40 s", "about 3 min", "about 2 h 5 min",
    ]  # fmt: skip
