"""A recipe's sweep → its points: every combination of the lists, each with values drawn from the ranges.

The points depend on the recipe and its seed alone, so that a killed sweep finds the same points again.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from pkd.recipe.faults import Fault, settings_from, shown, value_text
from pkd.recipe.naming import (
    Path,
    dotted,
    fields_of,
    hints,
    hyperparameters,
    key_of_today,
    keywords,
    spot,
    undotted,
    without_none,
)
from pkd.recipe.overriding import override
from pkd.recipe.rules import broken_rules, starts_of
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import AUTO_START, SweepRange, SweepSettings
from pkd.recipe.suggestions import hint_for
from pkd.recipe.writing import recipe_values

Point = dict[str, Any]  # "students.0.beta" -> value

PUBLISHED: dict[str, list[Any]] = {  # the grid that Sun et al. 2019 tuned by
    "students.0.temperature": [5.0, 10.0, 20.0],
    "students.0.alpha": [0.2, 0.5, 0.7],
    "training.learning_rate": [5e-5, 2e-5, 1e-5],
    "students.0.beta": [10.0, 100.0, 500.0, 1000.0],
    "students.0.kd_reduction": ["mean"],  # which the others were tuned with
}
_MOST_POINTS = 10_000


def swept_keys(sweep: SweepSettings) -> dict[str, list[Any] | SweepRange]:
    """Each swept key by its whole name, with its values; a key given beside the grid replaces the grid's values."""
    axes: dict[str, list[Any] | SweepRange] = dict(PUBLISHED) if sweep.grid == "published" else {}
    if any(_whole(key) == ("students", 0, "patience") for key in sweep.keys):
        axes.pop("students.0.beta", None)  # which the share takes the place of
    for key, values in sweep.keys.items():
        axes[dotted(_whole(key))] = values if isinstance(values, list) else settings_from(SweepRange, values)[0] or []
    return axes


def points_of(recipe: Recipe) -> list[Point]:
    """All points of the recipe's sweep, in an order that is always the same."""
    if recipe.sweep is None:
        return []
    axes = swept_keys(recipe.sweep)
    ranges = {key: values for key, values in axes.items() if isinstance(values, SweepRange)}
    lists = {key: values for key, values in axes.items() if isinstance(values, list)}
    chooser = random.Random(recipe.seed)
    points = []
    for _ in range(recipe.sweep.samples if ranges else 1):
        for values in itertools.product(*lists.values()):
            chosen = dict(zip(lists, values, strict=True))
            chosen |= {key: _draw(chooser, bounds, whole=_is_whole(key)) for key, bounds in ranges.items()}
            points.append({key: chosen[key] for key in axes})
    return points


def recipe_at(recipe: Recipe, point: Mapping[str, Any]) -> Recipe:
    """The recipe with a point's values in it, and no sweep."""
    changed, faults = _with_values(recipe, point)
    assert changed is not None
    assert not faults  # the sweep's values were checked when the recipe was read
    return changed


def sweep_faults(recipe: Recipe) -> Iterator[Fault]:
    """Everything that is wrong with a recipe's sweep."""
    sweep = recipe.sweep
    if sweep is None:
        return
    if len(recipe.students) != 1:
        yield Fault(("sweep",), f"needs exactly one student, and students has {len(recipe.students)}; keep one")
        return
    yield from _several_starts(recipe)
    if not sweep.keys and sweep.grid is None:
        yield Fault(("sweep",), "names nothing to try; write {grid: published}, or keys, as {keys: {beta: [10, 100]}}")
    if recipe.seed + sweep.best_seeds >= 2**32:
        yield Fault(("sweep", "best_seeds"), f"is {sweep.best_seeds}; seed + best_seeds must be below 2^32")
    faults = list(_key_faults(recipe, sweep))
    yield from faults
    if not faults:
        yield from _size_faults(recipe, sweep)


def _several_starts(recipe: Recipe) -> Iterator[Fault]:
    """The fault of a student whose start the development score chooses: a point has one start, as its line says."""
    at: Path = ("students", 0, "start")
    if recipe.students[0].student is not None:
        return  # an encoder of its own has one
    if recipe.students[0].start == AUTO_START:
        yield Fault(at, "is auto, a race of several starts; in a sweep name one, and sweep `start` over others")
    elif len(starts_of(recipe.students[0])) > 1:
        yield Fault(at, "names several starts; in a sweep name one, and sweep start instead")


def _key_faults(recipe: Recipe, sweep: SweepSettings) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for key, values in sweep.keys.items():
        at: Path = ("sweep", "keys", key)
        whole = _whole(key)
        reached = spot(whole)
        if whole[0] in fields_of(Recipe) and whole[:2] != ("students", 0) and whole[0] != "training":
            yield Fault(
                at,
                "cannot be swept: one teacher pass over one set of data serves all points; sweep keys of students.0 "
                "and of training",
            )
        elif reached.field is None:
            yield Fault(at, f"is not known; {hint_for(at)}")
        elif reached.path != whole or whole[-1] not in hyperparameters():
            yield Fault(at, "is no hyper-parameter that can be swept; name one, as students.0.beta or learning_rate")
        elif dotted(whole) in seen:
            yield Fault(at, f"is the same key as {seen[dotted(whole)]}; keep one of the two")
        elif whole[0] == "training" and whole[-1] in recipe.students[0].training:
            yield Fault(
                at, f"would change nothing, for students.0.training sets {whole[-1]} itself; leave it out there"
            )
        else:
            yield from _value_faults(recipe, at, whole, values)
        seen[dotted(whole)] = key


