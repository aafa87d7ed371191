"""YAML, overrides and keywords → a checked recipe; all faults at once, each with its file, line and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pkd.errors import RecipeError
from pkd.recipe.benchmarks import fill_in_task
from pkd.recipe.effort import spend
from pkd.recipe.faults import Fault, raise_faults, settings_from, shown
from pkd.recipe.keywords import PlacedKeywords, unread_faults
from pkd.recipe.naming import Path, dotted, key_of_today, undotted
from pkd.recipe.overriding import lift_device, override, rename_old
from pkd.recipe.places import AnyPath, output_fault, output_folder, path_text, path_texts
from pkd.recipe.rules import broken_rules, missing_values
from pkd.recipe.schema import Recipe, named_after
from pkd.recipe.settings import TrainingSettings, one_or_several
from pkd.recipe.spelling import AsFlags, AsKeywords, AsLines, AsValues, Spelling, current_spelling, spelled_as
from pkd.recipe.sweeping import sweep_faults
from pkd.recipe.yaml_text import parse_setting, parse_yaml, plain_copy, recipe_text

T = TypeVar("T")

_REQUIRED = ("teacher.model", "data.train")


@dataclass(frozen=True)
class Reading:
    """The recipe, None if not even defaults make one, and all its faults."""

    recipe: Recipe | None
    faults: list[Fault]
    spelling: Spelling

    def checked(self) -> Recipe:
        """The recipe.

        Raises:
            RecipeError: with every fault.
        """
        raise_faults(self.faults, self.spelling.place)
        assert self.recipe is not None  # without faults there is a result
        return self.recipe


def read_recipe(path: AnyPath, set: str | Sequence[str] = (), *, required: Sequence[str] = _REQUIRED) -> Recipe:
    """Read a recipe from a YAML file; `set` overrides keys of it, as "students.0.beta=500".

    Raises:
        RecipeError: with every fault, each with its line and key.
    """
    return read_file(path, set, required=required).checked()


def read_file(
    path: AnyPath,
    set: str | Sequence[str] = (),
    *,
    flags: Mapping[str, Any] | None = None,
    required: Sequence[str] = _REQUIRED,
) -> Reading:
    """Read a recipe file and fill in its effort.

    `flags` are keys given as flags of a command, which override the file as `set` does.

    Raises:
        RecipeError: if it is not YAML, or not a mapping of keys.
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
    spelling = AsLines(str(path), lines, around=current_spelling())
    reading = _read(values, set, spelling, tuple(required), flags=flags or {}, spends=True)
    return replace(reading, recipe=reading.recipe and named_after(reading.recipe, FilePath(path)))


def recipe_from(
    values: Mapping[str, Any], *, where: str, set: str | Sequence[str] = (), required: Sequence[str] = _REQUIRED
) -> Recipe:
    """Make a recipe of nested values; `where` names their origin in messages.

    `required` are the keys that must not be empty: a job that needs no teacher leaves it out.

    Raises:
        RecipeError: with every fault. Where the values come from `place_keywords`, it names the keywords, and on the
            command line the flags.
    """
    return read_values(values, where=where, set=set, required=required).checked()


def read_values(
    values: Mapping[str, Any],
    *,
    where: str,
    set: str | Sequence[str] = (),
    required: Sequence[str] = _REQUIRED,
    spends: bool = False,
) -> Reading:
    """Read nested values, as `recipe_from` does, without raising; `spends`: also fill in the effort."""
    spelling: AsFlags | AsKeywords | AsValues
    if isinstance(outer := current_spelling(), AsFlags):
        spelling = outer
    else:
        spelling = AsKeywords(values.names) if isinstance(values, PlacedKeywords) else AsValues(where)
    before = [*values.faults, *unread_faults(values, where)] if isinstance(values, PlacedKeywords) else []
    return _read(dict(plain_copy(values, where)), set, spelling, tuple(required), before=before, spends=spends)


def validate(settings_class: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make one settings object of `values`.

    Raises:
        RecipeError: with every fault, `where` before each.
    """
    settings, faults = settings_from(settings_class, values)
    raise_faults(faults, lambda path: (0, f"{where}: {dotted(path)}"))
    assert settings is not None  # without faults there is a result
    return settings


def _read(
    values: dict[str, Any],
    set: str | Sequence[str],
    spelling: AsFlags | AsKeywords | AsLines | AsValues,
    required: tuple[str, ...],
    *,
    flags: Mapping[str, Any] | None = None,
    before: Sequence[Fault] = (),
    spends: bool = False,
) -> Reading:
    faults, device_stood = lift_device(values)
    of_students, renamed = rename_old(values)
    faults += [*of_students, *before]
    overrides: list[tuple[str, Any, str]] = []
    for text in [set] if isinstance(set, str) else set:
        try:
            overrides.append((*parse_setting(text), ""))
        except RecipeError as error:
            faults.append(Fault((), str(error)))
    overrides += [(key, value, current_spelling().name(undotted(key))) for key, value in (flags or {}).items()]
    overridden: dict[Path, str] = {}
    for key, value, flag in overrides:
        overridden[key_of_today(undotted(key))] = flag or f"--set {key}"
        faults += override(values, key, value)
        faults += lift_device(values, wins=True)[0]
    if not isinstance(spelling, AsFlags):  # which knows them already
        spelling = replace(spelling, given={**spelling.given, **overridden})
    if isinstance(spelling, AsLines):
        spelling = replace(spelling, moved=renamed | ({("device",): device_stood} if device_stood else {}))
    if spends:
        spend(values)
    with spelled_as(spelling):
        recipe, found = settings_from(Recipe, values)
        faults += found
        if recipe is not None:
            in_data = values.get("data") or ()
            faults += [*_student_training(recipe), *fill_in_task(recipe, in_data), *_local_names(recipe)]
            broken = {fault.path for fault in faults}
            later = [*missing_values(recipe, required), *broken_rules(recipe)]
            if not broken and not later:  # a sweep's points are the recipe with other values in it
                later += sweep_faults(recipe)
            faults += [fault for fault in later if not any(_related(fault.path, path) for path in broken)]
    return Reading(recipe, faults, spelling)


def _related(one: Path, other: Path) -> bool:
    """Whether one path contains the other: its fault was already reported."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _local_names(recipe: Recipe) -> list[Fault]:
    """Expand `~` in the paths of models and the output; a hub name stays as it is."""
    teacher = recipe.teacher
    if teacher.model:
        teacher.model = one_or_several(path_texts(teacher.model, "teacher.model"))
    if isinstance(teacher.patience_from, str):
        teacher.patience_from = path_text(teacher.patience_from, "teacher.patience_from")
    for student in recipe.students:
        if student.student:
            student.student = path_text(student.student, "student")
    if not recipe.output:
        return []
    if fault := output_fault(recipe.output):
        return [Fault(("output",), fault)]
    recipe.output = str(output_folder(recipe.output))
    return []


def _student_training(recipe: Recipe) -> list[Fault]:
    """Check a student's `training` overrides by the same ranges, and keep the values as they were read."""
    faults = []
    for index, student in enumerate(recipe.students):
        at: Path = ("students", index, "training")
        settings, found = settings_from(TrainingSettings, student.training, at)
        faults += [Fault((*at, *fault.path), fault.sentence) for fault in found]
        if settings is not None:
            student.training = {key: getattr(settings, key) for key in student.training if hasattr(settings, key)}
    return faults
