"""Contenders in processes of their own, that take turns: none is helped or hindered by what another has set up.

A contender is a function that prepares what it needs and returns a function to measure with. All are prepared, at
once, before the first is measured; then they are measured in turns, so that a noisy machine hurts all alike. One that
fails is left out, and said so: the others' figures are not lost with it.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch

Measure = Callable[[], float]


class Worker:
    """A process that prepares one contender, and measures it when asked once it is `ready`."""

    def __init__(self, prepare: Callable[..., Measure], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, prepare, arguments), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def ready(self) -> None:
        """Wait until the contender is prepared."""
        self._receive()

    def measure(self) -> float:
        """Measure once."""
        self._pipe.send("measure")
        return float(self._receive())

    def stop(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send("stop")
        self._process.join()

    def _receive(self) -> Any:
        try:
            value, trace = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"its process ended with {self._process.exitcode}") from None
        if trace is not None:
            raise RuntimeError(trace)
        return value


def measure_in_turns(
    contenders: Mapping[str, tuple[Any, ...]],
    rounds: int,
    told: str,
    on_round: Callable[[dict[str, list[float]]], None] = lambda values: None,
) -> dict[str, list[float]]:
    """What each contender measures, a value a round; those that fail are not among them.

    Args:
        contenders: a function and its arguments for each name.
        rounds: how often each has its turn.
        told: what the values are, for the lines that tell of each round.
        on_round: given all values so far after each round.
    """
    workers = {name: Worker(*contender) for name, contender in contenders.items()}
    values: dict[str, list[float]] = {name: [] for name in workers}

    def try_each(act: Callable[[str, Worker], None]) -> None:
        for name, worker in list(workers.items()):
            try:
                act(name, worker)
            except RuntimeError as error:
                print(f"  {name} failed and is left out: {error}", flush=True)
                workers.pop(name).stop()
                del values[name]

    try_each(lambda _, worker: worker.ready())
    for number in range(rounds):
        try_each(lambda name, worker: values[name].append(worker.measure()))
        line = ", ".join(f"{name} {values[name][-1]:,.1f}" for name in workers)
        print(f"  round {number + 1} of {rounds}: {line} {told}", flush=True)
        on_round(values)
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


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write what is measured so far; the old file stays until the new one is whole."""
    if path is not None:
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)


def _serve(pipe: Connection, prepare: Callable[..., Measure], arguments: tuple[Any, ...]) -> None:
    try:
        measure = prepare(*arguments)
        pipe.send((None, None))
        while pipe.recv() == "measure":
            pipe.send((measure(), None))
    except Exception:
        pipe.send((None, traceback.format_exc()))
