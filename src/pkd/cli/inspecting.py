"""The commands that use and inspect models and runs: evaluate, report, verify, predict, check, speed, submit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pkd.cli.gathering import note_usage
from pkd.cli.options import (
    COLUMNS,
    TEXTS,
    WHERE,
    Classifier,
    Device,
    Json,
    RecipeFile,
    SetInRecipe,
    numbers,
    with_flags,
)
from pkd.cli.output import show, show_json, show_records, show_speeds
from pkd.cli.session import ask, loading, start, with_progress
from pkd.cli.texts import as_json, is_lines, marked_line, one_line, texts_of
from pkd.errors import CacheError
from pkd.recipe.naming import fields_of, help_of
from pkd.recipe.settings import DataSettings
from pkd.runs.space import readable_bytes


@with_progress
@with_flags(COLUMNS, WHERE)
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="folders of classifiers, exported or not", show_default=False),
    ],
    test: Annotated[
        str | None, typer.Option("--test", metavar="FILE", help="labelled examples to measure on", show_default=False)
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="MODEL", help="also measure agreement with this model", show_default=False),
    ] = None,
    json: Json = False,
    **keys: Any,
) -> None:
    """Measure classifiers on the same examples, side by side."""
    records = start("evaluate", models or [], test=test, teacher=teacher, **keys)
    show_records(records, as_json=json)


@with_progress
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="a run folder", show_default=False)],
) -> None:
    """Make the report page of a run from its results.jsonl."""
    path = start("report", folder)
    show(str(path))


@with_progress
def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="a run folder, or a stage of one", show_default=False)],
    json: Json = False,
) -> None:
    """Read everything that a run holds again; report what is damaged."""
    found = start("verify", folder)
    if json:
        show_json(found.to_dict())
    else:
        for note in found.notes:
            show(f"note: {note}")
        for damage in found.damage:
            show(f"damaged: {damage}")
        files, size = (sum(getattr(each, name) for each in found.sealed) for name in ("files", "bytes"))
        folders = f"{len(found.sealed)} sealed folder{'s' * (len(found.sealed) != 1)}"
        show(f"read {folders}: {files:,} files, {readable_bytes(size)}")
    if found.damage:
        raise CacheError(
            f"{folder} is damaged in {len(found.damage)} place{'s' * (len(found.damage) > 1)}. The command that made "
            "it makes anew what it needs, and nothing else."
        )
    if not json:
        show("all of it is as it was written")


@with_progress
def check(
    recipe: RecipeFile,
    set: SetInRecipe = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Say what a recipe would do and cost, and what is wrong with it."""
    result = start("check", recipe, set=set or (), device=device)
    if json:
        show_json(result.to_dict())
        return
    for sentence in result.sentences:
        show(sentence)


@with_progress
@with_flags(TEXTS)
def speed(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="classifiers or encoders; the first is 1×", show_default=False),
    ],
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers", metavar="6,3", help="also time the first model cut to these depths", show_default=False
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            "--test", metavar="FILE", help="texts to answer (default: random word pieces)", show_default=False
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="rows to time at most")] = 256,
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", metavar="N", help="word pieces a row (default: 128, or what all can read)"),
    ] = None,
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", metavar="1,8,32", help="rows a batch for throughput")
    ] = "1,8,32",
    lengths: Annotated[
        str | None,
        typer.Option("--lengths", metavar="32,128", help="word pieces a row for throughput (default: the texts' own)"),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", help="times that everything is measured; models take turns")
    ] = 5,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="cores that a model may use (default: all)", show_default=False),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="measure peak memory, each model in a process of its own")
    ] = True,
    chart: Annotated[
        Path | None,
        typer.Option("--chart", metavar="FILE", help="also write a .png, .html or .json chart", show_default=False),
    ] = None,
    device: Device = None,
    json: Json = False,
    **keys: Any,
) -> None:
    """Count, weigh and time models, exported or not, side by side."""
    depths = numbers(layers, "--layers") or []
    given: dict[str, Any] = {
        "layers": depths, "test": test, "rows": rows, "max_length": max_length,
        "batch_sizes": numbers(batch_sizes, "--batch-sizes", "numbers as 1,32"),
        "lengths": numbers(lengths, "--lengths", "numbers as 32,128") or [],
        "rounds": rounds, "threads": threads, "memory": memory, "device": device or "auto",
        "chart": chart,
    }  # fmt: skip
    records = start("speed", models or [], **given, **keys)
    show_speeds(records, as_json=json)
    if chart is not None:
        show(f"chart: {chart}", also_json=json)


@with_progress
def submit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a classifier of the task", show_default=False)],
    task: Annotated[
        str, typer.Option("--task", metavar="NAME", help="task of GLUE, as SST-2, MNLI or ax", show_default=False)
    ],
    output: Annotated[str, typer.Option("--output", metavar="DIR", help="folder for the files", show_default=False)],
    folder: Annotated[
        str | None,
        typer.Option("--folder", metavar="DIR", help="GLUE's own files (default: the hub)", show_default=False),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            metavar="N",
            min=3,
            help=f"{help_of(fields_of(DataSettings)['max_length'])} (default: as the model was trained)",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Answer a GLUE task's test rows in the files of its leaderboard."""
    written = start(
        "submit", model, task=task, output=output, folder=folder, max_length=max_length, device=device or "auto"
    )  # fmt: skip
    for path in written:
        if json:
            show_json({"file": str(path)})
        else:
            show(str(path))


@with_progress
@with_flags(TEXTS)
def predict(
    model: Classifier,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT...",
            help="texts (default: lines of standard input); a tab parts a pair, a question is JSON",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="CSV, TSV, JSONL, Parquet, CoNLL, or .txt lines; each gets an answer",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    json: Json = False,
    **keys: Any,
) -> None:
    """Classify texts: print label, probability and text, tab-separated; of tags the text with its spans marked."""
    if texts and file:
        note_usage("TEXT and --file are both given; give one of them")
    if "text_columns" in keys and (texts or file in (None, "-") or is_lines(file)):
        note_usage("--text-columns names columns of --file, in CSV, TSV, JSONL or Parquet; texts and lines have none")
    recipe = ask("predict", model, file=file, device=device or "auto", **keys)
    with loading():
        from pkd.jobs.predict import predict
        from pkd.serving.exported_model import form_read

        if (form := form_read(model)) is not None:
            recipe.data.problem_type = form.name

        predictions = predict(model, texts_of(texts, file, recipe.data), device=device or "auto")
    for prediction in predictions:
        if json:
            show_json(as_json(prediction))
            continue
        if prediction.spans is not None:
            show(marked_line(prediction))
            continue
        named = [name for name in prediction.labels or (prediction.label,) if name in prediction.probabilities]
        sure = ", ".join(f"{prediction.probabilities[name]:.4f}" for name in named)
        choice = "" if prediction.choice is None else f"{one_line(prediction.choice)}\t"
        show(f"{prediction.label}\t{sure}\t{choice}{one_line(prediction.text)}")
