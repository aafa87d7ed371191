"""What a model does with each class: how much of it is found, what it is taken for, and classes it is blind to.

Logits [N, C] and labels ([N] class ids, or [N, C] of 0 and 1) in; counts, shares and words out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pkd.data.outputs import binary_classes
from pkd.evaluation.answers import answers_of, measured_as, of_classes, predictions
from pkd.recipe.settings import ProblemType

Floats: TypeAlias = NDArray[np.floating]
_SAME_SCORE = 0.01  # of the labels' standard deviation: scores that differ by less are one answer
Cells = list[tuple[int, int, int]]  # of a matrix of counts: row, column, how many; those above 0


@dataclass(frozen=True)
class ClassFigures:
    """One class of one model; shares are between 0 and 1, and 0 where there is nothing to take a share of.

    Attributes:
        rows: whose label it is.
        answered: rows that the model answers so.
        right: rows of which both hold.
        with_teacher: rows that model and teacher both answer so, where the teacher's answers are known.
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
        confusion: (label, answer, rows) by number of the class; empty for sets of labels, of which `classes` tells
            all.
        against_teacher: (teacher's answer, answer, rows), likewise.
    """

    classes: list[ClassFigures]
    confusion: Cells = field(default_factory=list)
    against_teacher: Cells = field(default_factory=list)


@dataclass(frozen=True)
class BlindSpots:
    """What a model never does on the rows it was measured on.

    Attributes:
        one_answer: what it answers to every row, in words, where that is always the same.
        never_found: class -> its rows, of classes of which it finds none; those with most rows first.
    """

    one_answer: str | None = None
    never_found: dict[str, int] = field(default_factory=dict)


def by_class(
    logits: Floats,
    labels: NDArray[Any],
    names: Sequence[str],
    problem_type: ProblemType,
    teacher_logits: Floats | None = None,
) -> ByClass | None:
    """The figures of each class; None of scores and of a choice among texts, whose classes are places.

    Args:
        logits: [N, C] of the model.
        labels: class ids [N], or sets [N, C].
        names: of the C classes.
        problem_type: what is learned.
        teacher_logits: [N, C] of its teacher on the same rows.

    >>> figures = by_class(np.eye(2)[[0, 0, 1]], np.array([0, 1, 1]), ("no", "yes"), "single_label_classification")
    >>> [(one.label, one.rows, one.precision, one.recall) for one in figures.classes]
    [('no', 1, 0.5, 1.0), ('yes', 2, 1.0, 0.5)]
    >>> figures.confusion
    [(0, 0, 1), (1, 0, 1), (1, 1, 1)]
    """
    if teacher_logits is not None:
        teacher_logits = of_classes(teacher_logits, problem_type)
    logits, names, problem_type = _as_classes(logits, names, problem_type)
    if problem_type not in ("single_label_classification", "multi_label_classification"):
        return None
    several = problem_type == "multi_label_classification"
    counts = _counts(logits, labels, several=several)
    both = None
    if teacher_logits is not None:
        theirs = teacher_logits > 0 if several else predictions(teacher_logits)
        _, _, both = _counts(logits, theirs, several=several)
    classes = [
        _figures(name, int(rows), int(answered), int(right), None if both is None else int(both[number]))
        for number, (name, rows, answered, right) in enumerate(zip(names, *counts, strict=True))
    ]
    if several:
        return ByClass(classes)
    answers = predictions(logits)
    beside = [] if teacher_logits is None else _cells(predictions(teacher_logits), answers, len(names))
    return ByClass(classes, _cells(labels, answers, len(names)), beside)


def blind_spots(logits: Floats, labels: NDArray[Any], names: Sequence[str], problem_type: ProblemType) -> BlindSpots:
    """Whether a model answers every row alike, and the classes of which it finds none.

    >>> blind_spots(np.eye(2)[[0, 0, 0]], np.array([0, 1, 0]), ("fine", "unsafe"), "single_label_classification")
    BlindSpots(one_answer='fine', never_found={'unsafe': 1})
    """
    if len(logits) < 2:  # one row has one answer
        return BlindSpots()
    logits, names, problem_type = _as_classes(logits, names, problem_type)
    words = answers_of(problem_type).words(logits, tuple(names))
    if problem_type == "regression":
        spread = float(np.ptp(logits))
        alike = spread == 0 or spread < _SAME_SCORE * float(np.std(labels))
        return BlindSpots(f"{float(logits.mean()):.3g}" if alike else None)
    one_answer = words[0] if len(set(words)) == 1 else None
    if problem_type == "multiple_choice":
        return BlindSpots(f"choice {one_answer}" if one_answer is not None else None)
    wanted, _, right = _counts(logits, labels, several=problem_type == "multi_label_classification")
    missed = [number for number in np.argsort(-wanted, kind="stable") if wanted[number] and not right[number]]
    return BlindSpots(one_answer, {names[number]: int(wanted[number]) for number in missed})


def _as_classes(
    logits: Floats, names: Sequence[str], problem_type: ProblemType
) -> tuple[Floats, Sequence[str], ProblemType]:
    """A single output as the two classes that it tells apart; anything else as it is."""
    if problem_type == "binary_classification" and len(names) == 1:
        names = binary_classes(*names)
    return of_classes(logits, problem_type), names, measured_as(problem_type)


def _counts(logits: Floats, labels: NDArray[Any], *, several: bool) -> tuple[NDArray[np.int64], ...]:
    """Rows of each class, rows answered so, and rows where both hold, [C] each."""
    classes = logits.shape[1]
    if several:
        answered, wanted = logits > 0, labels > 0.5
        return wanted.sum(axis=0), answered.sum(axis=0), (wanted & answered).sum(axis=0)
    answers = predictions(logits)
    return (
        np.bincount(labels, minlength=classes),
        np.bincount(answers, minlength=classes),
        np.bincount(answers[answers == labels], minlength=classes),
    )


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
