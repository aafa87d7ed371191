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


def measure_speed(models: Mapping[str, tuple[PreTrainedModel, datasets.Dataset]]) -> dict[str, float]:
    """Rows per second of each model, the median of three rounds, in float32.

    Args:
        models: each on the device that it is to be timed on, and the rows, encoded as it reads them; they take turns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for model, rows in models.values():
        answer_rows(model, rows.select(range(min(32, len(rows)))))  # the first call allocates
    for _ in range(ROUNDS):
        for name, (model, rows) in models.items():
            began = time.perf_counter()
            answer_rows(model, rows)  # gives numbers back, so a GPU has finished
            seconds[name].append(time.perf_counter() - began)
    return {name: len(models[name][1]) / median(each) for name, each in seconds.items()}
