"""Logits as probabilities and in words, for each kind of problem; numpy alone, for a served model says them too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pkd.recipe.settings import ProblemType

Array = NDArray[Any]


@dataclass(frozen=True)
class Answers:
    """How the logits [N, C] of one kind of problem are read.

    Attributes:
        probabilities: what they say of each class, [N, C] in float64; of a score the score itself.
        words: the class, the classes or the score of each row.
    """

    probabilities: Callable[[Array], NDArray[np.float64]]
    words: Callable[[Array, tuple[str, ...]], list[str]]


def answers_of(problem_type: ProblemType) -> Answers:
    """How a kind of problem's logits are read."""
    return _ANSWERS[problem_type]


def of_classes(logits: Array, problem_type: ProblemType) -> Array:
    """The logits of the classes [N, C]: of a single output [N, 1] those of both its classes."""
    return two_logits(logits) if problem_type == "binary_classification" else logits


def measured_as(problem_type: ProblemType) -> ProblemType:
    """What `of_classes` are the answers to: two classes are measured alike, whether one output or two tell them."""
    return "single_label_classification" if problem_type == "binary_classification" else problem_type


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


def _sigmoid(logits: Array) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(logits.astype(np.float64) / 2)))  # 1 / (1 + exp(−x)) would overflow


def _class_words(logits: Array, names: tuple[str, ...]) -> list[str]:
    return [names[index] for index in predictions(logits)]


def _output_words(logits: Array, names: tuple[str, ...]) -> list[str]:
    """The name of the one output, as transformers' pipeline says it: its probability tells whether the class holds."""
    return [names[0]] * len(logits)


def _score_words(outputs: Array, names: tuple[str, ...]) -> list[str]:
    return [f"{value:.4g}" for value in outputs[:, 0]]


_CLASSES = Answers(probabilities, _class_words)
_ANSWERS: dict[ProblemType, Answers] = {
    "single_label_classification": _CLASSES,
    "multiple_choice": _CLASSES,
    "multi_label_classification": Answers(_sigmoid, set_words),
    "binary_classification": Answers(_sigmoid, _output_words),
    "regression": Answers(lambda outputs: outputs.astype(np.float64), _score_words),
}
