"""What the answers to a kind of problem are measured by; which functions those are, each kind says in `tasks`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.by_class import BlindSpots, ByClass
from pkd.recipe.settings import Metric

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How the answers to one kind of problem are measured; logits are [N, C], labels [N] or [N, C].

    Attributes:
        metric: chooses the best epoch where nothing else is asked for.
        choosing: the metrics that can choose it: more of them is better.
        chance_corrected: a metric that gives one answer for all rows nothing.
        by_error: whether a model is held to the best one answer by its squared error, whatever metric is asked for.
        gain: the metric whose value a row is `gain_by_row`; differences of it are tested.
        score: every metric of one model.
        compare_with_teacher: every measure of fidelity.
        bootstrap_intervals: the intervals of both.
        bootstrap_samples: what they are made from, each metric in each resample of the rows.
        gain_by_row: how well each row is answered, [N], more is better.
        negative_flips: the rows that the teacher answers better, the worst first, from the logits of both and labels.
        constant: the one answer that fits all rows best by a metric, as logits [N, C], from their labels, C and the
            metric.
        constant_in_words: what that answer is by a metric, as a clause.
        probabilities: what the logits say of each class, [N, C].
        answers: the class, classes or score of each row, in words.
        label_words: labels, as rows hold them, in words.
        label_counts: how many rows have each class; None of scores.
        by_class: the figures of each class, from logits, labels, names and the teacher's logits; None where there are
            no classes with a meaning.
        blind_spots: what a model never does, from logits, labels and names.
    """

    metric: Metric
    choosing: tuple[Metric, ...]
    chance_corrected: str
    by_error: bool = False
    gain: str
    score: Callable[[Array, Array], dict[str, float]]
    compare_with_teacher: Callable[[Array, Array], dict[str, float]]
    bootstrap_intervals: Callable[..., dict[str, tuple[float, float]]]
    bootstrap_samples: Callable[..., dict[str, NDArray[np.float64]]]
    gain_by_row: Callable[[Array, Array], NDArray[np.float64]]
    negative_flips: Callable[[Array, Array, Array], NDArray[np.int64]]
    constant: Callable[[Array, int, str], Array]
    constant_in_words: Callable[[str], str]
    probabilities: Callable[[Array], Array]
    answers: Callable[[Array, tuple[str, ...]], list[str]]
    label_words: Callable[[Array, tuple[str, ...]], list[str]]
    label_counts: Callable[[Array, tuple[str, ...]], dict[str, int]] | None
    by_class: Callable[..., ByClass] | None
    blind_spots: Callable[[Array, Array, tuple[str, ...]], BlindSpots]

    def metrics_that_choose(self, classes: int) -> tuple[Metric, ...]:
        """The metrics that can choose an epoch with so many classes: F1 is that of the second of two alone."""
        return tuple(metric for metric in self.choosing if metric != "f1" or classes == 2)


def worse_rows(gain_by_row: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array], NDArray[np.int64]]:
    """Where the student loses most against the teacher, the worst row first."""

    def worse(logits: Array, teacher_logits: Array, labels: Array) -> NDArray[np.int64]:
        lost = gain_by_row(teacher_logits, labels) - gain_by_row(logits, labels)
        order = np.argsort(-lost, kind="stable")
        return np.asarray(order[lost[order] > 0], dtype=np.int64)

    return worse