def _value_faults(recipe: Recipe, at: Path, key: Path, values: Any) -> Iterator[Fault]:
    if isinstance(values, Mapping):
        yield from _range_faults(at, key, values)
    elif not isinstance(values, list) or not values:
        yield Fault(
            at, f"is {shown(values)}; give a list of values, or a range as {{low: 1e-5, high: 1e-4, log: true}}"
        )
    else:
        if len({_as_read(value) for value in values}) < len(values):
            yield Fault(at, f"is {shown(values)}; the same value stands there twice")
        for index, value in enumerate(values):
            for fault in _with_values(recipe, {dotted(key): value})[1]:
                about = "" if fault.path == key else f"makes {dotted(fault.path)} wrong, which "
                yield Fault((*at, index), about + fault.sentence)


def _as_read(value: Any) -> str:
    """A value as text: 2 and 2.0 are equal, true and 1 are not."""
    return str(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _range_faults(at: Path, key: Path, values: Mapping[str, Any]) -> Iterator[Fault]:
    bounds, faults = settings_from(SweepRange, values)
    faults += [Fault((name,), "is missing; a range has low and high") for name in ("low", "high") if name not in values]
    yield from (Fault((*at, *fault.path), fault.sentence) for fault in faults)
    if faults or bounds is None:
        return
    reached = spot(key)
    assert reached.field is not None
    if without_none(hints(reached.owner)[reached.field.name]) not in (int, float):
        yield Fault(at, f"is a range, but {dotted(key)} is no number; give a list of values")
    elif not bounds.low < bounds.high:
        yield Fault(at, f"goes from {bounds.low:g} to {bounds.high:g}; low must be below high")
    elif bounds.log and bounds.low <= 0:
        yield Fault((*at, "low"), f"is {bounds.low:g}; a range with log must begin above 0")


def _size_faults(recipe: Recipe, sweep: SweepSettings) -> Iterator[Fault]:
    """What is wrong with the points as a whole: too many, or a combination that breaks a rule."""
    axes = swept_keys(sweep)
    count = math.prod(len(values) for values in axes.values() if isinstance(values, list))
    if any(isinstance(values, SweepRange) for values in axes.values()):
        count *= sweep.samples
    if count > _MOST_POINTS:
        yield Fault(("sweep",), f"has {count:,} points; take fewer values, or ranges with samples")
        return
    told: set[str] = set()
    for point in points_of(recipe):
        for fault in _with_values(recipe, point)[1]:
            sentence = f"holds the point {point_text(point)}, at which {dotted(fault.path)} {fault.sentence}"
            if f"{fault.path}" not in told:
                told.add(f"{fault.path}")
                yield Fault(("sweep",), sentence)


def best_recipe(recipe: Recipe, point: Point) -> Recipe:
    """The recipe that trains a point again: with seeds that did not choose it."""
    assert recipe.sweep is not None
    at = recipe_at(recipe, point)
    return dataclasses.replace(at, sweep=recipe.sweep, seed=recipe.seed + 1, seeds=recipe.sweep.best_seeds)


def point_text(point: Mapping[str, Any]) -> str:
    """A point as people read it: temperature 10, beta 500."""
    return ", ".join(f"{short_name(key)} {value_text(value)}" for key, value in point.items())


def short_name(key: str) -> str:
    """The last part of a key, which is its name."""
    return key.rpartition(".")[2]


def _with_values(recipe: Recipe, point: Mapping[str, Any]) -> tuple[Recipe | None, list[Fault]]:
    """The recipe at a point, checked by the same ranges and rules as a written one."""
    values = recipe_values(dataclasses.replace(recipe, sweep=None))
    faults: list[Fault] = []
    for key, value in point.items():
        faults += override(values, key, copy.deepcopy(value))
    changed, found = settings_from(Recipe, values)
    faults += found
    if changed is not None and not faults:
        known = {(fault.path, fault.sentence) for fault in [*broken_rules(recipe), *_several_starts(recipe)]}
        now = [*broken_rules(changed), *_several_starts(changed)]
        faults += [fault for fault in now if (fault.path, fault.sentence) not in known]
    return changed, faults


def _whole(key: str) -> Path:
    """The whole path of a key that may be given by its last part alone, as `beta`."""
    if "." not in key and key in keywords() and key not in fields_of(Recipe):
        return keywords()[key]
    return key_of_today(undotted(key))


def _is_whole(key: str) -> bool:
    reached = spot(undotted(key))
    assert reached.field is not None
    return without_none(hints(reached.owner)[reached.field.name]) is int


def _draw(chooser: random.Random, bounds: SweepRange, *, whole: bool) -> float | int:
    if bounds.log:
        drawn = math.exp(chooser.uniform(math.log(bounds.low), math.log(bounds.high)))
    else:
        drawn = chooser.uniform(bounds.low, bounds.high)
    drawn = min(max(drawn, bounds.low), bounds.high)
    return round(drawn) if whole else float(f"{drawn:.4g}")  # four digits: tables show exactly what was trained
