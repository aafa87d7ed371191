"""Logits as predictions, probabilities and words; needs only numpy, because serving imports it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def two_logits(logits: Array) -> Array:
    """One output z as the logits (0, z) of two classes: σ(z) = softmax(0, z)[1]; two logits are returned unchanged."""
    return np.column_stack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def predictions(logits: Array) -> NDArray[np.int64]:
    """The most probable class per row, [N]; ties go to the first."""
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def probabilities(logits: Array) -> NDArray[np.float64]:
    """Softmax of the logits in float64, [N, C]."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def set_words(logits: Array, names: tuple[str, ...]) -> list[str]:
    """The classes with a probability above one half, separated by commas; "none" if there are none."""
    return [", ".join(name for name, logit in zip(names, row, strict=True) if logit > 0) or "none" for row in logits]


def sigmoid(logits: Array) -> NDArray[np.float64]:
    """1 / (1 + exp(−x)) in float64, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(logits.astype(np.float64) / 2)))
