"""Which keys a recipe has, and the path of each, read off the dataclasses."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union

from pkd.recipe.schema import Recipe
from pkd.recipe.settings import StudentSettings, TrainingSettings

Key = str | int
Path = tuple[Key, ...]

_NO_HYPERPARAMETERS = {"name", "training", "save_steps", "logging_steps", "report_to"}

OLD_STUDENT, OLD_MAP = "pretrained", "projection"  # a student's keys in older recipes
_OLD_KEYWORDS: dict[str, Path] = {name: ("students", 0, name) for name in (OLD_STUDENT, OLD_MAP)}

PREFERRED: dict[str, Path] = {  # keywords whose name occurs twice in the recipe
    "name": ("name",),
    "precision": ("training", "precision"),
    "training": ("training",),
    "unlabelled": ("data", "unlabelled"),
}


@functools.cache
def hints(settings: type) -> dict[str, Any]:
    """The types of a settings class, field by field."""
    return typing.get_type_hints(settings, include_extras=True)


@functools.cache
def fields_of(settings: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a settings class by name."""
    return {field.name: field for field in dataclasses.fields(settings)}


def help_of(field: dataclasses.Field[Any]) -> str:
    """The help of a field."""
    return str(field.metadata.get("help", ""))


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The field's default; a factory is called anew."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def without_none(hint: Any) -> Any:
    """The type without `Annotated` and `| None`; of a number that may also be a word, as `auto`, the number's."""
    while typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        numbers = [arm for arm in rest if typing.get_origin(arm) is not Literal]
        if len(rest) == 1:
            return without_none(rest[0])
        if len(numbers) == 1 and without_none(numbers[0]) in (int, float):
            return without_none(numbers[0])
    return hint


def settings_within(hint: Any) -> tuple[type | None, bool]:
    """The settings class that a field holds (None if it holds a plain value), and whether it holds a list of them."""
    hint = without_none(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint, False
    if typing.get_origin(hint) is list:
        inner = without_none(typing.get_args(hint)[0])
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            return inner, True
    return None, False


@dataclasses.dataclass(frozen=True)
class Spot:
    """A position in the tree of settings: the class that owns the last key, and that key's field if there is one."""

    owner: type
    field: dataclasses.Field[Any] | None
    path: Path  # as far as the settings classes reach: layer_map.0.1 ends at layer_map


def spot(path: Sequence[Key], root: type = Recipe) -> Spot:
    """Follow `path` from `root` as far as the settings classes reach; an unknown key ends it with no field."""
    owner, index = root, 0
    while index < len(path):
        name = path[index]
        field = fields_of(owner).get(name) if isinstance(name, str) else None
        if field is None:
            return Spot(owner, None, tuple(path[: index + 1]))
        inner, many = _settings_in(owner, field.name)
        index += 1
        if inner is not None and many and index < len(path) and isinstance(path[index], int):
            index += 1
        elif many:
            inner = None
        if inner is None or index >= len(path):
            return Spot(owner, field, tuple(path[:index]))
        owner = inner
    return Spot(root, None, ())


def settings_at(path: Sequence[Key], root: type = Recipe) -> tuple[type | None, Path]:
    """The settings class of the keys below `path`, and `path`; for a list, the path of its first item."""
    owner, index = root, 0
    while index < len(path):
        name = path[index]
        if not isinstance(name, str) or name not in fields_of(owner):
            return None, tuple(path)
        inner, many = _settings_in(owner, name)
        index += 1
        if inner is None:
            return None, tuple(path)
        owner = inner
        if many and index == len(path):
            return owner, (*path, 0)
        index += many
    return owner, tuple(path)


def _settings_in(owner: type, name: str) -> tuple[type | None, bool]:
    """As `settings_within`, and `TrainingSettings` for a student's `training`, which holds only what differs."""
    if owner is StudentSettings and name == "training":
        return TrainingSettings, False
    return settings_within(hints(owner)[name])


def leaves(root: type = Recipe, at: Path = ()) -> Iterator[tuple[Path, dataclasses.Field[Any]]]:
    """Every plain value below `root`, with its path; the first student stands for all."""
    for field in dataclasses.fields(root):
        inner, many = settings_within(hints(root)[field.name])
        here: Path = (*at, field.name)
        if inner is None:
            yield here, field
        else:
            yield from leaves(inner, (*here, 0) if many else here)


@functools.cache
def keywords() -> dict[str, Path]:
    """Flat keyword → its path; keys of the teacher's fine-tuning and the sweep need their whole path."""
    places: dict[str, Path] = {}
    for path, _ in leaves():
        if path[:2] != ("teacher", "finetune") and path[0] != "sweep":
            places.setdefault(str(path[-1]), path)
    places |= {field.name: (field.name,) for field in dataclasses.fields(Recipe)}
    places |= {"teacher": ("teacher", "model"), "finetune": ("teacher", "finetune")}
    return places | PREFERRED


def old_keyword(name: str) -> Path | None:
    """The path of a keyword that older recipes have; None if it is none of these."""
    return _OLD_KEYWORDS.get(name)


@functools.cache
def hyperparameters() -> dict[str, Path]:
    """Keyword → path of everything that a sweep can try."""
    return {
        name: path
        for name, path in keywords().items()
        if (path[:2] == ("students", 0) or path[0] == "training") and name not in _NO_HYPERPARAMETERS
    }


def dotted(path: Sequence[Key]) -> str:
    """The path as it is written: students.0.alpha."""
    return ".".join(str(key) for key in path)


def undotted(text: str) -> Path:
    """Parse a path such as `students.0.alpha`."""
    keys = text.strip().split(".")
    return tuple(int(key) if key.isdecimal() and key.isascii() and len(key) < 10 else key for key in keys)


def key_of_today(path: Sequence[Key]) -> Path:
    """The current path of a key: the device, once per training, is now per job; a student's encoder was `pretrained`.

    >>> key_of_today(("students", 0, "training", "device")), key_of_today(("students", 0, "pretrained"))
    (('device',), ('students', 0, 'student'))
    """
    if tuple(path[-2:]) in (("training", "device"), ("finetune", "device")):
        return ("device",)
    if len(path) == 3 and path[0] == "students" and path[2] == OLD_STUDENT:
        return (*path[:2], "student")
    return tuple(path)


def has_no_meaning_today(path: Sequence[Key]) -> bool:
    """Whether a key of older recipes says nothing any more: a map for patience follows from the two widths."""
    return len(path) == 3 and path[0] == "students" and path[2] == OLD_MAP
