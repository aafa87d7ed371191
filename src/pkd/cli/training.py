"""The commands that make models: run, sweep, demo, paper, recipe, finetune, annotate, augment, distill, compress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pkd.cli.gathering import note_usage
from pkd.cli.next_step import distill_command
from pkd.cli.options import (
    BUDGET,
    COLUMNS,
    DATA,
    RESULT_PANEL,
    RUN,
    STUDENT,
    TRAINING,
    TRANSFER,
    WHERE,
    Debug,
    Device,
    EffortOf,
    Flags,
    Json,
    Output,
    Overwrite,
    RecipeFile,
    SetInRecipe,
    numbers,
    parameters_of,
    spelling_of,
    with_flags,
)
from pkd.cli.output import show, show_estimates, show_front, show_json, show_paper, show_records, show_sweep
from pkd.cli.session import ask, loading, start, with_progress
from pkd.recipe.naming import fields_of, help_of
from pkd.recipe.settings import DataSettings, StudentSettings
from pkd.recipe.spelling import current_spelling, spelled_as

FINETUNING_DATA = Flags("Data", DataSettings, ("eval", *(COLUMNS.named or ())))

Teacher = Annotated[
    list[str], typer.Option("--teacher", metavar="MODEL", help="fine-tuned folder or hub name", show_default=False)
]
Teachers = Annotated[
    list[str],
    typer.Option(
        "--teacher",
        metavar="MODEL",
        help="fine-tuned folder or hub name; several: their mean teaches",
        show_default=False,
    ),
]
Train = Annotated[
    str | None,
    typer.Option(
        "--train",
        metavar="FILE",
        help=help_of(fields_of(DataSettings)["train"]),
        show_default=False,
        rich_help_panel=DATA.panel,
    ),
]
Streaming = Annotated[bool, typer.Option("--streaming", help="read a chunk at a time: files larger than the memory")]
_SEEDS = typer.Option("--seeds", metavar="N", min=1, help=help_of(fields_of(RUN.settings)["seeds"]))
Seeds = Annotated[int, _SEEDS]


@with_progress
def run(
    recipe: RecipeFile,
    seeds: Annotated[int | None, _SEEDS] = None,
    set: SetInRecipe = None,
    effort: EffortOf = None,
    device: Device = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run a recipe: teacher, students, controls, evaluation, report."""
    result = start("run", recipe, set=set or (), seeds=seeds, effort=effort, device=device, overwrite=overwrite)
    show_records(result.records, as_json=json)
    show(f"report: {result.report}", also_json=json)


