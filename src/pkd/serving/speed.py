"""Time models in turns, and measure the peak memory of each in a process of its own.

Another job on the machine slows threaded libraries by far more than its share, and some more than others: two threads
that wait for each other on one free core can take a hundred times as long. So the models take turns in small pieces,
and a disturbance hits all of them. `cpu_share` measures what turns cannot cancel, and the report shows it.

To measure the peak memory of a process that loads a classifier on 2 cores and classifies 32 rows of 128 word pieces:

python -m pkd.serving.speed student/ cpu 2 32 128
"""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pkd import progress
from pkd.data.batches_by_length import batches_by_length
from pkd.errors import ResourceError
from pkd.serving.loaded import LoadedModel
from pkd.serving.texts import Batch, Text, rows_of

Call = Callable[[], object]

STAGE = "time the models side by side"
_PARTS = 8  # that all rows are timed in
_MOST_SECONDS = 3.0  # for single texts, per round and model
_SINGLES_A_TURN = 10  # with 1, the caches would always hold another model's weights
_BATCHES_A_CELL = 8
_LEAST_SECONDS, _MOST_CALLS = 0.1, 10  # per cell and round
_PROBE_SECONDS = 0.1
_SETTLE_SECONDS = 0.02  # a library's threads spin for a while after its last call
_BLOCK = bytes(1 << 20)  # hashlib releases Python's global lock for large inputs
_MEMORY_SECONDS = 600


@dataclass(frozen=True)
class Cell:
    """A batch size and a length; length 0: the user's own texts."""

    batch: int
    length: int


@dataclass(frozen=True)
class Work:
    """What a model is timed on: all rows, single texts, and cells of batch size and length."""

    rows: int
    all_rows: Sequence[Call]  # in parts; each returns numpy arrays, so that a GPU has finished
    singles: Sequence[Call] = ()
    cells: Mapping[Cell, tuple[int, Call]] = field(default_factory=dict)  # the number of rows of a call, and the call


