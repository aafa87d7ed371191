"""How fast models of any runtime answer, in one process and in turns: what disturbs the machine hurts all alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pkd import progress
from pkd.data.batches_by_length import batches_by_length
from pkd.serving.loaded import LoadedModel
from pkd.serving.memory import random_batch
from pkd.serving.texts import Batch, Text, rows_of
from pkd.serving.turns import Call, cpu_share, seconds_of, take_turns

_PARTS = 8  # of all rows
_MOST_SECONDS = 3.0  # of single texts a round and model
_SINGLES_A_TURN = 10  # one alone would find the caches full of the other models' weights
_BATCHES_A_CELL = 8
_LEAST_SECONDS, _MOST_CALLS = 0.1, 10  # of a cell a round


@dataclass(frozen=True)
class Cell:
    """A batch size and a length; length 0 stands for the user's own texts as they come."""

    batch: int
    length: int


@dataclass(frozen=True)
class Work:
    """What a model is timed at: all rows, single texts one after the other, and the cells of batch and length."""

    rows: int
    all_rows: Sequence[Call]  # in parts
    singles: Sequence[Call]
    cells: Mapping[Cell, Call]
    rows_of_cell: Mapping[Cell, int]


@dataclass(frozen=True)
class Times:
    """Seconds of one model: all rows, one value a round; single texts, one a text; each cell's call, one a round."""

    rows: list[float] = field(default_factory=list)
    singles: list[float] = field(default_factory=list)
    cells: dict[Cell, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Timed:
    """Every model's times, and the share of the cores that was to be had before each round."""

    times: dict[str, Times]
    cpu_shares: list[float]


def time_models(works: Mapping[str, Work], rounds: int, threads: int) -> Timed:
    """Time all models at all of their work; in each round they take turns, piece by piece.

    Args:
        works: of each model, by its name.
        rounds: how often.
        threads: how many cores each of them uses, whose load is looked at before every round.
    """
    times = {name: Times(cells={cell: [] for cell in work.cells}) for name, work in works.items()}
    for work in works.values():  # the first calls allocate
        for call in (*work.all_rows[-1:], *work.singles[:3], *work.cells.values()):
            call()
    shares = []
    with progress.stage("time the models side by side", rounds, "rounds") as stage:
        for number in range(rounds):
            shares.append(cpu_share(threads))
            for name, seconds in take_turns({name: work.all_rows for name, work in works.items()}, number).items():
                times[name].rows.append(seconds)
            _time_singles(works, times)
            for place, cell in enumerate(next(iter(works.values())).cells):
                for name in list(works) if (number + place) % 2 == 0 else reversed(list(works)):
                    times[name].cells[cell].append(_repeated(works[name].cells[cell]))
            stage.advance(1)
    return Timed(times, shares)


def work_on_texts(
    model: LoadedModel, texts: Sequence[Text], max_length: int, cells: Sequence[Cell], singles: int
) -> Work:
    """The work of real texts: a single one is timed from text to logits, the others from word pieces to logits."""
    encoder = model.encoder.limited(max_length)
    rows = [rows_of(text) for text in texts]  # of a question one a choice
    encodings = encoder.encode([row for of_text in rows for row in of_text])
    ends = np.cumsum([len(of_text) for of_text in rows])
    lengths = np.array([len(encoding) for encoding in encodings])
    batches = [
        encoder.pad([encodings[row] for row in rows]) for rows in batches_by_length(lengths, model.tokens_per_batch)
    ]

    def one(text: Text) -> Call:
        return lambda: model.forward(encoder.pad(encoder.encode(rows_of(text))))

    own = {
        cell: [encoder.pad(given) for given in _in_batches(encodings, ends, cell.batch)][:_BATCHES_A_CELL]
        for cell in cells
        if cell.length == 0
    }
    calls: dict[Cell, Call] = {cell: _all(model, given) for cell, given in own.items()}
    counts = {cell: min(len(texts), _BATCHES_A_CELL * cell.batch) for cell in own}
    made = _made_up(model, [cell for cell in cells if cell.length])
    picked = [texts[number % len(texts)] for number in range(singles)]
    return Work(
        rows=len(texts),
        all_rows=_in_parts(model, batches),
        singles=[one(text) for text in picked],
        cells={**calls, **made},
        rows_of_cell={**counts, **{cell: cell.batch for cell in made}},
    )


def _in_batches(encodings: Sequence[Any], ends: np.ndarray, size: int) -> Iterator[Sequence[Any]]:
    """The encodings of texts, of `size` texts a batch; text i has those up to `ends[i]`."""
    edges = [0, *ends[size - 1 :: size], *([len(encodings)] if len(ends) % size else [])]
    return (encodings[begin:end] for begin, end in itertools.pairwise(edges))


def work_on_random(model: LoadedModel, rows: int, length: int, cells: Sequence[Cell], singles: int) -> Work:
    """The work of random word pieces, all rows of one length."""
    vocabulary = model.encoder.vocabulary
    a_batch = max(1, model.tokens_per_batch // length)
    batches = [
        random_batch(min(a_batch, rows - begin), length, vocabulary, seed=begin) for begin in range(0, rows, a_batch)
    ]
    single = random_batch(1, length, vocabulary)
    made = _made_up(model, cells)
    return Work(
        rows=rows,
        all_rows=_in_parts(model, batches),
        singles=[lambda: model.forward(single)] * singles,
        cells=made,
        rows_of_cell={cell: cell.batch for cell in made},
    )


def _made_up(model: LoadedModel, cells: Sequence[Cell]) -> dict[Cell, Call]:
    batches = {cell: random_batch(cell.batch, cell.length, model.encoder.vocabulary) for cell in cells}
    return {cell: _all(model, [batch]) for cell, batch in batches.items()}


def _in_parts(model: LoadedModel, batches: Sequence[Batch]) -> list[Call]:
    """The calls that answer all batches, in as many parts for each model as there can be."""
    edges = np.linspace(0, len(batches), min(_PARTS, len(batches)) + 1).astype(int)
    return [_all(model, batches[begin:end]) for begin, end in itertools.pairwise(edges)]


def _all(model: LoadedModel, batches: Sequence[Batch]) -> Call:
    def call() -> None:
        for batch in batches:
            model.forward(batch)  # gives numbers back, so a GPU has finished

    return call


def _time_singles(works: Mapping[str, Work], times: Mapping[str, Times]) -> None:
    """Time single texts, some of each model in turn, as many of each."""
    spent, begin = 0.0, 0
    most = min(len(work.singles) for work in works.values())
    while begin < most and spent < _MOST_SECONDS * len(works):
        for name, work in works.items():
            seconds = [seconds_of(call) for call in work.singles[begin : min(most, begin + _SINGLES_A_TURN)]]
            times[name].singles.extend(seconds)
            spent += sum(seconds)
        begin += _SINGLES_A_TURN


def _repeated(call: Call) -> float:
    """Seconds of a call, the mean of several where it is short."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < _LEAST_SECONDS and len(seconds) < _MOST_CALLS):
        seconds.append(seconds_of(call))
    return sum(seconds) / len(seconds)
