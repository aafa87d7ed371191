"""What each kind of problem is scored by: the one table from `problem_type` to metrics, intervals and gains.

A choice among several texts is scored as a classification of single labels: the classes are the choices. So is a binary
classification by one output, whose classes have the logits 0 and the output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.data.outputs import binary_classes
from pkd.evaluation import fidelity, metrics, multilabel, regression, significance
from pkd.evaluation.answers import answers_of, predictions, set_words, two_logits
from pkd.recipe.settings import Metric, ProblemType

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How the answers to one kind of problem are measured; logits are [N, C], labels [N] or [N, C].

    Attributes:
        metric: chooses the best epoch where nothing else is asked for.
        gain: the metric whose value a row is `gain_by_row`; differences of it are tested.
        score: every metric of one model.
        compare_with_teacher: every measure of fidelity.
        bootstrap_intervals: the intervals of both.
        bootstrap_samples: what they are made from, each metric in each resample of the rows.
        gain_by_row: how well each row is answered, [N], more is better.
        negative_flips: the rows that the teacher answers better, the worst first, from the logits of both and labels.
        constant: the one answer that fits all rows best by a metric, as logits [N, C], from their labels, C and the
            metric.
        probabilities: what the logits say of each class, [N, C].
        answers: the class, classes or score of each row, in words.
    """

    metric: Metric
    gain: str
    score: Callable[[Array, Array], dict[str, float]]
    compare_with_teacher: Callable[[Array, Array], dict[str, float]]
    bootstrap_intervals: Callable[..., dict[str, tuple[float, float]]]
    bootstrap_samples: Callable[..., dict[str, NDArray[np.float64]]]
    gain_by_row: Callable[[Array, Array], NDArray[np.float64]]
    negative_flips: Callable[[Array, Array, Array], NDArray[np.int64]]
    constant: Callable[[Array, int, str], Array]
    probabilities: Callable[[Array], Array]
    answers: Callable[[Array, tuple[str, ...]], list[str]]


def scoring_of(problem_type: ProblemType) -> Scoring:
    """The scoring of a kind of problem."""
    return _SCORINGS[problem_type]


def metrics_that_choose(problem_type: ProblemType, classes: int) -> tuple[Metric, ...]:
    """The metrics that can choose an epoch: more of them is better. F1 is that of the second of two classes alone."""
    return tuple(metric for metric in _CHOOSING[problem_type] if metric != "f1" or classes == 2)


def label_words(labels: Array, names: tuple[str, ...], problem_type: ProblemType) -> list[str]:
    """Labels, as rows hold them, in words."""
    if problem_type == "regression":
        return [f"{label:g}" for label in labels]
    if problem_type == "multi_label_classification":
        return set_words(np.where(labels > 0.5, 1.0, -1.0), names)
    return [names[int(label)] for label in labels]


