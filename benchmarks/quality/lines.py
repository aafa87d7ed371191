"""The study's results: a line for each finished cell, found by its key."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.quality.cells import Teacher

Line = dict[str, Any]
RESULTS = Path(__file__).parents[1] / "quality.jsonl"


def read_lines(path: Path) -> dict[str, Line]:
    """Key -> line; of a cell that was run again, the last."""
    if not path.is_file():
        return {}
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {line["key"]: line for line in lines}


def key_of(kind: str, cell: Any) -> str:
    """The key of a teacher or student: everything that makes it, but for what is the study's usual."""
    values = {name: value for name, value in dataclasses.asdict(cell).items() if name not in ("task", "contender")}
    if values.get("teacher") == "grid":
        del values["teacher"]
    if values.get("width") == 1:
        del values["width"]
    if values.get("kept") == "auto":
        del values["kept"]
    name = getattr(cell, "contender", "")
    told = ",".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
    return f"{kind}/{cell.task}/{name}/{told}" if name else f"{kind}/{cell.task}/{told}"


def answers_key(teacher: Teacher) -> str:
    """The key of a teacher's answers."""
    kind = "" if not teacher.is_default else "default-" if teacher.kept == "auto" else f"{teacher.kept} epoch-"
    return f"answers/{teacher.task}/{kind}{teacher.seed}"
