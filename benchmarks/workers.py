"""Contenders in processes of their own, that take turns: none is helped or hindered by what another has set up.

A contender is a function that prepares what it needs and returns a function to measure with. All are prepared before
the first is measured; then they are measured in turns, so that a noisy machine hurts all alike.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import torch

Measure = Callable[[], float]


class Worker:
    """A process that prepares one contender and measures it when asked."""

    def __init__(self, prepare: Callable[..., Measure], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, prepare, arguments), daemon=True)
        self._process.start()
        self._receive()

    def measure(self) -> float:
        """Measure once."""
        self._pipe.send("measure")
        return float(self._receive())

    def stop(self) -> None:
        """End the process."""
        self._pipe.send("stop")
        self._process.join()

    def _receive(self) -> Any:
        value, trace = self._pipe.recv()
        if trace is not None:
            raise RuntimeError(f"A contender failed:\n{trace}")
        return value


def measure_in_turns(contenders: Mapping[str, tuple[Any, ...]], rounds: int, told: str) -> dict[str, list[float]]:
    """What each contender measures, a value a round.

    Args:
        contenders: a function and its arguments for each name.
        rounds: how often each has its turn.
        told: what the values are, for the lines that tell of each round.
    """
    workers = {name: Worker(*contender) for name, contender in contenders.items()}
    values: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(rounds):
        for name, worker in workers.items():
            values[name].append(worker.measure())
        line = ", ".join(f"{name} {values[name][-1]:,.1f}" for name in workers)
        print(f"  round {number + 1} of {rounds}: {line} {told}", flush=True)
    for worker in workers.values():
        worker.stop()
    return values


def stopwatch(alone: bool) -> Callable[[], float]:
    """What tells the seconds; `alone` counts those of this process, on one thread, whatever else the machine does."""
    if not alone:
        return _wall_time
    torch.set_num_threads(1)
    return time.process_time


def _wall_time() -> float:
    if torch.cuda.is_available():  # its kernels run on after they were called
        torch.cuda.synchronize()
    return time.perf_counter()


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def ratios(one: list[float], other: list[float]) -> dict[str, float]:
    """The spread of the ratio, round by round: what slows a round down slows both."""
    return spread([mine / theirs for mine, theirs in zip(one, other, strict=True)])


def _serve(pipe: Connection, prepare: Callable[..., Measure], arguments: tuple[Any, ...]) -> None:
    try:
        measure = prepare(*arguments)
        pipe.send((None, None))
        while pipe.recv() == "measure":
            pipe.send((measure(), None))
    except Exception:
        pipe.send((None, traceback.format_exc()))
