"""The student's figures for each class beside the teacher's, those that lost most first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pkd.evaluation.by_class import Cells, ClassFigures, Unit
from pkd.reporting.amounts import NONE, amount, difference_text, shown_difference
from pkd.reporting.results import ClassesRecord, Record
from pkd.reporting.wording import teacher_of

MEASURES = ("precision", "recall", "f1")
TITLES = {"precision": "precision, %", "recall": "recall, %", "f1": "F1, %"}


@dataclass(frozen=True)
class Nouns:
    """What tables call a class, several, and what is counted of each."""

    one: str
    several: str
    counted: str


_NOUNS: dict[Unit, Nouns] = {"row": Nouns("class", "classes", "rows"), "span": Nouns("type", "types", "spans")}


@dataclass(frozen=True)
class ClassRow:
    """One class of a student: shares as means over its seeds, counts as sums over them.

    Attributes:
        rows: the number of evaluated rows of this class.
        student: "precision", "recall" and "f1" of the student, between 0 and 1.
        teacher: the teacher's; empty if it was not measured.
        lost: the teacher's F1 minus the student's, as displayed; 0 without a teacher.
    """

    label: str
    rows: int
    student: dict[str, float]
    teacher: dict[str, float]
    lost: float

    def text(self, measure: str) -> str:
        """A share in percent, the teacher's then the student's; without rows there is none."""
        if not self.rows and measure != "precision":
            return NONE
        mine = amount(measure, self.student[measure])
        return f"{amount(measure, self.teacher[measure])} → {mine}" if self.teacher else mine

    @property
    def change(self) -> str:
        """By how many points the student's F1 is above (+) or below (−) the teacher's."""
        return difference_text("f1", -self.lost, sign=True) if self.teacher and self.rows else NONE


def class_rows(records: Sequence[Record], name: str) -> list[ClassRow]:
    """The classes of a model, those that lost most F1 against the teacher first; without a teacher the lowest F1 first.

    Ties stay in the order of the classes, those without rows are last; empty if classes were not measured.
    """
    mine, teachers = _of(records, name), _of(records, _teacher(records))
    if not mine:
        return []
    compared = bool(teachers) and teachers[0].model != name
    rows = []
    for number, one in enumerate(mine[0].classes):
        student = _means([record.classes[number] for record in mine])
        teacher = _means([record.classes[number] for record in teachers]) if compared else {}
        lost = shown_difference("f1", teacher["f1"], student["f1"]) if compared and one.rows else 0.0
        rows.append(ClassRow(one.label, one.rows, student, teacher, lost))
    return sorted(rows, key=lambda row: (not row.rows, -row.lost if compared else row.student["f1"]))


def nouns_of(records: Sequence[Record], name: str) -> Nouns:
    """What the classes of a model are called."""
    mine = _of(records, name)
    return _NOUNS[mine[0].unit if mine else "row"]


def losses_heading(records: Sequence[Record], name: str) -> str:
    """The heading of the first rows of `class_rows`."""
    rows = class_rows(records, name)
    seeds = len(_of(records, name))
    over = f", means over {seeds} seeds" if seeds > 1 else ""
    nouns = nouns_of(records, name)
    if not rows or not rows[0].teacher:
        return f"The {nouns.several} of {name} with the lowest F1{over}"
    if rows[0].lost <= 0:
        return f"No {nouns.one} of {name} lost F1 against the teacher (teacher → student{over})"
    return f"The {nouns.several} of {name} that lost most F1 (teacher → student{over})"


def losses_sentence(records: Sequence[Record], name: str, most: int = 3) -> str:
    """The classes that lost most in one sentence; empty if none did or none were measured.

    It is for models that do not get a table.
    """
    lost = [row for row in class_rows(records, name) if row.teacher and row.lost > 0][:most]
    counted = nouns_of(records, name).counted
    told = ", ".join(f"'{row.label}' {row.change} ({row.rows:,} {counted})" for row in lost)
    return f"{name} lost most F1 in {told}." if told else ""


def has_classes(records: Sequence[Record], name: str) -> bool:
    """Whether the classes of a model were measured."""
    return bool(_of(records, name))


def confusion_of(records: Sequence[Record], name: str) -> tuple[list[str], Cells, Cells]:
    """Class names, and counts over all seeds: (label, prediction, rows) and (teacher's, student's, rows)."""
    mine = _of(records, name)
    if not mine:
        return [], [], []
    names = [one.label for one in mine[0].classes]
    return names, _summed([one.confusion for one in mine]), _summed([one.against_teacher for one in mine])


def set_counts_of(records: Sequence[Record], name: str) -> tuple[list[ClassFigures], list[ClassFigures]]:
    """For sets of labels the figures of each class, a model's and its teacher's, with counts summed over its seeds."""
    mine, teachers = _of(records, name), _of(records, _teacher(records))
    theirs = [one.classes for one in teachers] * len(mine)
    return _totals([one.classes for one in mine]), _totals(theirs)


def _totals(seeds: Sequence[Sequence[ClassFigures]]) -> list[ClassFigures]:
    return [
        ClassFigures(
            label=of_class[0].label,
            rows=sum(one.rows for one in of_class),
            answered=sum(one.answered for one in of_class),
            right=sum(one.right for one in of_class),
            **_means(of_class),
            with_teacher=sum(one.with_teacher or 0 for one in of_class),
        )
        for of_class in zip(*seeds, strict=True)
    ]


def _summed(seeds: Sequence[Cells]) -> Cells:
    counts: Counter[tuple[int, int]] = Counter()
    for cells in seeds:
        counts.update({(row, column): count for row, column, count in cells})
    return [(row, column, count) for (row, column), count in sorted(counts.items())]


def _of(records: Sequence[Record], name: str | None) -> list[ClassesRecord]:
    return [record for record in records if isinstance(record, ClassesRecord) and record.model == name]


def _teacher(records: Sequence[Record]) -> str | None:
    teacher = teacher_of(records)
    return teacher.name if teacher is not None else None


def _means(figures: Sequence[ClassFigures]) -> dict[str, float]:
    return {measure: sum(getattr(one, measure) for one in figures) / len(figures) for measure in MEASURES}
