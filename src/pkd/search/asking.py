"""Check the input of `pkd compress`, as `jobs/asking` does for the other jobs that take a recipe's keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib.resources import as_file, files
from typing import Any

from pkd import ranks
from pkd.data.demo import check_demo_packages
from pkd.jobs.asking import EXPORTED, sweep_is_not_run
from pkd.jobs.cluster import names_cluster
from pkd.jobs.input_faults import (
    SPLITS,
    Asked,
    asked,
    lacking_faults,
    model_faults,
    number_faults,
    output_faults,
    raised_by,
    source_faults,
)
from pkd.jobs.lacking import is_installed, missing_libraries
from pkd.recipe.faults import Fault, value_at
from pkd.recipe.keywords import PlacedKeywords, place_keywords
from pkd.recipe.naming import dotted
from pkd.recipe.places import AnyPath, AnyPaths, path_texts
from pkd.recipe.reading import Reading, read_file, read_values
from pkd.recipe.settings import BudgetSettings, StudentSettings
from pkd.recipe.spelling import AsLines, current_spelling, named
from pkd.recipe.yaml_text import parse_yaml, recipe_text

_SEARCHED = ("teacher.model", "data.train")


def compress(
    recipe: AnyPath | None = None,
    *,
    output: AnyPath | None = None,
    teacher: AnyPath | None = None,
    student: AnyPaths = (),
    pick: int | None = None,
    search: AnyPath | None = None,
    demo: bool = False,
    overwrite: bool = False,
    **keys: Any,
) -> Asked:
    """Check the input of `pkd compress`; with `pick`, of a point that is taken from a finished search.

    Raises:
        PKDError: on entering the block, with all faults.
        RecipeError: at once, if the recipe file is not YAML, or not a mapping of keys.
    """
    given = place_keywords({"teacher": teacher, **keys})
    own = list(_not_of_the_demo(given, student)) if demo else []
    if demo and not own:
        given.update(_demo_search(given))
    if recipe is not None and not demo and pick is None:
        reading = _searched_file(recipe, given)
    else:
        given.setdefault("budget", {})
        required = () if demo or pick is not None else _SEARCHED
        reading = read_values(given, where="compress", required=required, spends=True)
    encoders = path_texts(student, "student")
    if reading.recipe is not None and encoders:
        first = reading.recipe.students[0]
        reading.recipe.students += [_as_encoder(first, name) for name in dict.fromkeys(encoders)]
    return asked(
        reading,
        own,
        raised_by(check_demo_packages) if demo else (),
        () if recipe is None else _file_beside("demo" if demo else "pick" if pick is not None else ""),
        sweep_is_not_run(reading),
        _one_process(),
        _no_ray() if pick is None else (),
        missing_libraries("export") if pick is None else number_faults("pick", pick, 1),
        () if pick is not None or search is None else [Fault(("search",), "is for `pick`; leave it out")],
        () if pick is None else _not_of_a_search(given),
        _one_teacher(reading),
        source_faults(reading, SPLITS),
        *(model_faults(("teacher", "model"), name, "teacher") for name in _teachers_of(reading)),
        *(model_faults(("student",), name, "student") for name in encoders),
        lacking_faults(reading),
        _served_faults(output, demo=demo, overwrite=overwrite),
    )


def _searched_file(recipe: AnyPath, given: PlacedKeywords) -> Reading:
    """Read a recipe file with a `budget`; what is given beside it wins."""
    wrong = {fault.path for fault in given.faults}
    flags = {dotted(path): value_at(given, path) for path in given.names if path not in wrong}
    reading = read_file(recipe, flags=flags)
    reading.faults[:0] = given.faults
    if isinstance(reading.spelling, AsLines):  # the output is no run's folder, which the file may name
        beside = {path: current_spelling().name(path) for path in [*given.names, ("output",)]}
        spelling = dataclasses.replace(reading.spelling, given={**beside, **reading.spelling.given})
        reading = dataclasses.replace(reading, spelling=spelling)
    if reading.recipe is not None and reading.recipe.budget is None:
        reading = dataclasses.replace(reading, recipe=dataclasses.replace(reading.recipe, budget=BudgetSettings()))
    return reading


def _file_beside(other: str) -> Iterator[Fault]:
    """The fault of a recipe file that is not read."""
    if other:
        yield Fault(("recipe",), f"is given, but with {named(other)} no recipe is read; leave one of the two out")


def _not_of_a_search(given: PlacedKeywords) -> Iterator[Fault]:
    """What is given beside the number of a point, which a finished search has already."""
    for path in given.names:
        yield Fault(path, f"is given, but {named('pick')} takes a point of a finished search as it is; leave it out")


def _not_of_the_demo(given: PlacedKeywords, student: AnyPaths) -> Iterator[Fault]:
    """What is given beside the demo, which has its own data, teacher and students."""
    taken = [path for path in given.names if path[0] in ("teacher", "data", "students", "transfer")]
    for path in [*taken, *([("student",)] if student else [])]:
        yield Fault(path, f"is given, but {named('demo')} has its own; leave one of the two out")


def _demo_search(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the bundled recipe of a search, and of its budget those that are given otherwise."""
    with as_file(files("pkd.recipes") / "compress.yaml") as path:
        values, _ = parse_yaml(recipe_text(path), str(path))
    return {**values, **given, "budget": {**values["budget"], **given.get("budget", {})}}


def _served_faults(output: AnyPath | None, *, demo: bool, overwrite: bool) -> Iterator[Fault]:
    if output is not None:
        yield from output_faults(output, EXPORTED, overwrite=overwrite)
    elif not demo:
        yield Fault(("output",), "is missing; name a folder for the result")


def _as_encoder(template: StudentSettings, name: str) -> StudentSettings:
    return dataclasses.replace(template, student=name, start="first", layers=None, width=1.0, name=None)


def _one_process() -> Iterator[Fault]:
    """The fault of several ranks: the trainings of a search are small, and run side by side instead."""
    if (size := ranks.world_size()) > 1:
        yield Fault(
            (),
            f"`pkd compress` runs in one process, and a launcher as torchrun has started {size}. Start it alone; for "
            "several machines, start a Ray cluster and set RAY_ADDRESS",
        )


def _no_ray() -> Iterator[Fault]:
    if names_cluster() and not is_installed("ray"):
        yield Fault((), "RAY_ADDRESS is set, but Ray is not installed: pip install 'pkd[sweep]', or unset it")


def _teachers_of(reading: Reading) -> list[str]:
    return [name for name in reading.recipe.teacher.models if name] if reading.recipe is not None else []


def _one_teacher(reading: Reading) -> Iterator[Fault]:
    if len(names := _teachers_of(reading)) > 1:
        yield Fault(
            ("teacher", "model"),
            f"names {len(names)} teachers; a search compresses one. `pkd distill` learns from the mean of several",
        )
