"""How fast models answer, side by side in one run: rounds take turns, so that a noisy machine hurts all alike."""

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
    """Rows per second of each model, the median of three rounds, on up to 256 of the encoded rows, in float32."""
    some = rows.select(range(min(ROWS, len(rows))))
    seconds = time_rounds(models, dict.fromkeys(models, some))
    return {name: len(some) / median(each) for name, each in seconds.items()}


def time_rounds(
    models: Mapping[str, PreTrainedModel], rows: Mapping[str, datasets.Dataset], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Seconds that each model takes for all of its encoded rows, one value a round; the models take turns.

    Args:
        models: each on the device that it is to be timed on.
        rows: of each model, encoded with its own tokenizer.
        rounds: how often.
    """
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for name, model in models.items():
        answer_rows(model, rows[name].select(range(min(32, len(rows[name])))))  # the first call allocates
    for _ in range(rounds):
        for name, model in models.items():
            began = time.perf_counter()
            answer_rows(model, rows[name])  # gives numbers back, so a GPU has finished
            seconds[name].append(time.perf_counter() - began)
    return seconds
