"""Logits as probabilities and in words; numpy alone, for a served model says them too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def two_logits(logits: Array) -> Array:
    """0 and the output, which are the logits of two classes: σ(z) = softmax(0, z)[1]; two logits stay as they are."""
    return np.column_stack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def predictions(logits: Array) -> NDArray[np.int64]:
    """The most probable class of each row, [N]; the first of equals."""
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def probabilities(logits: Array) -> NDArray[np.float64]:
    """Softmax of the logits in float64, [N, C]."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def set_words(logits: Array, names: tuple[str, ...]) -> list[str]:
    """The classes above one half, parted by commas; "none" where there is none."""
    return [", ".join(name for name, logit in zip(names, row, strict=True) if logit > 0) or "none" for row in logits]


def sigmoid(logits: Array) -> NDArray[np.float64]:
    """1 / (1 + exp(−x)) in float64, which does not overflow."""
    return np.asarray(0.5 * (1 + np.tanh(logits.astype(np.float64) / 2)))