@with_progress
def sweep(
    recipe: RecipeFile,
    set: SetInRecipe = None,
    resume: Annotated[bool, typer.Option("--resume", help="has no effect: the same command always goes on")] = False,
    device: Device = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Try a recipe's hyper-parameters; train the best with fresh seeds."""
    result = start("sweep", recipe, set=set or (), device=device, overwrite=overwrite)
    show_sweep(result.trials, result.sentences, as_json=json)
    show_records(result.records, as_json=json)
    show(f"report: {result.report}", also_json=json)


@with_progress
def demo(
    output: Annotated[str, typer.Option("--output", metavar="DIR", help="folder of the run")] = "runs/demo",
    quick: Annotated[bool, typer.Option("--quick", help="fewer examples: a look in two or three minutes")] = False,
    seeds: Seeds = 1,
    device: Device = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Distil a real encoder on real reviews, offline, within minutes."""
    result = start(
        "demo", output=output, quick=quick, seeds=seeds, device=device or "auto", overwrite=overwrite
    )  # fmt: skip
    show_records(result.records, as_json=json)
    show(f"report: {result.report}", also_json=json)


@with_progress
def paper(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="table1, table2, table3, table4 or table5")],
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            metavar="RTE,MRPC",
            help="tasks of GLUE (default: those with published numbers)",
            show_default=False,
        ),
    ] = None,
    glue: Annotated[
        str | None, typer.Option("--glue", metavar="DIR", help="GLUE's files (default: the hub)", show_default=False)
    ] = None,
    race: Annotated[
        str | None, typer.Option("--race", metavar="DIR", help="RACE's files, for table3", show_default=False)
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="MODEL", help="encoder to fine-tune (default: BERT)", show_default=False),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="table5: smaller encoder to start from", show_default=False),
    ] = None,
    seeds: Seeds = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="a look: some hundred rows, one epoch, no comparable numbers")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run and how long; train nothing")] = False,
    output: Annotated[
        str | None, typer.Option("--output", metavar="DIR", help="folder of the table (default: runs/paper/TABLE)")
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
    set: SetInRecipe = None,
    json: Json = False,
) -> None:
    """Run a table of the paper, the published numbers beside ours."""
    given: dict[str, Any] = {
        "tasks": tasks or "", "glue": glue, "race": race, "teacher": teacher, "base": base, "seeds": seeds,
        "quick": quick, "set": set or (), "device": device or "auto",
    }  # fmt: skip
    ask("paper", table, **given, output=output, dry_run=dry_run)
    with loading():
        from pkd.jobs import paper as job

    if dry_run:
        show_estimates(job.dry_run(table, **given), as_json=json)
        return
    result = job.paper(table, **given, output=output, overwrite=overwrite)
    show_paper(result, as_json=json)
    show(f"report: {result.report}", also_json=json)


def recipe(
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="write it there instead of printing it", show_default=False),
    ] = None,
    effort: EffortOf = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the file if it is there")] = False,
    debug: Debug = False,
) -> None:
    """Print a recipe with every key, its value and its meaning."""
    from pkd.recipe.faults import raise_faults
    from pkd.recipe.places import local_path
    from pkd.recipe.writing import commented_recipe

    written = commented_recipe(effort)
    if output is None:
        raise_faults((), current_spelling().place)  # with the flags
        typer.echo(written, nl=False)
        return
    with spelled_as(spelling_of(parameters_of(recipe), ())):
        ask("recipe", output=output, overwrite=overwrite)
    with local_path(output).open("w" if overwrite else "x", encoding="utf-8") as file:
        file.write(written)


@with_progress
@with_flags(FINETUNING_DATA, TRAINING, Flags("Run", RUN.settings, ("seed", "device")))
def finetune(
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="pretrained folder or hub name", show_default=False)
    ],
    output: Output,
    train: Train = None,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Fine-tune a pretrained encoder into a classifier, the teacher to be."""
    result = start("finetune", model=model, train=train, output=output, overwrite=overwrite, **keys)
    if json:
        show_json(
            {
                "folder": str(result.folder),
                "scores": result.scores,
                "selection": result.selection,
                "training": result.training,
                "level": result.level and result.level.model_dump(),
                "device": result.device,
                "rows": result.rows,
                "measured_on": result.measured_on.model_dump(),
                "blind_spots": vars(result.blind_spots),
                "sources": {split: [vars(one) for one in of] for split, of in result.sources.items()},
            }
        )
        return
    show(str(result))
    show(f"next: {distill_command(result.folder, train, keys)}")


@with_progress
@with_flags(Flags("Student that it is for", StudentSettings, ("layers", "layer_map")), COLUMNS, WHERE)
def annotate(
    teacher: Teacher,
    output: Output,
    train: Train = None,
    teacher_layers: Annotated[
        str | None,
        typer.Option(
            "--teacher-layers",
            metavar="2,4",
            help="layers whose [CLS] states to store, instead of --layers",
            show_default=False,
        ),
    ] = None,
    streaming: Streaming = False,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Let the teacher answer every row once, and store its answers."""
    layers = numbers(teacher_layers, "--teacher-layers")
    if layers is not None and ("layers" in keys or "layer_map" in keys):
        note_usage("--teacher-layers already says which; leave out --layers and --layer-map")
    given = {"teacher_layers": layers, "streaming": streaming, "overwrite": overwrite, **keys}
    rows = start("annotate", train, teacher, output=output, **given)
    if json:
        show_json({"folder": output, "rows": len(rows), "columns": rows.column_names})
        return
    show(f"{len(rows):,} rows: {output}")


@with_progress
@with_flags(COLUMNS, Flags("Run", RUN.settings, ("seed",)))
def augment(
    output: Annotated[str, typer.Option("--output", metavar="FILE", help="file for the rows: .csv, .jsonl, .parquet")],
    train: Train = None,
    variants: Annotated[
        int, typer.Option("--variants", metavar="N", help="rows to make of each training row, at most")
    ] = 8,
    eval: Annotated[
        str | None,
        typer.Option(
            "--eval",
            metavar="FILE",
            help="development texts; none is made",
            show_default=False,
            rich_help_panel=DATA.panel,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            "--test", metavar="FILE", help="test texts; none is made", show_default=False, rich_help_panel=DATA.panel
        ),
    ] = None,
    streaming: Streaming = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace the file if it is there", rich_help_panel=RESULT_PANEL)
    ] = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Write the rows that --augment makes of training texts, to look at."""
    given = {"variants": variants, "streaming": streaming, "overwrite": overwrite, **keys}
    result = start("augment", train, output=output, eval=eval, test=test, **given)
    if json:
        show_json({"output": output, "rows": sum(result.variants), "variants": result.variants})
        return
    show(str(result))


@with_progress
@with_flags(DATA, TRANSFER, STUDENT, TRAINING, Flags("Run", RUN.settings, defaults={"controls": False}))
def distill(
    teacher: Teachers,
    output: Output,
    train: Train = None,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Distil a teacher into a smaller student that works in its place."""
    result = start("distill", teacher=teacher, train=train, output=output, overwrite=overwrite, **keys)
    show_records(result.records, as_json=json)
    show(f"student: {result.folder}", also_json=json)
    show(f"report: {result.report}", also_json=json)
    show(f"annotated data and checkpoints: {result.work}", also_json=json)


@with_progress
@with_flags(DATA, BUDGET, Flags("Run", RUN.settings, ("effort", "device", "seeds")))
def compress(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE.yaml", help="a recipe with a `budget`; flags win", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="DIR", help="folder to deploy; DIR.work has the rest", show_default=False),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="MODEL", help="fine-tuned folder or hub name", show_default=False),
    ] = None,
    train: Train = None,
    student: Annotated[
        list[str] | None,
        typer.Option("--student", metavar="MODEL", help="a small encoder to try too; repeatable", show_default=False),
    ] = None,
    pick: Annotated[
        int | None,
        typer.Option("--pick", metavar="N", help="take point N of a search that is done", show_default=False),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="DIR",
            help="with --pick: the search's work folder (default: the one beside DIR)",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="a real encoder on real reviews, in ten minutes")] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Find and export the best student within a budget."""
    given = {"teacher": teacher, "train": train, "student": student or (), "pick": pick, "search": search}
    result = start("compress", recipe, output=output, demo=demo, overwrite=overwrite, **given, **keys)
    show_front(result.record, as_json=json)
    show(f"deploy: {result.folder}", also_json=json)
    show(f"report: {result.report}", also_json=json)
    show(f"every student and export: {result.work}", also_json=json)