@dataclass(frozen=True)
class Times:
    """One model: seconds for all rows per round, seconds per single text, rows per second of each cell per round."""

    rows: list[float] = field(default_factory=list)
    singles: list[float] = field(default_factory=list)
    cells: dict[Cell, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Timed:
    """Every model's times, and the share of `threads` cores that was free before each round."""

    times: dict[str, Times]
    cpu_shares: list[float]
    threads: int


def time_models(works: Mapping[str, Work], rounds: int, threads: int) -> Timed:
    """Time all models on all of their work; in each round they take turns, piece by piece.

    Args:
        works: by model name; all have the same cells.
        rounds: how often everything is timed.
        threads: cores each model uses; their load is measured before every round.
    """
    times = {name: Times(cells={cell: [] for cell in work.cells}) for name, work in works.items()}
    warm_up(works)
    shares = []
    with progress.stage(STAGE, rounds, "rounds") as stage:
        for number in range(rounds):
            shares.append(cpu_share(threads))
            time_a_round(works, times, number)
            stage.advance(1)
    return Timed(times, shares, threads)


def warm_up(works: Mapping[str, Work]) -> None:
    """Run a part of everything once: the first calls allocate."""
    for work in works.values():
        for call in (*work.all_rows[-1:], *work.singles[:3], *(call for _, call in work.cells.values())):
            call()


def time_a_round(works: Mapping[str, Work], times: Mapping[str, Times], number: int) -> None:
    """Time all models on all of their work once, in turns, and add it to `times`; `number` is the round's, from 0."""
    for name, seconds in take_turns({name: work.all_rows for name, work in works.items()}, number).items():
        times[name].rows.append(seconds)
    _time_singles(works, times)
    for place, cell in enumerate(next(iter(works.values())).cells):
        for name in list(works) if (number + place) % 2 == 0 else reversed(list(works)):
            rows, call = works[name].cells[cell]
            times[name].cells[cell].append(rows / _repeated(call))


def take_turns(parts: Mapping[str, Sequence[Call]], first: int = 0) -> dict[str, float]:
    """Time each model on all of its parts, in seconds: part 0 of every model, then part 1 of every model, ...

    Args:
        parts: by model name; models have about as many parts, of similar size. Their order is reversed for every part.
        first: even: begin in the given order, odd: in reverse.
    """
    seconds = dict.fromkeys(parts, 0.0)
    for number in range(max(map(len, parts.values()), default=0)):
        for name in list(parts) if (first + number) % 2 == 0 else reversed(list(parts)):
            if number < len(parts[name]):
                seconds[name] += _seconds_of(parts[name][number])
    return seconds


def cpu_share(threads: int, seconds: float = _PROBE_SECONDS) -> float:
    """The share of `threads` cores that this process gets: about 1 if no other job uses them.

    It is measured by threads that only compute, because the system's load average ignores containers and CPU limits.
    """
    time.sleep(_SETTLE_SECONDS)
    together, shares = threading.Barrier(threads), []

    def compute() -> None:
        together.wait()
        began, computed = time.perf_counter(), time.thread_time()
        while (passed := time.perf_counter() - began) < seconds:
            hashlib.sha256(_BLOCK).digest()
        shares.append((time.thread_time() - computed) / passed)

    workers = [threading.Thread(target=compute) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return min(1.0, sum(shares) / threads)


def work_on_texts(
    model: LoadedModel, texts: Sequence[Text], max_length: int, cells: Sequence[Cell] = (), singles: int = 0
) -> Work:
    """Work on real texts: single texts are timed from text to logits, batches from word pieces to logits."""
    encoder = model.encoder.limited(max_length)
    encodings = [encoder.encode(rows_of(text)) for text in texts]  # for a question, one per choice
    rows = list(itertools.chain(*encodings))
    lengths = np.array([len(row) for row in rows])
    numbers = [batch.tolist() for batch in batches_by_length(lengths, model.tokens_per_batch)]

    def own(size: int) -> tuple[int, Call]:
        begins = range(0, len(texts), size)[:_BATCHES_A_CELL]
        given = [encoder.pad(list(itertools.chain(*encodings[begin : begin + size]))) for begin in begins]
        return min(len(texts), _BATCHES_A_CELL * size), _all(model, given)

    def single(text: Text) -> Call:
        return lambda: model.forward(encoder.pad(encoder.encode(rows_of(text))))

    return Work(
        rows=len(texts),
        all_rows=_in_parts(model, [encoder.pad([rows[number] for number in batch]) for batch in numbers]),
        singles=[single(texts[number % len(texts)]) for number in range(singles)],
        cells={cell: _made_up(model, cell) if cell.length else own(cell.batch) for cell in cells},
    )


def work_on_random(model: LoadedModel, rows: int, length: int, cells: Sequence[Cell] = (), singles: int = 0) -> Work:
    """Work on random word pieces, all rows of one length."""
    vocabulary, size = model.encoder.vocabulary, max(1, model.tokens_per_batch // length)
    batches = [random_batch(min(size, rows - begin), length, vocabulary, seed=begin) for begin in range(0, rows, size)]
    return Work(
        rows=rows,
        all_rows=_in_parts(model, batches),
        singles=[_all(model, [random_batch(1, length, vocabulary)])] * singles,
        cells={cell: _made_up(model, cell) for cell in cells},
    )


def random_batch(rows: int, length: int, vocabulary: int, seed: int = 0) -> Batch:
    """Random word pieces [rows, length] without padding."""
    ids = np.random.default_rng(seed).integers(0, vocabulary, size=(rows, length), dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def measure_memory(folder: str, device: str, threads: int, shape: tuple[int, int]) -> int:
    """Peak resident bytes of a fresh process that loads a classifier and classifies one batch.

    In this process everything else in memory would count too.

    Args:
        folder: of the classifier, exported or not.
        device: "cpu" or "cuda"; GPU memory is not counted.
        threads: cores to use.
        shape: (rows, word pieces) of the batch.

    Raises:
        ResourceError: if the process fails.
    """
    given = [folder, device, str(threads), *map(str, shape)]
    done = subprocess.run(
        [sys.executable, "-m", __name__, *given],
        capture_output=True,
        text=True,
        timeout=_MEMORY_SECONDS,
        check=False,
    )
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ResourceError(f"The process that measures the memory of {folder} failed ({done.returncode}): {told}")
    peak: int = json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    return peak


def _made_up(model: LoadedModel, cell: Cell) -> tuple[int, Call]:
    return cell.batch, _all(model, [random_batch(cell.batch, cell.length, model.encoder.vocabulary)])


def _in_parts(model: LoadedModel, batches: Sequence[Batch]) -> list[Call]:
    """Split all batches into at most `_PARTS` calls."""
    edges = np.linspace(0, len(batches), min(_PARTS, len(batches)) + 1).astype(int)
    return [_all(model, batches[begin:end]) for begin, end in itertools.pairwise(edges)]


def _all(model: LoadedModel, batches: Sequence[Batch]) -> Call:
    def call() -> None:
        for batch in batches:
            model.forward(batch)

    return call


def _time_singles(works: Mapping[str, Work], times: Mapping[str, Times]) -> None:
    """Time single texts, a few of each model in turn, equally many of each."""
    spent, begin = 0.0, 0
    most = min(len(work.singles) for work in works.values())
    while begin < most and spent < _MOST_SECONDS * len(works):
        for name, work in works.items():
            turn = work.singles[begin : min(most, begin + _SINGLES_A_TURN)]
            turn[0]()  # the caches hold another model's weights, and that model's threads may still spin
            seconds = [_seconds_of(call) for call in turn]
            times[name].singles.extend(seconds)
            spent += sum(seconds)
        begin += _SINGLES_A_TURN


def _repeated(call: Call) -> float:
    """Seconds of a call; of a short one, the mean over several."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < _LEAST_SECONDS and len(seconds) < _MOST_CALLS):
        seconds.append(_seconds_of(call))
    return sum(seconds) / len(seconds)


def _seconds_of(call: Call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _peak_bytes() -> int:
    """Peak resident bytes of this process by the kernel's count; getrusage's includes the parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _main(folder: str, device: str, threads: str, rows: str, length: str) -> None:
    from pkd.serving.classifier import Classifier

    model = Classifier.load(folder, device, int(threads)).model
    model.forward(random_batch(int(rows), int(length), model.encoder.vocabulary))
    sys.stdout.write(json.dumps({"peak_bytes": _peak_bytes()}) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
