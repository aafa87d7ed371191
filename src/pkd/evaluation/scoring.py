"""The set of functions that measure a model; each kind of problem in `tasks` fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.by_class import BlindSpots, ByClass
from pkd.evaluation.resampling import percentile_intervals
from pkd.evaluation.tags import Span
from pkd.recipe.settings import Metric

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """The measures of one kind of problem; logits are [N, C], labels [N] or [N, C]; of tags [N, W, C] and [N, W].

    Attributes:
        metric: chooses the best epoch by default.
        choosing: the metrics that can choose it; for all of them more is better.
        chance_corrected: a metric that is 0 for a constant prediction.
        by_error: compare a model with the best constant prediction by squared error, whatever the metric.
        gain: the metric that is the mean of `gain_by_row`; its differences are tested.
        score: every metric of one model.
        compare_with_teacher: every measure of fidelity.
        bootstrap_samples: every number of both in each resample of the rows, from which intervals are made.
        gain_by_row: the quality of the prediction per row, [N]; more is better.
        negative_flips: the rows that the teacher predicts better, the worst first; from both logits and the labels.
        constant: the best constant prediction by a metric, as logits [N, C]; from labels, C and metric.
        constant_in_words: that prediction as a clause.
        probabilities: the probability of each class, [N, C].
        answers: the predicted class, classes or score per row, in words.
        label_words: labels in words.
        label_counts: number of rows per class; None for scores.
        by_class: the figures per class, from logits, labels, names and the teacher's logits; None if classes have no
            meaning of their own.
        blind_spots: what a model never predicts, from logits, labels and names.
        answer_spans: the predicted spans of words per row, from logits and names; None if rows have no spans.
        label_spans: those of the labels.
    """

    metric: Metric
    choosing: tuple[Metric, ...]
    chance_corrected: str
    by_error: bool = False
    gain: str
    score: Callable[[Array, Array], dict[str, float]]
    compare_with_teacher: Callable[[Array, Array], dict[str, float]]
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
    answer_spans: Callable[[Array, tuple[str, ...]], list[tuple[Span, ...]]] | None = None
    label_spans: Callable[[Array, tuple[str, ...]], list[tuple[Span, ...]]] | None = None

    def bootstrap_intervals(
        self, logits: Array, labels: Array, *, confidence: float, **drawn: Any
    ) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap interval over rows of every metric; `drawn` is for `bootstrap_samples`."""
        return percentile_intervals(self.bootstrap_samples(logits, labels, **drawn), confidence)

    def confidence(self, logits: Array) -> NDArray[np.float64]:
        """The probability of the prediction per row, [N]; of tags that of the least certain word."""
        top = self.probabilities(logits).max(axis=-1, initial=0.0)
        if top.ndim == 2:
            top = np.where(np.isnan(top), 1.0, top).min(axis=1, initial=1.0)
        return np.asarray(top, dtype=np.float64)

    def metrics_that_choose(self, classes: int) -> tuple[Metric, ...]:
        """The metrics that can choose an epoch with so many classes; F1 is defined only for two."""
        return tuple(metric for metric in self.choosing if metric != "f1" or classes == 2)


def worse_rows(gain_by_row: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array], NDArray[np.int64]]:
    """Make a function that returns the rows where the student is worse than the teacher, the worst first."""

    def worse(logits: Array, teacher_logits: Array, labels: Array) -> NDArray[np.int64]:
        lost = gain_by_row(teacher_logits, labels) - gain_by_row(logits, labels)
        order = np.argsort(-lost, kind="stable")
        return np.asarray(order[lost[order] > 0], dtype=np.int64)

    return worse
