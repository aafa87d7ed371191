"""Which cells the study runs: teachers by a small grid, then students that each differ in one lever from the base."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.quality.cells import VERSION_ONE_EPOCHS, Student, Teacher
from benchmarks.quality.tasks import SCREENED, TASKS
from pkd.recipe.settings import TrainingSettings
from pkd.training.schedule import epochs_of, student_schedule

RATES = (5e-5, 1e-4, 2e-4)
VERSION_ONE: dict[str, Any] = {
    "rate": 5e-5, "steps": 1.0, "temperature": 10.0, "alpha": 0.5, "kd_reduction": "mean", "beta": 100.0,
}  # fmt: skip
FINE_TUNING: dict[str, Any] = {"alpha": 0.0, "beta": 0.0}
SEEDS = (42, 43, 44)
MANY_CLASSES = ("banking77",)
NARROW_TASKS = ("emotion", "reviews", "banking77")
SMALL, LARGE = ("emotion", "irony", "mrpc"), ("reviews", "banking77", "sst2")  # the quickest first
PASSES = epochs_of(student_schedule(TrainingSettings(), "normal"))  # over the labelled rows
_NORMAL: dict[str, Any] = {"rate": "auto", "steps": PASSES / VERSION_ONE_EPOCHS}
# the reference implementation's way, as its users tune it; the development rows choose
REFERENCES: dict[str, dict[str, Any]] = {
    name: {**VERSION_ONE, "start": "reference", "rate": rate, "beta": beta}
    for name, rate, beta in (
        ("reference", 5e-5, 100.0),
        ("reference, 2e-5", 2e-5, 100.0),
        ("reference, beta 1000", 5e-5, 1000.0),
        ("reference, 2e-5, beta 1000", 2e-5, 1000.0),
    )
}
FINAL: dict[str, dict[str, Any]] = {
    "normal": {**_NORMAL, "patience": 0.1, "beta": None, "augmented": 4},
    "ft": {**_NORMAL, **FINE_TUNING},
    "v1": VERSION_ONE,
    "reference": REFERENCES["reference"],
}
# `normal` and `ft` as they were before: the best score kept, 1e-4 below 20 classes
_TEN: dict[str, Any] = {"rate": "auto", "steps": 2.5}
TEN_PASSES, FT_OF_TEN = "ten passes", "ten passes, ft"
FORMER: dict[str, dict[str, Any]] = {
    TEN_PASSES: {**_TEN, "patience": 0.1, "beta": None, "augmented": 4},
    FT_OF_TEN: {**_TEN, **FINE_TUNING},
}
KEPT: dict[str, Literal["auto", "calibrated", "best"]] = {
    "default": "auto", "calibrated epoch": "calibrated", "best epoch": "best",
}  # fmt: skip
_PATIENCE: dict[str, dict[str, Any]] = {"": {}, ", patience 0.1": {"patience": 0.1, "beta": None}}
NARROW: dict[str, dict[str, Any]] = {
    f"{layers} narrow{words}": {**_NORMAL, "layers": layers, "width": 0.5, "augmented": 4, **patience}
    for layers in (6, 3)
    for words, patience in _PATIENCE.items()
}
# `normal` with one thing changed, in the order in which they are wanted; the same made again has their teacher
AGAIN = "normal made again"
PARTS: dict[str, dict[str, Any]] = {
    name: {**FINAL["normal"], **changed}
    for name, changed in (
        (AGAIN, {}),
        ("start 1.2.6", {"start": (1, 2, 6)}),
        ("without patience", {"patience": 0.0, "beta": 0.0}),
        ("without augmented rows", {"augmented": 0}),
        ("α 0.9", {"alpha": 0.9}),
        ("T 2", {"temperature": 2.0}),
    )
}
KEPT_LATEST = ("normal", "ft", *NARROW, *PARTS)  # of which the package keeps the latest that is level with the best


@dataclass(frozen=True)
class Plan:
    """A part of the study.

    Attributes:
        tasks: in the order in which they are begun.
        students: in the order in which they are wanted.
        variants: augmented rows for each training row.
        teachers: wanted for themselves, after the students.
    """

    tasks: Sequence[str]
    students: Sequence[Student]
    variants: int = 4
    teachers: Sequence[Teacher] = ()


def teachers_of(task: str) -> list[Teacher]:
    """The small grid of which the development rows choose the task's teacher."""
    return [Teacher(task=task, rate=rate) for rate in RATES]


def best_teacher(lines: Mapping[str, Mapping[str, Any]], task: str) -> Teacher | None:
    """The grid's best by development rows; None until all of it is trained."""
    trained = [
        line
        for line in lines.values()
        if line["kind"] == "teacher" and line["task"] == task and line["seed"] == 42 and line["rate"] in RATES
    ]
    if len(trained) < len(RATES):
        return None
    best = max(trained, key=lambda line: float(line["dev"]))
    return Teacher(task=task, rate=best["rate"])


def teacher_of(lines: Mapping[str, Mapping[str, Any]], student: Student) -> Teacher | None:
    """The teacher that a student learns from, with the first seed; None until it is chosen."""
    if student.teacher != "grid":
        return Teacher(task=student.task, rate="auto", epochs="auto", kept=KEPT[student.teacher])
    return best_teacher(lines, student.task)


