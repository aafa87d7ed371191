"""How much is spent on a student: each effort stands for values of other keys; a key that is given overrides it.

`quick` is the settings' own defaults. The values of the others come from benchmarks/quality.jsonl.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pkd.recipe.naming import Path
from pkd.recipe.settings import AUTO_START, Effort

DEFAULT: Effort = "normal"
AUGMENT: Path = ("transfer", "augment")
EFFORTS: Mapping[Effort, Mapping[Path, Any]] = {
    "quick": {},
    "normal": {AUGMENT: "auto", ("training", "kept_epoch"): "latest"},
    "best": {
        AUGMENT: "auto",
        ("training", "averaging"): "ema",
        ("training", "kept_epoch"): "latest",
        ("seeds",): 3,
    },
}
EACH_STUDENT: Mapping[Effort, Mapping[str, Any]] = {
    "quick": {},
    "normal": {"temperature": "auto"},
    "best": {"temperature": "auto", "start": AUTO_START},
}


def spend(values: dict[str, Any]) -> None:
    """Fill the effort's values into a recipe's nested values, in place, except where a key is given.

    A sweep's points are exactly what its recipe has, so there an effort counts only if it is given. Values of the wrong
    type are left for the later check of every value.
    """
    if values.get("effort") is None:
        values["effort"] = "quick" if values.get("sweep") is not None else DEFAULT
    effort = values["effort"]
    if effort not in EFFORTS:
        return
    for path, value in EFFORTS[effort].items():
        _fill_in(values, path, value)
    students = values.setdefault("students", [{}])
    for student in students if isinstance(students, list) else []:
        if isinstance(student, dict):
            for key, value in EACH_STUDENT[effort].items():
                if key != "start" or _can_race(values, student):
                    student.setdefault(key, value)


def _can_race(values: Mapping[str, Any], student: Mapping[str, Any]) -> bool:
    """Whether a student's start can be chosen by a race: a sweep has one start, and so has another encoder."""
    return values.get("sweep") is None and student.get("student") is None


def _fill_in(values: dict[str, Any], path: Path, value: Any) -> None:
    inside: Any = values
    for key in path[:-1]:
        if inside.get(key) is None:
            inside[key] = {}
        inside = inside[key]
        if not isinstance(inside, dict):
            return
    inside.setdefault(path[-1], value)
