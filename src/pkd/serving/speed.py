"""How fast the models of a run answer, for its results: they take turns, so that a noisy machine hurts all alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from pkd.serving.classifier import Classifier
from pkd.serving.texts import Text, rows_of
from pkd.serving.turns import Call, cpu_share, take_turns

ROUNDS = 3
ROWS = 256
_PARTS = 4


def measure_speed(parts: Mapping[str, Sequence[Call]], rows: int) -> dict[str, float]:
    """Rows per second of each model, the median of three rounds.

    Args:
        parts: of each model the calls that answer all rows, a part at a time; they take turns.
        rows: how many all parts of a model answer.
    """
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for calls in parts.values():
        calls[0]()  # the first call allocates
    shares = []
    for number in range(ROUNDS):
        shares.append(cpu_share(torch.get_num_threads()))
        for name, each in take_turns(parts, number).items():
            seconds[name].append(each)
    _warn(seconds, shares)
    return {name: rows / median(each) for name, each in seconds.items()}


def parts_of_rows(model: PreTrainedModel, rows: datasets.Dataset) -> list[Call]:
    """Calls of a model on its device that answer encoded rows, the short ones first, as one call batches them."""
    parts = [rows.select(part) for part in _by_length(column_array(rows, "length"))]
    return [partial(answer_rows, model, part) for part in parts]  # gives numbers back, so a GPU has finished


def parts_of_texts(classifier: Classifier, texts: Sequence[Text]) -> list[Call]:
    """Calls of a classifier that answer texts which are word pieces already, likewise; of questions a row a choice."""
    encodings = classifier.model.encoder.encode([row for text in texts for row in rows_of(text)])
    parts = _by_length(np.array([len(encoding) for encoding in encodings]))
    return [partial(classifier.logits_of, [encodings[row] for row in part]) for part in parts]


def _by_length(lengths: np.ndarray) -> list[np.ndarray]:
    """The rows of each part."""
    return np.array_split(np.argsort(lengths, kind="stable"), min(_PARTS, len(lengths)))


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
