"""Logits as predictions, probabilities and words; needs only numpy, because serving imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def two_logits(logits: Array) -> Array:
    """One output z as the logits (0, z) of two classes: σ(z) = softmax(0, z)[1]; two logits are returned unchanged."""
    return np.column_stack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def predictions(logits: Array) -> NDArray[np.int64]:
    """The most probable class per row, [N] (per word, [N, W]); ties go to the first."""
    return np.asarray(logits.argmax(axis=-1), dtype=np.int64)


def probabilities(logits: Array) -> NDArray[np.float64]:
    """Softmax of the logits in float64, [N, C] (per word, [N, W, C])."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def set_words(logits: Array, names: tuple[str, ...]) -> list[str]:
    """The classes with a probability above one half, separated by commas; "none" if there are none."""
    return [", ".join(name for name, logit in zip(names, row, strict=True) if logit > 0) or "none" for row in logits]


def sigmoid(logits: Array) -> NDArray[np.float64]:
    """1 / (1 + exp(−x)) in float64, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(logits.astype(np.float64) / 2)))


def log_mean_probability(logits: Sequence[Array]) -> NDArray[np.float32]:
    """The logarithm of the mean probability of K classifiers, each [N, C]: logits of their mean.

    Computed with logarithms, so that a probability that float64 rounds to 0 still has a finite logarithm.
    """
    each = np.stack(logits).astype(np.float64)  # [K, N, C], where words have tags [K, N, W, C]
    log_probabilities = each - np.logaddexp.reduce(each, axis=-1, keepdims=True)
    return np.asarray(np.logaddexp.reduce(log_probabilities, axis=0) - np.log(len(each)), dtype=np.float32)


def logit_of_mean_sigmoid(logits: Sequence[Array]) -> NDArray[np.float32]:
    """The logit of the mean sigmoid of K classifiers, each [N, C]; finite, as `log_mean_probability` is."""
    each = np.stack(logits).astype(np.float64)  # [K, N, C]
    holds, does_not = -np.logaddexp(0, -each), -np.logaddexp(0, each)  # log σ(z), log(1 − σ(z))
    return np.asarray(np.logaddexp.reduce(holds, axis=0) - np.logaddexp.reduce(does_not, axis=0), dtype=np.float32)


def mean_output(outputs: Sequence[Array]) -> NDArray[np.float32]:
    """The mean output of K models, each [N, C]."""
    return np.asarray(np.stack(outputs).astype(np.float64).mean(axis=0), dtype=np.float32)
