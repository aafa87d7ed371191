from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from pkd.serving.limits import usable_cores
from pkd.serving.speed import Cell, Work, cpu_share, take_turns, time_models


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    busy = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    running = [subprocess.Popen(busy, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for each in running:
            assert each.stdout is not None
            each.stdout.readline()  # it computes from now on
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def noted(order: list[str], name: str) -> Callable[[], None]:
    return lambda: order.append(name)


@pytest.mark.parametrize(("first", "expected"), [(0, "a1 b1 b2 a2 a3 b3"), (1, "b1 a1 a2 b2 b3 a3")])
def test_models_take_turns_part_by_part_and_none_is_always_the_first(first: int, expected: str) -> None:
    order: list[str] = []
    parts = {name: [noted(order, f"{name}{number}") for number in (1, 2, 3)] for name in "ab"}
    take_turns(parts, first)
    assert " ".join(order) == expected


def test_models_of_fewer_parts_end_sooner() -> None:
    order: list[str] = []
    take_turns({"a": [noted(order, "a")] * 3, "b": [noted(order, "b")]})
    assert sorted(order) == ["a", "a", "a", "b"]
    assert take_turns({}) == {}


def test_what_slows_the_machine_for_half_a_round_hurts_the_models_alike() -> None:
    """One model after the other, the ratio would be 20 instead of 2."""
    done = 0

    def part(seconds: float) -> Callable[[], None]:
        def call() -> None:
            nonlocal done
            done += 1
            time.sleep(seconds * (1 if done > 8 else 10))

        return call

    seconds = take_turns({"deep": [part(0.01)] * 8, "shallow": [part(0.005)] * 8})
    assert seconds["deep"] / seconds["shallow"] == pytest.approx(2, rel=0.3)


def test_the_share_of_the_cores_falls_when_others_compute() -> None:
    cores = usable_cores()
    with neighbours(2 * cores):
        beside = cpu_share(cores, seconds=0.5)
    assert 0 < beside < 0.6
    assert 0 < cpu_share(1) <= 1


def test_every_round_times_all_the_work_of_every_model() -> None:
    def work(seconds: float) -> Work:
        def call() -> None:
            time.sleep(seconds)

        return Work(rows=4, all_rows=[call, call], singles=[call] * 3, cells={Cell(batch=8, length=16): (8, call)})

    timed = time_models({"slow": work(0.02), "quick": work(0.01)}, rounds=2, threads=1)
    slow, quick = timed.times.values()
    assert len(timed.cpu_shares) == len(slow.rows) == len(slow.cells[Cell(8, 16)]) == 2
    assert min(slow.rows) >= 0.04
    assert len(quick.singles) == 6
    assert 0 < max(quick.cells[Cell(8, 16)]) <= 800  # rows a second
