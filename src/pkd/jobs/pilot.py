"""A pilot: measure for a few seconds what work costs on this machine, to forecast a long job.

It runs models of the real shapes, with random weights, on rows of the job, and measures separately: seconds per word
piece of a forward pass, of a forward and backward pass, and seconds per step of the optimiser.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import datasets
import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from pkd.data.arrays import column_array
from pkd.data.batching import TokenRows
from pkd.data.outputs import Outputs
from pkd.distillation.narrowing import count_kept
from pkd.encoder.families import cut_config, layers_of, longest_input, neurons_of
from pkd.encoder.inference import TOKENS_PER_BATCH, collator_for, model_inputs
from pkd.encoder.load import untrained
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import occurring_only
from pkd.training.hardware import autocast_dtype, keep_freed_memory, move_model

PILOT = "pilot: how fast is this machine"
SECONDS = 4.0  # that a pilot measures for, at most
_STEP_SECONDS = 0.005  # what a training step does beside the model: reading, callbacks, sums for the log
_WARM_UP_TOKENS = 256
_PLACES = (0.5, 1 / 6, 5 / 6)  # positions in the rows by length, where batches represent all
# assumed without a measurement; a slow core, so that work which seems little is little
_FLOPS = {"cpu": 2e10, "cuda": 1e13}

Kind = Literal["train", "pass"]


@dataclass(frozen=True)
class Shape:
    """A classifier's speed and size: an encoder, and how many of its layers and neurons are kept."""

    encoder: str
    layers: int
    config: PretrainedConfig = field(compare=False, repr=False)  # of the whole encoder
    width: float = 1.0  # share of its feed-forward neurons

    @property
    def cut(self) -> PretrainedConfig:
        """The configuration of so many layers and neurons."""
        return cut_config(self.config, range(1, self.layers + 1), count_kept(neurons_of(self.config), self.width))


@dataclass(frozen=True)
class Work:
    """One model's computation: word pieces through it and, in training, optimiser steps."""

    shape: Shape
    kind: Kind
    tokens: float
    steps: float = 0.0
    exact: bool = False  # in float32, whatever the hardware does well
    threads: int = 0  # of the CPU; 0 means torch's default


@dataclass(frozen=True)
class Price:
    """Seconds per word piece, and seconds per optimiser step."""

    token: float
    step: float = 0.0


_Key: TypeAlias = tuple[str, float, Kind, bool, int]


@dataclass(frozen=True)
class Prices:
    """The prices of an encoder of one width at one or two depths, linear in the depth between and beyond."""

    at: Mapping[_Key, Mapping[int, Price]]

    def seconds(self, work: Work) -> float:
        """How long a piece of work takes."""
        known = self.at[_key(work)]
        token = _on_line({depth: price.token for depth, price in known.items()}, work.shape.layers)
        step = _on_line({depth: price.step for depth, price in known.items()}, work.shape.layers)
        return work.tokens * token + work.steps * step


def assumed_seconds(works: Iterable[Work], device: torch.device) -> float:
    """Seconds on a slow machine, by the number of products: enough to distinguish little work from much."""
    seconds = 0.0
    for work in works:
        width = work.shape.config.hidden_size
        inner = count_kept(neurons_of(work.shape.config), work.shape.width)
        products = 2 * work.shape.layers * (4 * width * width + 2 * width * inner) * (3 if work.kind == "train" else 1)
        seconds += work.tokens * products / _FLOPS[device.type] + work.steps * (_STEP_SECONDS + 0.01)
    return seconds


