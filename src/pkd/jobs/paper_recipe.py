"""A table of the paper as recipes, one per task: depths for the given teacher, the published settings, fewer rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PretrainedConfig

from pkd import progress
from pkd.data.sources import read_data, require_sources
from pkd.encoder.families import depth_of
from pkd.recipe.reading import read_recipe, recipe_from
from pkd.recipe.schema import Recipe, method_label, start_label
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import named
from pkd.recipe.writing import recipe_values
from pkd.reporting.published import ModelKey, published
from pkd.runs.folder import RunFolder
from pkd.runs.seal import partial_of, publish, write_json
from pkd.runs.stage import refuse_other_files

QUICK_TRAIN_ROWS, QUICK_EVAL_ROWS = 512, 300
_QUICK_RATE = 2e-4  # the published rates are too low for so few steps
PAPER_LAYERS = 12  # depth of the teacher in the shipped recipes
_PAPER_WIDTHS = {12: 768, 24: 1024}  # hidden units of BERT-base and BERT-large
_SEED = 0


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder and its configuration."""

    name: str
    config: PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """The settings of a run of a table of the paper.

    Attributes:
        table: "table1", "table2", "table3" or "table5".
        teacher: the pretrained encoder to fine-tune as the teacher.
        base: the smaller encoder that table 5's students start from; without it they are left out.
        glue: GLUE's folder; None for the hub.
        race: RACE's.
        seeds: number of seeds per student.
        quick: use some hundred rows and one epoch.
        device: "auto", "cpu" or "cuda".
        overwrite: allow a run in a folder with other files.
        set: overrides of the published settings.
    """

    table: str
    teacher: Encoder
    base: Encoder | None = None
    glue: str | None = None
    race: str | None = None
    seeds: int = 1
    quick: bool = False
    device: str = "auto"
    overwrite: bool = False
    set: str | Sequence[str] = ()


@dataclass(frozen=True)
class PaperRun:
    """One task of a table: the run, and the model of the paper that each student reproduces."""

    task: str
    recipe: Recipe
    keys: dict[str, ModelKey]  # name in the results -> the paper's model
    incomparable: str  # why published numbers cannot be compared; "" if they can


def table_recipe(table: str) -> Recipe:
    """The shipped recipe of a table."""
    with as_file(files("pkd.recipes") / "paper" / f"{table}.yaml") as path:
        return read_recipe(path, required=())


