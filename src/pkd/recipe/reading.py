"""YAML, overrides and keywords → a checked recipe; all faults at once, each with its file, line and key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pkd.errors import RecipeError
from pkd.recipe.benchmarks import fill_in_task
from pkd.recipe.faults import Fault, raise_faults, settings_from, shown
from pkd.recipe.keywords import PlacedKeywords
from pkd.recipe.naming import Path, dotted, key_of_today, undotted
from pkd.recipe.overriding import lift_device, override
from pkd.recipe.places import AnyPath, output_fault, output_folder, path_text
from pkd.recipe.rules import broken_rules, missing_values
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings
from pkd.recipe.sweeping import sweep_faults
from pkd.recipe.yaml_text import parse_setting, parse_yaml, plain_copy, recipe_text

T = TypeVar("T")

_REQUIRED = ("teacher.model", "data.train")


def read_recipe(path: AnyPath, set: str | Sequence[str] = (), *, required: Sequence[str] = _REQUIRED) -> Recipe:
    """Read a recipe from a YAML file; `set` overrides keys of it, as "students.0.beta=500".

    Raises:
        RecipeError: with every fault, each with its line and key.
    """
    path = path_text(path, "recipe")
    values, lines = parse_yaml(recipe_text(FilePath(path)), str(path))
    if values is None:
        raise RecipeError(f"{path} is empty; `pkd recipe > {path}` writes a recipe with every key explained.")
    if not isinstance(values, dict):
        kind = "a list" if isinstance(values, list) else shown(values)
        raise RecipeError(
            f"{path} holds {kind}, but a recipe has keys, as `teacher:` and `data:`; `pkd recipe` writes one."
        )

    def place(at: Path) -> tuple[int, str]:
        known = next((at[:end] for end in range(len(at), -1, -1) if at[:end] in lines), ())
        line = lines.get(known, 1)
        return line, f"{path}:{line}: {dotted(at)}"

    return _checked(values, set, place, tuple(required))


def recipe_from(
    values: Mapping[str, Any], *, where: str, set: str | Sequence[str] = (), required: Sequence[str] = _REQUIRED
) -> Recipe:
    """Make a recipe of nested values; `where` names their origin in messages.

    `required` are the keys that must not stay empty: a job that needs no teacher leaves it out.

    Raises:
        RecipeError: with every fault. Where the values come from `place_keywords`, it names the keywords.
    """
    names = values.names if isinstance(values, PlacedKeywords) else {}

    def place(at: Path) -> tuple[int, str]:
        for end in range(len(at), 0, -1):
            if at[:end] in names:
                return 0, ".".join([names[at[:end]], *map(str, at[end:])])
        return 0, f"{where}: {dotted(at)}"

    return _checked(dict(plain_copy(values, where)), set, place, tuple(required))


def validate(settings_class: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make one settings object of `values`.

    Raises:
        RecipeError: with every fault, `where` before each.
    """
    settings, faults = settings_from(settings_class, values)
    raise_faults(faults, lambda path: (0, f"{where}: {dotted(path)}"))
    assert settings is not None  # without faults there is a result
    return settings


def _checked(
    values: dict[str, Any],
    set: str | Sequence[str],
    place: Callable[[Path], tuple[int, str]],
    required: tuple[str, ...],
) -> Recipe:
    overridden: dict[Path, str] = {}
    faults, device_stood = lift_device(values)
    for text in [set] if isinstance(set, str) else set:
        key, value = parse_setting(text)
        overridden[key_of_today(undotted(key))] = f"--set {text}: "
        faults += override(values, key, value)
        faults += lift_device(values, wins=True)[0]

    def placed(at: Path) -> tuple[int, str]:
        if at == ("device",) and device_stood and at not in overridden:
            at = device_stood
        flag = next((overridden[at[:end]] for end in range(len(at), 0, -1) if at[:end] in overridden), None)
        return (-1, flag + dotted(at)) if flag else place(at)

    recipe, found = settings_from(Recipe, values)
    faults += found
    if recipe is not None:
        faults += [*_student_training(recipe), *fill_in_task(recipe, values.get("data") or ()), *_local_names(recipe)]
        broken = {fault.path for fault in faults}
        later = [*missing_values(recipe, required), *broken_rules(recipe)]
        if not broken and not later:  # a sweep's points are the recipe with other values in it
            later += sweep_faults(recipe)
        faults += [fault for fault in later if not any(_related(fault.path, path) for path in broken)]
    raise_faults(faults, placed)
    assert recipe is not None  # without faults there is a result
    return recipe


def _related(one: Path, other: Path) -> bool:
    """Whether one path leads to, or through, the other: what is broken there was said already."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _local_names(recipe: Recipe) -> list[Fault]:
    """Write out what `~` stands for where a model or the output is named; a hub name stays as it is."""
    if recipe.teacher.model:
        recipe.teacher.model = path_text(recipe.teacher.model, "teacher.model")
    for student in recipe.students:
        if student.pretrained:
            student.pretrained = path_text(student.pretrained, "pretrained")
    if not recipe.output:
        return []
    if fault := output_fault(recipe.output):
        return [Fault(("output",), fault)]
    recipe.output = str(output_folder(recipe.output))
    return []


def _student_training(recipe: Recipe) -> list[Fault]:
    """Check what a student's `training` overrides by the same ranges, and keep the values as they were read."""
    faults = []
    for index, student in enumerate(recipe.students):
        at: Path = ("students", index, "training")
        settings, found = settings_from(TrainingSettings, student.training, at)
        faults += [Fault((*at, *fault.path), fault.sentence) for fault in found]
        if settings is not None:
            student.training = {key: getattr(settings, key) for key in student.training if hasattr(settings, key)}
    return faults
