"""Figures per type of span: precision, recall, F1, and types that a model never finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pkd.evaluation.by_class import BlindSpots, ByClass, ClassFigures
from pkd.evaluation.tags import (
    NO_WORD,
    Floats,
    Integers,
    Names,
    answered_and_wanted,
    answered_tags,
    spans_by_row,
    types_of,
)


def by_type(logits: Floats, labels: Integers, names: Sequence[str], teacher_logits: Floats | None = None) -> ByClass:
    """Precision, recall and F1 per type of span; counts are of spans."""
    tags = tuple(names)
    answered, wanted = answered_and_wanted(tags, logits, labels)
    by_teacher = None if teacher_logits is None else answered_and_wanted(tags, teacher_logits, labels)[0]
    counts = {kind: [0, 0, 0, 0] for kind in types_of(tags)}  # true, answered, right, with the teacher
    for row, (mine, theirs) in enumerate(zip(answered, wanted, strict=True)):
        for place, found in enumerate((theirs, mine, set(mine) & set(theirs))):
            for kind, _, _ in found:
                counts[kind][place] += 1
        for kind, _, _ in set(mine) & set(by_teacher[row] if by_teacher else ()):
            counts[kind][3] += 1
    return ByClass(
        [
            ClassFigures(
                label=kind,
                rows=true,
                answered=given,
                right=right,
                precision=right / max(1, given),
                recall=right / max(1, true),
                f1=2 * right / max(1, true + given),
                with_teacher=None if by_teacher is None else alike,
            )
            for kind, (true, given, right, alike) in counts.items()
        ],
        unit="span",
    )


def blind_to_types(logits: Floats, labels: Integers, names: Sequence[str]) -> BlindSpots:
    """Whether a model gives every word the same tag, and the types of which it finds no span."""
    if len(logits) < 2:
        return BlindSpots(unit="span")
    tags = answered_tags(logits)
    given = np.unique(tags[tags != NO_WORD])
    figures = sorted(by_type(logits, labels, names).classes, key=lambda one: -one.rows)
    missed = {one.label: one.rows for one in figures if one.rows and not one.right}
    return BlindSpots(names[given[0]] if len(given) == 1 else None, missed, unit="span")


def label_counts(labels: Integers, names: Names) -> dict[str, int]:
    """The number of spans of each type."""
    counts = dict.fromkeys(types_of(names), 0)
    for spans in spans_by_row(names, labels):
        for kind, _, _ in spans:
            counts[kind] += 1
    return counts