def measure_prices(
    works: Sequence[Work],
    rows: datasets.Dataset,
    outputs: Outputs,
    *,
    device: torch.device,
    batch_size: int = 32,
    occurs: np.ndarray | None = None,
    seconds: float = SECONDS,
) -> Prices:
    """Measure the prices of work, without changing weights or random state.

    Each encoder is timed at the deepest and the shallowest of the requested depths.

    Args:
        works: to be priced.
        rows: encoded, like those of the job.
        outputs: what the models answer.
        device: where to compute.
        batch_size: rows of a training step.
        occurs: [V] bool, the word pieces that the job will train; None times a step that trains all of them.
        seconds: how long to measure, about; each price is measured at least once.
    """
    keep_freed_memory()  # as training does
    waiting = _to_be_measured(works)
    budget = _Budget(seconds, len(waiting))
    at: dict[_Key, dict[int, Price]] = {}
    model: PreTrainedModel | None = None
    timed: tuple[str, float] | None = None
    all_threads = torch.get_num_threads()
    for shape, key in waiting:
        if model is None or timed != (shape.encoder, shape.width):  # the deepest is the first, and is cut afterwards
            model, timed = move_model(untrained(shape.cut, outputs), device), (shape.encoder, shape.width)
        _, _, kind, exact, threads = key
        del layers_of(model)[shape.layers :]
        dtype = None if exact else autocast_dtype("auto", device)
        torch.set_num_threads(threads or all_threads)
        try:
            if kind == "train":
                price = _price_of_training(model, rows, dtype, batch_size, occurs, budget)
            else:
                price = _price_of_passes(model, rows, dtype, budget)
        finally:
            torch.set_num_threads(all_threads)
        at.setdefault(key, {})[shape.layers] = price
    return Prices(at)


class _Budget:
    """Divides the seconds of a pilot among the remaining measurements."""

    def __init__(self, seconds: float, parts: int) -> None:
        self._ends, self._parts = time.perf_counter() + seconds, parts

    def next(self) -> float:
        """The seconds of the next part."""
        left = max(0.0, self._ends - time.perf_counter()) / max(1, self._parts)
        self._parts -= 1
        return left


def _key(work: Work) -> _Key:
    return work.shape.encoder, work.shape.width, work.kind, work.exact, work.threads


def _to_be_measured(works: Sequence[Work]) -> list[tuple[Shape, _Key]]:
    """The shapes to be timed, those of an encoder one after the other, the deepest first."""
    shapes: dict[_Key, dict[int, Shape]] = {}
    for work in works:
        if work.tokens:
            shapes.setdefault(_key(work), {})[work.shape.layers] = work.shape
    extremes = [(of_depth[depth], key) for key, of_depth in shapes.items() for depth in {max(of_depth), min(of_depth)}]
    return sorted(extremes, key=lambda each: (*each[1][:2], -each[0].layers, each[1]))


def _price_of_training(
    model: PreTrainedModel,
    rows: datasets.Dataset,
    dtype: torch.dtype | None,
    batch_size: int,
    occurs: np.ndarray | None,
    budget: _Budget,
) -> Price:
    """Time forward and backward passes with dropout, and the optimiser's steps."""
    model.train()
    steps: list[float] = []
    clock, batch_of = _clock(model), _batches(model, rows)
    with cls_only(model), nullcontext() if occurs is None else occurring_only(model, _fitting(occurs, model)):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)

        def passes(indices: np.ndarray) -> float:
            optimizer.zero_grad()
            began = clock()
            batch = batch_of(indices)
            with torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not None):
                loss = model(**model_inputs(batch, model, model.device)).logits.float().logsumexp(-1).mean()
            loss.backward()
            ended = clock()
            torch.nn.utils.get_total_norm([each.grad for each in model.parameters() if each.grad is not None])
            optimizer.step()
            steps.append(clock() - ended)
            return ended - began

        with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
            token = _seconds_a_token(passes, _typical(rows, batch_size), _tokens(rows), budget.next())
    model.zero_grad()
    return Price(token, min(steps[1:]) + _STEP_SECONDS)  # the first one allocates the moments


