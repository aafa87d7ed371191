"""The commands that make models: run, sweep, demo, recipe, finetune, annotate, distill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pkd.cli.options import (
    COLUMNS,
    DATA,
    RUN,
    STUDENT,
    TRAINING,
    Debug,
    Flags,
    Json,
    Overwrite,
    Set,
    layer_numbers,
    with_flags,
)
from pkd.cli.session import with_progress
from pkd.cli.showing import show, show_json, show_records, show_sweep
from pkd.recipe.settings import DataSettings, StudentSettings

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="the recipe", show_default=False)]
Teacher = Annotated[
    str, typer.Option("--teacher", metavar="MODEL", help="fine-tuned folder or hub name", show_default=False)
]
Train = Annotated[
    str, typer.Option("--train", metavar="FILE", help="CSV, TSV, JSONL, Parquet or hub name", show_default=False)
]
Output = Annotated[str, typer.Option("--output", metavar="DIR", help="folder for the result", show_default=False)]


@with_progress
def run(
    recipe: RecipeFile,
    set: Set = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run a whole recipe: teacher, students, controls, evaluation, report."""
    from pkd.recipe.reading import read_recipe

    asked = read_recipe(recipe, set or ())  # its faults are told before the heavy libraries are loaded
    from pkd.jobs.run import run

    result = run(asked, overwrite=overwrite)
    show_records(result.records, as_json=json)
    show(f"report: {result.report}", also_json=json)


@with_progress
def sweep(
    recipe: RecipeFile,
    set: Set = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="train the points that are missing; the same command always does")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Try the hyper-parameters under `sweep` on Ray Tune, and train the best again with fresh seeds."""
    from pkd.recipe.reading import read_recipe

    asked = read_recipe(recipe, set or ())  # its faults are told before the heavy libraries are loaded
    from pkd.jobs.sweep import sweep

    result = sweep(asked, overwrite=overwrite)
    show_sweep(result.trials, result.sentences, as_json=json)
    show_records(result.records, as_json=json)
    show(f"report: {result.report}", also_json=json)


@with_progress
def demo(
    output: Annotated[str, typer.Option("--output", metavar="DIR", help="folder of the run")] = "runs/demo",
    quick: Annotated[bool, typer.Option("--quick", help="fewer examples: a look in a minute or two")] = False,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="repeat with so many seeds")] = 1,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Distil a real encoder on real movie reviews, offline, from data to report."""
    from pkd.jobs.demo import demo

    result = demo(output=output, quick=quick, seeds=seeds, overwrite=overwrite)
    show_records(result.records, as_json=json)
    show(f"report: {result.report}", also_json=json)


def recipe(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="write it there", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the file if it is there")] = False,
    debug: Debug = False,
) -> None:
    """Print a recipe with every key, its default and what it means."""
    from pkd.errors import RecipeError
    from pkd.recipe.writing import commented_recipe

    if output is None:
        typer.echo(commented_recipe(), nl=False)
        return
    try:
        with output.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(commented_recipe())
    except FileExistsError:
        raise RecipeError(f"{output} exists. Name another file, or give --overwrite to replace it.") from None
    except (FileNotFoundError, IsADirectoryError) as error:
        raise RecipeError(f"--output {output}: {error.strerror}. Name a file in a folder that exists.") from None


@with_progress
@with_flags(Flags("Data", DataSettings, ("eval", "text_columns", "label_column", "max_length")), TRAINING,
            Flags("Run", RUN.settings, ("seed",)))  # fmt: skip
def finetune(
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="pretrained folder or hub name", show_default=False)
    ],
    train: Train,
    output: Output,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Fine-tune a pretrained encoder into a classifier, the teacher to be."""
    from pkd.jobs.finetune import finetune

    result = finetune(model=model, train=train, output=output, overwrite=overwrite, **keys)
    if json:
        show_json({"folder": str(result.folder), "scores": result.scores, "selection": result.selection})
        return
    for name, value in result.scores.items():
        show(f"{name}: {value:.4g}")
    show(f"classifier: {result.folder}")


@with_progress
@with_flags(Flags("Student that it is for", StudentSettings, ("layers", "layer_map")), COLUMNS)
def annotate(
    teacher: Teacher,
    train: Train,
    output: Output,
    teacher_layers: Annotated[
        str | None,
        typer.Option(
            "--teacher-layers",
            metavar="2,4",
            help="layers whose [CLS] states to store, instead of --layers",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Let the teacher answer every row once and store its logits and [CLS] states."""
    layers = layer_numbers(teacher_layers, "--teacher-layers")
    if layers is not None and ("layers" in keys or "layer_map" in keys):
        raise typer.BadParameter("--teacher-layers already says which; leave out --layers and --layer-map.")
    from pkd.jobs.annotate import annotate

    rows = annotate(train, teacher, output=output, teacher_layers=layers, overwrite=overwrite, **keys)
    if json:
        show_json({"folder": output, "rows": len(rows), "columns": rows.column_names})
        return
    show(f"{len(rows):,} rows: {output}")


@with_progress
@with_flags(DATA, STUDENT, TRAINING, RUN)
def distill(
    teacher: Teacher,
    train: Train,
    output: Output,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Distil a teacher into a smaller student that works wherever the teacher does."""
    from pkd.jobs.distill import distill

    result = distill(teacher=teacher, train=train, output=output, overwrite=overwrite, **keys)
    show_records(result.records, as_json=json)
    show(f"student: {result.folder}\nannotated data and checkpoints: {result.work}", also_json=json)
