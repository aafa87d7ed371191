"""The clock of a search stops what is under way in time, and tells its own stop from a user's."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pkd import progress
from pkd.errors import Stopped
from pkd.search.time_left import TimeLeft, is_up


def clock(seconds: float | None) -> TimeLeft:
    job: Any = None  # only what it forecasts needs its work
    return TimeLeft(job, None, seconds, time.monotonic())


def work_until_stopped(seconds: float) -> None:
    with progress.saves_on_stop():
        until = time.monotonic() + seconds
        while time.monotonic() < until and not progress.stop_requested():
            time.sleep(0.01)


def test_work_is_stopped_when_no_more_than_what_must_follow_is_left() -> None:
    began = time.monotonic()
    with pytest.raises(Stopped) as caught, clock(5.3).ends_in_time(5.0):
        work_until_stopped(60)
    assert time.monotonic() - began < 30
    assert is_up(caught.value)
    progress.stop_if_requested()  # the job goes on
    assert not progress.stop_requested()


def test_work_that_ends_in_time_is_left_alone_and_without_a_limit_there_is_no_end() -> None:
    with clock(1000).ends_in_time(1.0):
        work_until_stopped(0.05)
    assert clock(None).left == float("inf")
    with clock(None).ends_in_time(1.0):
        work_until_stopped(0.05)
    assert not progress.stop_requested()


def test_the_stop_waits_for_what_must_be_there_first() -> None:
    asked: list[float] = []

    def once() -> bool:
        asked.append(time.monotonic())
        return len(asked) == 3

    with pytest.raises(Stopped) as caught, clock(0.0).ends_in_time(5.0, once):
        work_until_stopped(60)
    assert is_up(caught.value)
    assert len(asked) == 3


def test_what_follows_the_trainings_takes_longer_where_exports_do() -> None:
    quick, slow = clock(None), clock(None)
    slow.build_seconds = 24.0  # three times what the figures of the end are of
    assert quick.of_ending(2) == 80.0
    assert slow.of_ending(2) == 240.0


def test_a_time_that_is_up_as_the_work_ends_anyway_ends_nothing_else() -> None:
    with clock(0.0).ends_in_time(0.0):
        while not progress.stop_requested():
            time.sleep(0.01)
    progress.stop_if_requested()  # the job goes on
    assert not progress.stop_requested()


def test_a_user_s_stop_is_not_taken_for_the_clock_s() -> None:
    try:
        with pytest.raises(Stopped) as caught, clock(0.2).ends_in_time(0.0), progress.saves_on_stop():
            progress.request_stop(130)
            time.sleep(0.5)
        assert not is_up(caught.value)
    finally:
        progress.clear_stop()


def test_a_stop_that_a_user_asked_for_ends_the_job() -> None:
    try:
        with pytest.raises(Stopped) as caught:
            progress.request_stop(130)
        assert not is_up(caught.value)
        assert progress.stop_requested()
    finally:
        progress.clear_stop()
