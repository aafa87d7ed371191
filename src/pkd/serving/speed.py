"""How fast the models of a run answer, for its results: they take turns, so that a noisy machine hurts all alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import median

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel

from pkd import progress
from pkd.data.arrays import column_array
from pkd.encoder.inference import answer_rows
from pkd.reporting.speeds import load_sentence, rounds_disagree
from pkd.serving.turns import Call, cpu_share, take_turns

ROUNDS = 3
ROWS = 256
_PARTS = 4


def measure_speed(models: Mapping[str, tuple[PreTrainedModel, datasets.Dataset]]) -> dict[str, float]:
    """Rows per second of each model, the median of three rounds, in float32.

    Args:
        models: each on the device that it is to be timed on, and the rows, encoded as it reads them; they take turns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for model, rows in models.values():
        answer_rows(model, rows.select(range(min(32, len(rows)))))  # the first call allocates
    parts = {name: _in_parts(model, rows) for name, (model, rows) in models.items()}
    shares = []
    for number in range(ROUNDS):
        shares.append(cpu_share(torch.get_num_threads()))
        for name, each in take_turns(parts, number).items():
            seconds[name].append(each)
    _warn(seconds, shares)
    return {name: len(models[name][1]) / median(each) for name, each in seconds.items()}


def _in_parts(model: PreTrainedModel, rows: datasets.Dataset) -> list[Call]:
    """Calls that answer the rows a part at a time, the short ones first: as they are batched in one call."""
    by_length = np.argsort(column_array(rows, "length"), kind="stable")
    parts = [rows.select(part) for part in np.array_split(by_length, min(_PARTS, len(rows)))]
    return [partial(answer_rows, model, part) for part in parts]  # gives numbers back, so a GPU has finished


def _warn(seconds: Mapping[str, list[float]], shares: list[float]) -> None:
    """Tell why the speeds may not hold."""
    first = next(iter(seconds))
    busy = load_sentence(shares, torch.get_num_threads())
    if busy:
        progress.warn(f"{busy} How fast the models are told to be does not hold; `pkd speed` times them again.")
    for name, each in seconds.items():
        ratios = [theirs / own for theirs, own in zip(seconds[first], each, strict=True)]
        if not busy and rounds_disagree(ratios):
            progress.warn(
                f"The rounds disagree how fast {name} is: {min(ratios):.2g} to {max(ratios):.2g} times {first}. "
                "`pkd speed` measures it longer."
            )