def scaled_depth(layers: int, teacher_layers: int) -> int:
    """Scale a depth to a teacher with fewer than 12 layers by the same share, at least 1.

    >>> [scaled_depth(6, 12), scaled_depth(6, 24), scaled_depth(6, 6), scaled_depth(3, 6)]
    [6, 6, 3, 2]
    """
    if teacher_layers >= PAPER_LAYERS:
        return layers
    return max(1, (2 * layers * teacher_layers + PAPER_LAYERS) // (2 * PAPER_LAYERS))  # a half is rounded up


def paper_run(settings: TableSettings, task: str, folder: Path) -> PaperRun:
    """Complete a table's recipe for one task.

    Args:
        settings: of the table.
        task: the name of a GLUE folder, or RACE.
        folder: of the run.

    Raises:
        DataError: if the task's files are missing.
        RecipeError: if an override is wrong, or the folder contains something else.
    """
    recipe = table_recipe(settings.table)
    values = recipe_values(recipe)
    of_task = {"data": {"task": task, "folder": settings.race if task == "RACE" else settings.glue}}
    named = recipe_from(of_task, where=f"pkd paper {settings.table}", required=("data.train",))
    require_sources(named.data, ("train", "eval"))
    refuse_other_files(folder, overwrite=settings.overwrite)
    values["evaluation"]["metric"] = named.evaluation.metric
    # no test rows: the published scores are of development rows. The task is left out, for it would fill them in again.
    development = vars(named.data) | {"test": None, "task": None, "folder": None}
    values["data"] |= _few(named.data, folder) if settings.quick else development
    values |= {"output": str(folder), "name": f"{recipe.name}-{task}"}
    values |= {"seeds": settings.seeds, "device": settings.device}
    values["teacher"]["model"] = settings.teacher.name
    won = published().settings.get(task)
    if won:
        values["training"]["learning_rate"] = won.learning_rate
    if settings.quick:
        values["training"] |= {"num_train_epochs": 1, "learning_rate": _QUICK_RATE}
        values["teacher"]["finetune"] |= {"num_train_epochs": 3, "learning_rate": _QUICK_RATE}
        values["evaluation"]["measure_speed"] = False
    base = settings.base.name if settings.base is not None else None
    keys, students = _students(recipe, depth_of(settings.teacher.config), base)
    values["students"] = [{**student, **(won.of_loss() if won else {})} for student in students]
    return PaperRun(
        task,
        recipe_from(values, where=f"pkd paper {settings.table}, {task}", set=settings.set),
        keys,
        _incomparable(settings, _teacher_depth(recipe)),
    )


def _teacher_depth(recipe: Recipe) -> int:
    """The number of layers of the paper's teacher in this table."""
    return 24 if "large" in recipe.teacher.encoder else PAPER_LAYERS


def _students(
    recipe: Recipe, teacher_layers: int, base: str | None
) -> tuple[dict[str, ModelKey], list[dict[str, Any]]]:
    """The students with depths for the given teacher, and the models of the paper that they reproduce."""
    of_paper = _teacher_depth(recipe)
    keys = {"teacher": ModelKey(method="teacher", layers=of_paper, teacher=of_paper, start=of_paper)}
    students: list[dict[str, Any]] = []
    for student, values in zip(recipe.students, recipe_values(recipe)["students"], strict=True):
        layers = student.layers or PAPER_LAYERS // 2
        depth = scaled_depth(layers, teacher_layers)
        start = "pretrained" if student.student else start_label(student)  # whatever --base names
        name = f"{method_label(student)}-L{depth}-{start}"
        if student.student and base is None:
            progress.note(f"{name} is left out: {named('base')} names no smaller encoder for it to start from")
        elif student.method == "pkd" and depth < 2:
            progress.note(f"{name} is left out: a student of one layer has none for patience to teach")
        elif name not in keys:  # two depths of the paper may be equal for a shallow teacher
            started = PAPER_LAYERS if student.student else of_paper
            method: Any = method_label(student)
            keys[name] = ModelKey(method=method, layers=layers, teacher=of_paper, start=started)
            students.append({**values, "name": name, "layers": depth, "student": student.student and base})
    return keys, students


def _incomparable(settings: TableSettings, teacher_depth: int) -> str:
    """Why the published numbers cannot be compared with ours, in a sentence; "" if they can."""
    reasons = []
    beside = (("teacher", settings.teacher, teacher_depth), ("smaller encoder", settings.base, PAPER_LAYERS))
    for role, encoder, depth in beside:
        if encoder is None:
            continue
        ours = (encoder.config.model_type, depth_of(encoder.config), encoder.config.hidden_size)
        if ours != ("bert", depth, _PAPER_WIDTHS[depth]):
            reasons.append(
                f"the {role} is a {ours[0]} of {ours[1]} layers and {ours[2]} hidden units, the paper's is BERT of "
                f"{depth} and {_PAPER_WIDTHS[depth]}"
            )
    if settings.quick:
        reasons.append("this is a quick look on some hundred rows, with one epoch at a high learning rate")
    if settings.set:
        reasons.append(f"settings were changed ({', '.join(settings.set)})")
    return f"Not to be compared with the published numbers: {'; '.join(reasons)}." if reasons else ""


def _few(settings: DataSettings, folder: Path) -> dict[str, Any]:
    """Some hundred rows of each split as saved datasets, always the same; existing ones are reused."""
    read = ("label_names", "problem_type", "max_length")  # the other keys decide how files are read, which happens here
    given: dict[str, Any] = {name: getattr(settings, name) for name in read}
    plan, sizes = RunFolder(folder).data_plan, {"train": QUICK_TRAIN_ROWS, "eval": QUICK_EVAL_ROWS}
    plan.parent.mkdir(parents=True, exist_ok=True)
    write_json(plan, {"seed": _SEED, "rows": sizes})
    for split, most in sizes.items():
        place = plan.parent / split
        given[split] = str(place)
        if not place.is_dir():
            rows = read_data(settings, splits=(split,))[split]
            chosen = np.sort(np.random.default_rng(_SEED).permutation(len(rows))[:most])
            shutil.rmtree(partial_of(place), ignore_errors=True)
            rows.select(chosen).flatten_indices().save_to_disk(partial_of(place))
            publish(partial_of(place), place)
    return given