def _of_two(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of logits [N, C], of one output instead."""

    def of_one_output(*arrays: Any, teacher_logits: Array | None = None, **keywords: Any) -> Any:
        if teacher_logits is not None:
            keywords["teacher_logits"] = two_logits(teacher_logits)
        return function(*(two_logits(array) if np.ndim(array) == 2 else array for array in arrays), **keywords)

    return of_one_output


def _one_of_two(logits: Array, names: tuple[str, ...]) -> list[str]:
    """The class of each row, of an output by the names of both classes or by its own."""
    return _SINGLE.answers(two_logits(logits), names if len(names) == 2 else binary_classes(*names))


def _right_by_row(logits: Array, labels: Array) -> NDArray[np.float64]:
    return np.asarray(predictions(logits) == labels, dtype=np.float64)


def _constant_class(labels: Array, classes: int, metric: str) -> Array:
    """The commonest class; by the F1 of the second of two classes that one, which the other would leave at 0."""
    answer = np.zeros(classes)
    answer[1 if metric == "f1" else np.bincount(labels, minlength=classes).argmax()] = 1.0
    return np.tile(answer, (len(labels), 1))


def _constant_set(labels: Array, classes: int, metric: str) -> Array:
    """The best set: of whole sets the commonest; by an F1 all labels, or the commonest few; else those of most rows."""
    shares = labels.mean(axis=0)
    if metric == "accuracy":
        sets, counts = np.unique(labels > 0.5, axis=0, return_counts=True)
        answered = sets[counts.argmax()]
    elif metric == "macro_f1":
        answered = np.ones(classes, dtype=bool)
    elif metric == "micro_f1":
        order = np.argsort(-shares, kind="stable")
        hits = shares[order].cumsum()
        best = int((2 * hits / (np.arange(1, classes + 1) + shares.sum())).argmax())
        answered = np.isin(np.arange(classes), order[: best + 1])
    else:
        answered = shares > 0.5
    return np.tile(np.where(answered, 1.0, -1.0), (len(labels), 1))


def _mean_score(labels: Array, classes: int, metric: str) -> Array:
    return np.full((len(labels), classes), labels.mean())


def _worse_rows(gain_by_row: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array], NDArray[np.int64]]:
    """Where the student loses most against the teacher, the worst row first."""

    def worse(logits: Array, teacher_logits: Array, labels: Array) -> NDArray[np.int64]:
        lost = gain_by_row(teacher_logits, labels) - gain_by_row(logits, labels)
        order = np.argsort(-lost, kind="stable")
        return np.asarray(order[lost[order] > 0], dtype=np.int64)

    return worse


_OF_CLASSES: tuple[Metric, ...] = ("accuracy", "f1", "macro_f1", "mcc")
_CHOOSING: dict[ProblemType, tuple[Metric, ...]] = {
    "single_label_classification": _OF_CLASSES,
    "multiple_choice": _OF_CLASSES,
    "binary_classification": _OF_CLASSES,
    "multi_label_classification": ("micro_f1", "macro_f1", "accuracy"),
    "regression": ("pearson", "spearman"),
}
_SINGLE = Scoring(
    metric="accuracy",
    gain="accuracy",
    score=metrics.score,
    compare_with_teacher=fidelity.compare_with_teacher,
    bootstrap_intervals=significance.bootstrap_intervals,
    bootstrap_samples=significance.bootstrap_samples,
    gain_by_row=_right_by_row,
    negative_flips=fidelity.negative_flips,
    constant=_constant_class,
    probabilities=answers_of("single_label_classification").probabilities,
    answers=answers_of("single_label_classification").words,
)
_SCORINGS: dict[ProblemType, Scoring] = {
    "single_label_classification": _SINGLE,
    "multiple_choice": _SINGLE,
    "binary_classification": Scoring(
        metric="accuracy",
        gain="accuracy",
        score=_of_two(metrics.score),
        compare_with_teacher=_of_two(fidelity.compare_with_teacher),
        bootstrap_intervals=_of_two(significance.bootstrap_intervals),
        bootstrap_samples=_of_two(significance.bootstrap_samples),
        gain_by_row=_of_two(_right_by_row),
        negative_flips=_of_two(fidelity.negative_flips),
        constant=lambda labels, _, metric: _constant_class(labels, 2, metric),
        probabilities=_of_two(_SINGLE.probabilities),
        answers=_one_of_two,
    ),
    "multi_label_classification": Scoring(
        metric="micro_f1",
        gain="label_accuracy",
        score=multilabel.score,
        compare_with_teacher=multilabel.compare_with_teacher,
        bootstrap_intervals=multilabel.bootstrap_intervals,
        bootstrap_samples=multilabel.bootstrap_samples,
        gain_by_row=multilabel.gain_by_row,
        negative_flips=_worse_rows(multilabel.gain_by_row),
        constant=_constant_set,
        probabilities=answers_of("multi_label_classification").probabilities,
        answers=answers_of("multi_label_classification").words,
    ),
    "regression": Scoring(
        metric="pearson",
        gain="mse",
        score=regression.score,
        compare_with_teacher=regression.compare_with_teacher,
        bootstrap_intervals=regression.bootstrap_intervals,
        bootstrap_samples=regression.bootstrap_samples,
        gain_by_row=regression.gain_by_row,
        negative_flips=_worse_rows(regression.gain_by_row),
        constant=_mean_score,
        probabilities=answers_of("regression").probabilities,
        answers=answers_of("regression").words,
    ),
}