def screening() -> Iterator[Student]:
    """Each lever alone, one seed, on four tasks; the base is KD summed over classes at T = 4, ten epochs at 1e-4."""
    levers: list[tuple[str, dict[str, Any]]] = [
        ("v1", VERSION_ONE),
        ("base", {}),
        ("ft", FINE_TUNING),
        ("rate 2e-4", {"rate": 2e-4}),
        ("augment 4", {"augmented": 4}),
        ("patience 0.3 units", {"patience": 0.3, "units": True, "beta": None}),
        ("patience 0.3 length", {"patience": 0.3, "beta": None}),
        ("start first", {"start": "first"}),
        ("start greedy", {"start": "greedy"}),
        ("T 1", {"temperature": 1.0}),
        ("T 10", {"temperature": 10.0}),
        ("kd mean", {"kd_reduction": "mean"}),
        ("alpha 0.9", {"alpha": 0.9}),
        ("rate 5e-5", {"rate": 5e-5}),
        ("rate 4e-4", {"rate": 4e-4}),
        ("steps 5", {"steps": 5.0}),
        ("augment 4, steps 5", {"augmented": 4, "steps": 5.0}),
        ("start spread with last", {"start": (1, 3, 6)}),
        ("start first with last", {"start": (1, 2, 6)}),
        ("reference", REFERENCES["reference"]),
        ("patience 0.1 units", {"patience": 0.1, "units": True, "beta": None}),
        ("patience 0.1 length", {"patience": 0.1, "beta": None}),
        ("teachers 3", {"teachers": 3}),
        ("T 2", {"temperature": 2.0}),
        ("alpha 1", {"alpha": 1.0}),
        ("rate 2e-4, steps 1", {"rate": 2e-4, "steps": 1.0}),
        ("rate 2e-4, steps 5", {"rate": 2e-4, "steps": 5.0}),
        ("ft, steps 5", {**FINE_TUNING, "steps": 5.0}),
        ("steps 10", {"steps": 10.0}),
        ("reference, 2e-5", REFERENCES["reference, 2e-5"]),
        ("reference, beta 1000", REFERENCES["reference, beta 1000"]),
    ]
    for name, changed in levers:
        for task in SCREENED:
            yield Student(task=task, contender=name, **changed)
        if name == "augment 4":
            yield Student(task="reviews", contender="unlabelled", unlabelled=True)
            yield Student(task="reviews", contender="unlabelled, steps 5", unlabelled=True, steps=5.0)


def _of_default(task: str, name: str, changed: Mapping[str, Any], seed: int) -> Student:
    """A student of the default teacher; of many classes the package makes no augmented rows."""
    few = {"augmented": 0} if task in MANY_CLASSES and "augmented" in changed else {}
    return Student(task=task, contender=name, seed=seed, teacher="default", **{**changed, **few})


def final() -> Iterator[Student]:
    """What any user could have: six tasks, three seeds; after one the screening's cells that decide a default."""

    def of(task: str, names: Iterable[str], seed: int) -> Iterator[Student]:
        for name in names:
            yield _of_default(task, name, FINAL.get(name) or REFERENCES[name], seed)

    for task in (*SMALL, *LARGE):
        yield from of(task, FINAL, SEEDS[0])
    decide = ("base", "augment 4", "ft", "rate 2e-4")
    yield from (student for student in screening() if student.task == "banking77" and student.contender in decide)
    for task in (*SMALL, *LARGE):
        yield from of(task, [name for name in REFERENCES if name not in FINAL], SEEDS[0])
    for seed in SEEDS[1:]:
        for task in (*SMALL, *LARGE):
            yield from of(task, FINAL, seed)


def narrow() -> Iterator[Student]:
    """Students with half of each layer's feed-forward neurons, as deep as their teacher and half as deep."""
    for seed in SEEDS:
        for task in NARROW_TASKS:
            for name, changed in NARROW.items():
                yield _of_default(task, name, changed, seed)


def parts() -> Iterator[Student]:
    """What each part of `normal` gives: the same with one thing changed, from the same teacher."""
    for seed in SEEDS:
        for name, changed in PARTS.items():
            for task in (*SMALL, *LARGE):
                if changed["augmented"] or task not in MANY_CLASSES:  # else it is `normal` itself
                    yield _of_default(task, name, changed, seed)


def former() -> Iterator[Student]:
    """What `normal` was before, and what learned from a teacher without averaged weights, with one seed."""
    for task in (*SMALL, *LARGE):
        for name, changed in FINAL.items():
            yield Student(task=task, contender=name, teacher="calibrated epoch", **changed)
        for name, changed in {**FINAL, **FORMER}.items():
            yield Student(task=task, contender=name, teacher="best epoch", **changed)


def tiny() -> Iterator[Student]:
    """A part of each kind, for a look whether all of it runs."""
    for student in screening():
        if student.task == "emotion" and student.contender in (
            "v1", "ft", "augment 4", "patience 0.3 units", "start greedy", "teachers 3",
        ):  # fmt: skip
            yield dataclasses.replace(student, steps=0.5)
    yield Student(task="emotion", contender="normal", teacher="default", **{**FINAL["normal"], "steps": 0.5})


PLANS = {
    "screening": Plan(SCREENED, list(screening())),
    "tiny": Plan(("emotion",), list(tiny())),
    "final": Plan((*SMALL, *LARGE), list(final()), teachers=[grid for task in TASKS for grid in teachers_of(task)]),
    "narrow": Plan(NARROW_TASKS, list(narrow())),
    "parts": Plan((*SMALL, *LARGE), list(parts())),
    "former": Plan((*SMALL, *LARGE), list(former())),
    "teachers": Plan(TASKS, [], teachers=[grid for task in TASKS for grid in teachers_of(task)]),
}