def _price_of_passes(
    model: PreTrainedModel, rows: datasets.Dataset, dtype: torch.dtype | None, budget: _Budget
) -> Price:
    """Time forward passes as in annotation and evaluation."""
    model.train(False)
    clock, batch_of = _clock(model), _batches(model, rows)
    tokens = _tokens(rows)

    def a_pass(indices: np.ndarray) -> float:
        began = clock()
        model(**model_inputs(batch_of(indices), model, model.device)).logits.float().cpu()
        return clock() - began

    size = max(1, int(TOKENS_PER_BATCH[model.device.type] // max(1.0, float(tokens.mean()))))
    autocast = torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not None)
    with torch.inference_mode(), autocast, cls_only(model):
        return Price(_seconds_a_token(a_pass, _typical(rows, size), tokens, budget.next()))


def _seconds_a_token(
    run: Callable[[np.ndarray], float], batches: Sequence[np.ndarray], tokens: np.ndarray, seconds: float
) -> float:
    """Seconds per word piece over some batches, each at its fastest; of part of one if time is short."""
    ends = time.perf_counter() + seconds
    first = batches[0]
    few = first[: max(1, int(np.searchsorted(np.cumsum(tokens[first]), _WARM_UP_TOKENS)))]
    run(few)  # the first ones allocate
    rate = run(few) / tokens[few].sum()
    fastest: dict[int, float] = {}
    while True:
        for number, batch in enumerate(batches):
            expected = fastest.get(number, rate * tokens[batch].sum())
            if time.perf_counter() + expected <= ends:
                fastest[number] = min(run(batch), fastest.get(number, math.inf))
            elif fastest:
                of_all = sum(int(tokens[batches[each]].sum()) for each in fastest)
                return float(sum(fastest.values()) / of_all)
            elif time.perf_counter() + rate * tokens[few].sum() <= ends:
                rate = min(rate, run(few) / tokens[few].sum())  # the one before may have met a slow moment
                break
            else:
                return float(rate)


def _typical(rows: datasets.Dataset, size: int) -> list[np.ndarray]:
    """Batches of rows of like length: of middling, short and long ones."""
    order = np.argsort(column_array(rows, "length"), kind="stable")
    size = min(size, len(order))
    begins = [min(max(0, int(place * len(order)) - size // 2), len(order) - size) for place in _PLACES]
    return [order[begin : begin + size] for begin in dict.fromkeys(begins)]


def _tokens(rows: datasets.Dataset) -> np.ndarray:
    """[N] the word pieces of each row, those of all its choices."""
    column = rows.select_columns(["input_ids"]).with_format("arrow")[:]["input_ids"].combine_chunks()
    tokens: np.ndarray = column.value_lengths().to_numpy()
    return tokens


def _batches(model: PreTrainedModel, rows: datasets.Dataset) -> Callable[[np.ndarray], dict[str, torch.Tensor]]:
    """Batches of the rows; word pieces that the model lacks, as of its teacher's tokenizer, are others, as costly."""
    collate, table = collator_for(model.config), TokenRows(rows)
    pieces = int(model.get_input_embeddings().num_embeddings)  # type: ignore[arg-type] # torch types it as a module
    longest = longest_input(model.config)

    def batch_of(indices: np.ndarray) -> dict[str, torch.Tensor]:
        batch = {name: column[..., :longest] for name, column in collate(table.__getitems__(indices.tolist())).items()}
        return {**batch, "input_ids": batch["input_ids"].clamp(max=pieces - 1)}

    return batch_of


def _fitting(occurs: np.ndarray, model: PreTrainedModel) -> np.ndarray:
    """Which of the model's own word pieces occur; an embedding may be longer than the tokenizer's vocabulary."""
    pieces = int(model.get_input_embeddings().num_embeddings)  # type: ignore[arg-type] # torch types it as a module
    fitting = np.zeros(pieces, dtype=np.bool_)
    fitting[: len(occurs)] = occurs[: len(fitting)]
    fitting[model.config.pad_token_id or 0] = True  # in no row, but in most batches
    return fitting


def _clock(model: PreTrainedModel) -> Callable[[], float]:
    """The time when all that was asked of the model's device is done."""
    if model.device.type != "cuda":
        return time.perf_counter

    def synchronised() -> float:
        torch.cuda.synchronize(model.device)
        return time.perf_counter()

    return synchronised


def _on_line(known: Mapping[int, float], depth: int) -> float:
    """The value at a depth on the line through the one or two that are known."""
    if depth in known or len(known) == 1:
        return known.get(depth, next(iter(known.values())))
    (low, at_low), (high, at_high) = sorted(known.items())
    return max(0.0, at_low + (at_high - at_low) * (depth - low) / (high - low))
