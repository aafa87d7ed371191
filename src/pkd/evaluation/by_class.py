"""Figures per class: precision, recall, confusions, and classes that a model never predicts.

Logits [N, C] and labels ([N] class ids, or [N, C] of 0 and 1) in; counts, shares and words out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.probabilities import predictions, set_words

Floats: TypeAlias = NDArray[np.floating]
_SAME_SCORE = 0.01  # of the labels' standard deviation: scores that differ by less count as equal
Unit = Literal["row", "span"]  # what the counts of a class are of
Cells = list[tuple[int, int, int]]  # row, column and count of the entries of a matrix that are above 0


@dataclass(frozen=True)
class ClassFigures:
    """One class of one model; shares are between 0 and 1, and 0 if the denominator is 0.

    Of tags a class is a type of span, and what is counted are spans.

    Attributes:
        rows: rows with this label.
        answered: rows predicted as this class.
        right: rows with this label and prediction.
        with_teacher: rows that model and teacher both predict as this class; None without the teacher.
    """

    label: str
    rows: int
    answered: int
    right: int
    precision: float
    recall: float
    f1: float
    with_teacher: int | None = None


@dataclass(frozen=True)
class ByClass:
    """The classes of one model in the order of its outputs.

    Attributes:
        confusion: (label, prediction, rows) by class id; empty for sets of labels and for spans.
        against_teacher: (teacher's prediction, prediction, rows), likewise.
        unit: what is counted.
    """

    classes: list[ClassFigures]
    confusion: Cells = field(default_factory=list)
    against_teacher: Cells = field(default_factory=list)
    unit: Unit = "row"


@dataclass(frozen=True)
class BlindSpots:
    """What a model never predicts on the evaluated rows.

    Attributes:
        one_answer: its prediction, in words, if it is the same for every row; of tags for every word.
        never_found: class -> its rows, for classes of which it finds none; most rows first.
        unit: what is counted there.
    """

    one_answer: str | None = None
    never_found: dict[str, int] = field(default_factory=dict)
    unit: Unit = "row"


def by_class(
    logits: Floats, labels: NDArray[Any], names: Sequence[str], teacher_logits: Floats | None = None
) -> ByClass:
    """The figures per class for rows with one label.

    Args:
        logits: [N, C] of the model.
        labels: class ids [N].
        names: of the C classes.
        teacher_logits: [N, C] of the teacher on the same rows.

    >>> figures = by_class(np.eye(2)[[0, 0, 1]], np.array([0, 1, 1]), ("no", "yes"))
    >>> [(one.label, one.rows, one.precision, one.recall) for one in figures.classes]
    [('no', 1, 0.5, 1.0), ('yes', 2, 1.0, 0.5)]
    >>> figures.confusion
    [(0, 0, 1), (1, 0, 1), (1, 1, 1)]
    """
    answers = predictions(logits)
    of_teacher = None if teacher_logits is None else predictions(teacher_logits)
    hits = _hits(answers, labels, len(names))
    classes = _all_figures(names, hits, None if of_teacher is None else _hits(answers, of_teacher, len(names)))
    beside = [] if of_teacher is None else _cells(of_teacher, answers, len(names))
    return ByClass(classes, _cells(labels, answers, len(names)), beside)


def by_label(
    logits: Floats, labels: NDArray[Any], names: Sequence[str], teacher_logits: Floats | None = None
) -> ByClass:
    """The figures per class for rows with sets of labels; `labels` are 0 and 1, [N, C]."""
    beside = None if teacher_logits is None else _hits_of_sets(logits > 0, teacher_logits > 0)
    return ByClass(_all_figures(names, _hits_of_sets(logits > 0, labels > 0.5), beside))


def blind_to_classes(logits: Floats, labels: NDArray[Any], names: Sequence[str]) -> BlindSpots:
    """Whether a model predicts one class for every row, and the classes of which it finds none.

    >>> blind_to_classes(np.eye(2)[[0, 0, 0]], np.array([0, 1, 0]), ("fine", "unsafe"))
    BlindSpots(one_answer='fine', never_found={'unsafe': 1})
    """
    if len(logits) < 2:  # one row has only one prediction
        return BlindSpots()
    answers = predictions(logits)
    alike = names[answers[0]] if (answers == answers[0]).all() else None
    return BlindSpots(alike, _missed(names, _hits(answers, labels, len(names))))


def blind_to_labels(logits: Floats, labels: NDArray[Any], names: Sequence[str]) -> BlindSpots:
    """The same for sets of labels."""
    if len(logits) < 2:
        return BlindSpots()
    words = set_words(logits, tuple(names))
    alike = words[0] if len(set(words)) == 1 else None
    return BlindSpots(alike, _missed(names, _hits_of_sets(logits > 0, labels > 0.5)))


def blind_to_choices(logits: Floats, labels: NDArray[Any], names: Sequence[str]) -> BlindSpots:
    """Whether a model always picks the choice at the same position."""
    found = blind_to_classes(logits, labels, names)
    return BlindSpots(f"choice {found.one_answer}" if found.one_answer is not None else None)


def blind_to_scores(logits: Floats, labels: NDArray[Any], names: Sequence[str]) -> BlindSpots:
    """Whether a model gives every row nearly the same score."""
    if len(logits) < 2:
        return BlindSpots()
    spread = float(np.ptp(logits))
    alike = spread == 0 or spread < _SAME_SCORE * float(np.std(labels))
    return BlindSpots(f"{float(logits.mean()):.3g}" if alike else None)


@dataclass(frozen=True)
class _Hits:
    """Per class: rows with the label, rows predicted so, and rows with both, [C] each."""

    rows: NDArray[np.int64]
    answered: NDArray[np.int64]
    right: NDArray[np.int64]


def _hits(answers: NDArray[np.int64], wanted: NDArray[Any], classes: int) -> _Hits:
    return _Hits(
        np.bincount(wanted, minlength=classes),
        np.bincount(answers, minlength=classes),
        np.bincount(answers[answers == wanted], minlength=classes),
    )


def _hits_of_sets(answered: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> _Hits:
    return _Hits(wanted.sum(axis=0), answered.sum(axis=0), (wanted & answered).sum(axis=0))


def _missed(names: Sequence[str], hits: _Hits) -> dict[str, int]:
    missed = [index for index in np.argsort(-hits.rows, kind="stable") if hits.rows[index] and not hits.right[index]]
    return {names[index]: int(hits.rows[index]) for index in missed}


def _all_figures(names: Sequence[str], hits: _Hits, with_teacher: _Hits | None) -> list[ClassFigures]:
    return [
        _figures(
            name,
            int(hits.rows[index]),
            int(hits.answered[index]),
            int(hits.right[index]),
            None if with_teacher is None else int(with_teacher.right[index]),
        )
        for index, name in enumerate(names)
    ]


def _figures(label: str, rows: int, answered: int, right: int, with_teacher: int | None) -> ClassFigures:
    return ClassFigures(
        label=label,
        rows=rows,
        answered=answered,
        right=right,
        precision=right / max(1, answered),
        recall=right / max(1, rows),
        f1=2 * right / max(1, rows + answered),
        with_teacher=with_teacher,
    )


def _cells(rows: NDArray[Any], columns: NDArray[Any], classes: int) -> Cells:
    counts = np.bincount(np.asarray(rows, dtype=np.int64) * classes + columns, minlength=classes * classes)
    return [(int(cell) // classes, int(cell) % classes, int(counts[cell])) for cell in np.flatnonzero(counts)]
