"""How fast the models of a run answer, for its results: rounds take turns, so that a noisy machine hurts all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import datasets
from transformers import PreTrainedModel

from pkd.encoder.inference import answer_rows

ROUNDS = 3
ROWS = 256


def measure_speed(models: Mapping[str, PreTrainedModel], rows: datasets.Dataset) -> dict[str, float]:
    """Rows per second of each model, the median of three rounds, on up to 256 of the encoded rows, in float32.

    Args:
        models: each on the device that it is to be timed on; they take turns.
        rows: encoded with the tokenizer that they share.
    """
    some = rows.select(range(min(ROWS, len(rows))))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        answer_rows(model, some.select(range(min(32, len(some)))))  # the first call allocates
    for _ in range(ROUNDS):
        for name, model in models.items():
            began = time.perf_counter()
            answer_rows(model, some)  # gives numbers back, so a GPU has finished
            seconds[name].append(time.perf_counter() - began)
    return {name: len(some) / median(each) for name, each in seconds.items()}
