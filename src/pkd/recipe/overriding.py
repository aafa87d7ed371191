"""Overrides of a recipe's values, as `--set students.0.beta=500`, and the keys that older recipes have."""

from __future__ import annotations

import itertools
from typing import Any

from pkd import progress
from pkd.recipe.faults import Fault, shown
from pkd.recipe.naming import (
    OLD_MAP,
    OLD_STUDENT,
    Path,
    dotted,
    has_no_meaning_today,
    key_of_today,
    spot,
    undotted,
)
from pkd.recipe.suggestions import hint_for

_NO_MAP = f"{OLD_MAP} is no longer a key: patience goes through a map exactly where two widths differ"


def override(values: dict[str, Any], key: str, value: Any) -> list[Fault]:
    """Set `key`, as students.0.beta, in `values`; return the faults."""
    path = key_of_today(undotted(key))
    if has_no_meaning_today(path):
        progress.note(_NO_MAP)
        return []
    reached = spot(path)
    if reached.field is None:
        return [Fault(path, f"is not known; {hint_for(reached.path)}")]
    here: Any = values
    for depth, (name, following) in enumerate(itertools.pairwise(path)):
        if isinstance(here, dict):
            if here.get(str(name)) is None:  # students left out are the one default student
                here[str(name)] = ([{}] if name == "students" else []) if isinstance(following, int) else {}
            here = here[str(name)]
        elif isinstance(here, list) and isinstance(name, int) and name < len(here):
            here = here[name]
        else:
            return [_leads_nowhere(path, depth, here)]
    if isinstance(here, dict):
        here[str(path[-1])] = value
    elif isinstance(here, list) and isinstance(path[-1], int) and path[-1] <= len(here):
        here[path[-1] : path[-1] + 1] = [value]
    else:
        return [_leads_nowhere(path, len(path) - 1, here)]
    return []


def lift_device(values: dict[str, Any], *, wins: bool = False) -> tuple[list[Fault], Path | None]:
    """Move `training.device`, also that of the teacher or a student, which recipes may still have, to `device`.

    Args:
        values: of a recipe, not yet checked.
        wins: replace a `device` that is already set, as a later override does.

    Returns:
        The faults, and the path where the device was.
    """
    students = values.get("students")
    named = enumerate(students if isinstance(students, list) else ())
    trainings: list[tuple[Path, Any]] = [
        (("students", index, "training"), _within(each, "training")) for index, each in named
    ]
    trainings.append((("teacher", "finetune"), _within(values.get("teacher"), "finetune")))
    trainings.append((("training",), values.get("training")))
    faults, stood = [], None
    for at, training in trainings:
        if not isinstance(training, dict) or "device" not in training:
            continue
        device = training.pop("device")
        if wins or values.get("device") is None:
            values["device"], stood, wins = device, (*at, "device"), False
        elif values["device"] != device:
            other = f"but {dotted(stood or ('device',))} is {shown(values['device'])}"
            faults.append(Fault((*at, "device"), f"is {shown(device)}, {other}; all of a job computes on one device"))
    return faults, stood


def rename_old(values: dict[str, Any]) -> tuple[list[Fault], dict[Path, Path]]:
    """Rename a student's `pretrained` to `student`, and leave out `projection`, as older recipes have them.

    Returns:
        The faults, and where each renamed key was.
    """
    students, faults = values.get("students"), []
    renamed: dict[Path, Path] = {}
    for index, student in enumerate(students if isinstance(students, list) else ()):
        if not isinstance(student, dict):
            continue
        if student.pop(OLD_MAP, False):
            progress.note(_NO_MAP)
        old = student.pop(OLD_STUDENT, None)
        if old is not None and student.get("student") is not None:
            about = f"is the older name of student, which is {shown(student['student'])}; give one of the two"
            faults.append(Fault(("students", index, OLD_STUDENT), about))
        elif old is not None:
            student["student"] = old
            renamed["students", index, "student"] = ("students", index, OLD_STUDENT)
    return faults, renamed


def _within(values: Any, key: str) -> Any:
    return values.get(key) if isinstance(values, dict) else None


def _leads_nowhere(path: Path, depth: int, there: Any) -> Fault:
    name = dotted(path[:depth])
    if isinstance(there, list):
        places = f"they count from 0, the last is {name}.{len(there) - 1}" if there else "it is empty"
        return Fault(path, f"leads nowhere: {name} is a list of {len(there)}; {places}")
    return Fault(path, f"leads nowhere: {name} is {shown(there)}")
