"""The next command, ready to be copied: with the files and columns of the one that just ended."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkd.recipe.naming import fields_of
from pkd.recipe.settings import DataSettings


def distill_command(teacher: Path, train: str | None, keys: Mapping[str, Any]) -> str:
    """`pkd distill` of a teacher that was just made.

    Args:
        teacher: its folder.
        train: the given training examples.
        keys: the other given keys; those of the data and the metric are passed on.
    """
    words = ["pkd", "distill", "--teacher", str(teacher), *(["--train", train] if train else [])]
    for key, value in keys.items():
        section, _, name = key.rpartition(".")
        field = fields_of(DataSettings).get(name) if section in ("", "data") else None
        if field is not None and not section and field.metadata.get("common"):
            words += [f"--{name.replace('_', '-')}", str(value)]
        elif (
            key == "seed" and not {"eval", "task", "data.eval", "data.task"} & keys.keys()
        ):  # it draws the held-out rows
            words += ["--seed", str(value)]
        elif field is not None or key in ("metric", "evaluation.metric"):
            words += ["--set", f"{key}={_as_yaml(value)}"]
    return shlex.join([*words, "--output", str(_beside(teacher))])


def _beside(teacher: Path) -> Path:
    """A folder for the student that does not exist yet."""
    student, number = teacher.with_name("student"), 1
    while student.exists() or student == teacher:
        number += 1
        student = teacher.with_name(f"student-{number}")
    return student


def _as_yaml(value: Any) -> str:
    """A value as `--set` reads it; plain words need no quotes."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value):
        return value
    return json.dumps(value, ensure_ascii=False)
