"""A recipe → YAML: as it ran, with all defaults, or as a template with every key explained."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pkd.recipe.effort import DEFAULT, spend
from pkd.recipe.naming import default_of, help_of, hints, settings_within
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings

_PLACEHOLDERS = {"model": "path/to/teacher", "train": "train.csv"}
_COMMENT_COLUMN = 44


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """Nested plain values of `recipe`, all defaults included, as YAML and JSON hold them."""
    values: dict[str, Any] = _plain(dataclasses.asdict(recipe))
    return values


def without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values without its paths: files count by their fingerprints, and may be moved."""
    students = [{**student, "student": None} for student in values["students"]]
    return {
        **{name: value for name, value in values.items() if name not in ("output", "name")},
        "teacher": {**values["teacher"], "model": None, "patience_from": None},
        "data": {**values["data"], **dict.fromkeys(("train", "eval", "test", "unlabelled", "folder"))},
        "students": students,
    }


def write_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write `recipe` with all its defaults to `path`, whole or not at all."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        _yaml().dump(_flow_leaves(recipe_values(recipe)), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def commented_recipe(effort: str | None = None) -> str:
    """A whole recipe as YAML: every key with its value and its help, the two without a default as placeholders.

    Args:
        effort: whose values are written; by default a recipe's default effort.
    """
    effort = effort or DEFAULT
    lines = [
        f"# A recipe of pkd: every key with its value by effort {effort}. Keep what you change, delete the rest.",
        "# Run it:        pkd run recipe.yaml",
        "# Change a key:  pkd run recipe.yaml --set students.0.beta=500",
        "# Paths that are not absolute start at the folder in which pkd is run, wherever the recipe lies.",
        "",
    ]
    spent: dict[str, Any] = {"effort": effort}
    spend(spent)
    lines += _commented(Recipe, spent, indent="")
    return "\n".join(lines) + "\n"


def _commented(settings: type, given: Any, indent: str, bullet: str = "") -> list[str]:
    """The lines of `settings`, with the values that are `given` in place of their defaults."""
    lines: list[str] = []
    for position, field in enumerate(dataclasses.fields(settings)):
        lead = (indent[:-2] + bullet) if bullet and position == 0 else indent
        inner, many = settings_within(hints(settings)[field.name])
        value = given.get(field.name)
        within = (value[0] if many else value) if inner is not None and value else {}
        default = default_of(field) if inner is not None or value is None else value
        if inner is None or default is None:
            if not indent and lines and lines[-1].startswith(" "):
                lines.append("")
            lines += _entry(f"{lead}{field.name}:", _PLACEHOLDERS.get(field.name, default), help_of(field))
            if inner is not None and inner is not TrainingSettings:  # whose keys are under `training` already
                lines += [f"{indent}# {line}" for line in _commented(inner, {}, indent="  ")]
            continue
        if not indent:
            lines.append("")
        lines.append(f"{lead}{field.name}:".ljust(_COMMENT_COLUMN) + f"# {help_of(field)}")
        deeper = indent + ("    " if many else "  ")
        lines += _commented(inner, within, deeper, bullet="- " if many else "")
    return lines


def _entry(key: str, default: Any, explained: str) -> list[str]:
    written = _scalar(default)
    line = f"{key} {written}".rstrip()
    comment = f"# {explained}"
    if len(line) < _COMMENT_COLUMN and _COMMENT_COLUMN + len(comment) <= 140:
        return [f"{line.ljust(_COMMENT_COLUMN)}{comment}".rstrip()]
    return [f"{line}  {comment}"]


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    stream = io.StringIO()
    yaml = _yaml()
    yaml.width = 10_000
    yaml.dump(_flow_leaves([value]), stream)
    return stream.getvalue().strip().removeprefix("[").removesuffix("]")


def _yaml() -> YAML:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _flow_leaves(value: Any) -> Any:
    """Lists of plain values in one line, as [1, 3, 5]; empty mappings as {}."""
    if isinstance(value, dict):
        mapping = CommentedMap({key: _flow_leaves(item) for key, item in value.items()})
        if not mapping:
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        sequence = CommentedSeq([_flow_leaves(item) for item in value])
        if not any(isinstance(item, dict) and item for item in value):
            sequence.fa.set_flow_style()
        return sequence
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
