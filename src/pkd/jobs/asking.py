"""Check a job's input: report all faults that can be found without loading a model, within a second.

One context per job, with the job's own parameters: recipe, files, models and output are checked together, and inside
the block messages name keys as the caller gave them. The command line enters it before the heavy imports, and the job
itself as its first step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any

from pkd.data.check_source import has_labels
from pkd.data.sources import sources_of
from pkd.data.write_rows import FORMATS
from pkd.errors import ResourceError
from pkd.jobs.input_faults import (
    SPLITS,
    Asked,
    asked,
    device_faults,
    faults_of_models,
    file_faults,
    lacking_faults,
    model_faults,
    number_faults,
    output_faults,
    raised_by,
    run_folder_faults,
    share_faults,
    source_faults,
    texts_faults,
)
from pkd.jobs.lacking import is_installed, missing_libraries
from pkd.jobs.origin import reading_of_run, recipe_of_run
from pkd.recipe.faults import Fault
from pkd.recipe.keywords import path_of_keyword, place_keywords
from pkd.recipe.naming import Path
from pkd.recipe.places import AnyPath, AnyPaths, local_path, output_fault, path_text, path_texts
from pkd.recipe.reading import Reading, read_file, read_values
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import MOST_VARIANTS
from pkd.recipe.spelling import current_spelling, named, set_to
from pkd.serving.formats import GRAPH_FORMATS, Format, format_asked, needed_besides
from pkd.serving.limits import check_threads

TEACHER, ANNOTATED, DISTILLED, EXPORTED = "teacher", "annotated", "distilled student", "export"  # kinds of stages
CHART_SUFFIXES = (".png", ".html", ".json")  # of `pkd speed`'s chart


def finetune(
    *,
    model: AnyPath,
    output: AnyPath,
    train: AnyPath | None = None,
    eval: AnyPath | None = None,
    overwrite: bool = False,
    **keys: Any,
) -> Asked:
    """Check the input of `pkd finetune`.

    Raises:
        PKDError: on entering the block, with all faults; so do all functions here.
    """
    given = place_keywords({"train": train, "eval": eval, **keys})
    reading = read_values(given, where="finetune", required=("data.train",))
    return asked(
        reading,
        source_faults(reading, ("train", "eval")),
        model_faults(("model",), path_text(model, "model"), "encoder"),
        lacking_faults(reading),
        output_faults(output, TEACHER, overwrite=overwrite),
    )


def annotate(
    train: Any,
    teacher: Any,
    tokenizer: Any = None,
    *,
    output: AnyPath,
    teacher_layers: Any = None,
    streaming: bool = False,
    overwrite: bool = False,
    **keys: Any,
) -> Asked:
    """Check the input of `pkd annotate`, except rows, streams and models given as objects."""
    is_source = not hasattr(train, "features")  # which rows and streams have
    given = place_keywords({"train": train if is_source else None, **keys})
    reading = read_values(given, where="annotate", required=("data.train",) if is_source else ())
    return asked(
        reading,
        source_faults(reading, ("train",), read_as="unlabelled" if streaming else None),
        _teacher_faults(teacher, tokenizer),
        lacking_faults(reading, trains=False),
        () if teacher_layers is None else _layer_faults(teacher_layers),
        output_faults(output, ANNOTATED, overwrite=overwrite),
    )


def augment(
    train: Any = None,
    *,
    variants: int = 1,
    output: AnyPath | None = None,
    eval: Any = None,
    test: Any = None,
    streaming: bool = False,
    overwrite: bool = False,
    **keys: Any,
) -> Asked:
    """Check the input of `pkd augment`, except rows and streams given as objects."""
    given = {"train": train, "eval": eval, "test": test}
    are_rows = {split for split, rows in given.items() if hasattr(rows, "features")}
    places = {split: place for split, place in given.items() if split not in are_rows}
    reading = read_values(
        place_keywords({**places, **keys}), where="augment", required=() if "train" in are_rows else ("data.train",)
    )
    return asked(
        reading,
        number_faults("variants", variants, 1, MOST_VARIANTS),
        _rows_faults(reading),
        source_faults(reading, ("eval", "test"), read_as="unlabelled"),
        _row_file_faults(reading, output, streaming=streaming, overwrite=overwrite),
    )


def _rows_faults(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is None or not reading.recipe.data.train:
        return
    labelled = has_labels(reading.recipe.data.train, reading.recipe.data)
    yield from source_faults(reading, ("train",), read_as=None if labelled else "unlabelled")


def _row_file_faults(reading: Reading, output: AnyPath | None, *, streaming: bool, overwrite: bool) -> Iterator[Fault]:
    if output is None:
        if streaming:
            yield Fault(("output",), "is missing: rows of a stream are written to a file; name it")
        return
    name = path_text(output, "output")
    path, data = local_path(name), reading.recipe.data if reading.recipe is not None else None
    found = list(file_faults(("output",), name, holds="rows are", suffixes=FORMATS, overwrite=overwrite))
    if fault := output_fault(name):
        yield Fault(("output",), fault)
    elif data and any(_is_same_file(path, source) for split in SPLITS for source in sources_of(data, split)):
        yield Fault(("output",), f"is {path}, which is read too; name another file")
    elif found:
        yield from found
    elif data and data.column_names and path.suffix.lower() == ".csv":
        yield Fault(
            ("output",),
            f"is {path}, but CSV without a header ({named('data.column_names')}) has no column for what is made; name "
            "a .jsonl or .parquet file",
        )


def _is_same_file(path: FilePath, source: str) -> bool:
    other = local_path(source)
    return path.exists() and other.exists() and path.samefile(other)


def _teacher_faults(teacher: Any, tokenizer: Any) -> Iterator[Fault]:
    if isinstance(teacher, list | tuple) and len(teacher) > 1:
        yield Fault(
            ("teacher", "model"),
            f"names {len(teacher)} teachers, but annotated rows hold the answers of one; annotate with each, into "
            "folders of their own. `pkd distill` and `pkd run` take several",
        )
    elif isinstance(teacher, list | tuple):
        yield from _teacher_faults(teacher[0] if teacher else "", tokenizer)
    elif not hasattr(teacher, "config"):
        yield from model_faults(("teacher", "model"), path_text(teacher, "teacher"), "teacher")
    elif tokenizer is None:
        yield Fault(("tokenizer",), "is missing: the teacher is given as a model; give its tokenizer too")


def _layer_faults(layers: Any) -> Iterator[Fault]:
    if isinstance(layers, str) or not isinstance(layers, Sequence) or not all(isinstance(each, int) for each in layers):
        yield Fault(("teacher_layers",), f"is {layers!r}; it must be a list of layers, counted from 1, as [2, 4]")


def distill(
    *,
    teacher: AnyPaths,
    output: AnyPath,
    train: AnyPath | None = None,
    controls: bool = False,
    overwrite: bool = False,
    push_to_hub: bool = False,  # the hub is checked later
    hub_model_id: str | None = None,
    **keys: Any,
) -> Asked:
    """Check the input of `pkd distill`."""
    given = place_keywords({"teacher": teacher, "train": train, "controls": controls, **keys})
    reading = read_values(given, where="distill", spends=True)
    return asked(
        reading,
        _budget_is_not_run(reading),
        source_faults(reading, SPLITS),
        faults_of_models(reading),
        lacking_faults(reading),
        output_faults(output, DISTILLED, overwrite=overwrite),
    )


def evaluate(models: AnyPaths, *, test: AnyPath | None = None, teacher: AnyPath | None = None, **keys: Any) -> Asked:
    """Check the input of `pkd evaluate`."""
    reading = read_values(place_keywords({"test": test, **keys}), where="evaluate", required=())
    data = reading.recipe.data if reading.recipe is not None else None
    names = path_texts(models, "models")
    places: list[tuple[Path, str]] = [(("models",), name) for name in names]
    if teacher is not None:
        places.append((("teacher", "model"), path_text(teacher, "teacher")))
    return asked(
        reading,
        () if names else [Fault(("models",), "is empty; name one classifier or several")],
        _rows_to_evaluate_on(reading),
        source_faults(reading, ("test",) if data is not None and data.test else ("eval",)),
        *(model_faults(path, model, "classifier") for path, model in places),
        lacking_faults(reading, trains=False),
    )


def predict(model: AnyPath, *, file: AnyPath | None = None, device: str = "auto", **keys: Any) -> Asked:
    """Check the input of `pkd predict`; `file` is "-" or None for standard input."""
    reading = read_values(place_keywords(keys), where="predict", required=())
    return asked(
        reading,
        device_faults(device, path_texts(model, "model")),
        texts_faults(reading, ("file",), file),
        model_faults(("model",), path_text(model, "model"), "classifier"),
    )


def speed(
    models: AnyPaths,
    *,
    test: AnyPath | None = None,
    rows: int = 1,
    rounds: int = 1,
    max_length: int | None = None,
    batch_sizes: Sequence[int] = (1,),
    lengths: Sequence[int] = (),
    threads: int | None = None,
    layers: Sequence[int] = (),
    device: str = "auto",
    memory: bool = True,
    chart: AnyPath | None = None,
    **keys: Any,
) -> Asked:
    """Check the input of `pkd speed`."""
    numbers = [("rows", rows, 1), ("rounds", rounds, 1), ("max_length", 3 if max_length is None else max_length, 3)]
    for name, values, least in (("batch_sizes", batch_sizes, 1), ("lengths", lengths, 3), ("layers", layers, 1)):
        numbers += [(name, value, least) for value in values]
    reading = read_values(place_keywords(keys), where="speed", required=())
    places = path_texts(models, "models")
    return asked(
        reading,
        () if places else [Fault(("models",), "is empty; name one model or several to be timed")],
        () if batch_sizes else [Fault(("batch_sizes",), "is empty; name one size or several")],
        *(number_faults(*number) for number in numbers),
        raised_by(lambda: check_threads(threads)),
        device_faults(device, places),
        texts_faults(reading, ("data", "test"), test),
        () if chart is None else _chart_faults(path_text(chart, "chart")),
        *(model_faults(("models",), model, "model") for model in places),
    )


def _chart_faults(name: str) -> Iterator[Fault]:
    yield from file_faults(("chart",), name, holds="a chart is", suffixes=CHART_SUFFIXES)
    if local_path(name).suffix.lower() == ".png" and not is_installed("vl_convert"):
        yield Fault(
            ("chart",),
            f"is {local_path(name)}; a .png is drawn by vl-convert-python, which is not installed: pip install "
            "vl-convert-python, or name an .html",
            ResourceError,
        )


def export(
    model: AnyPath,
    *,
    output: AnyPath,
    format: str = "onnx",
    int8: bool = False,
    eval: AnyPath | None = None,
    max_drop: float = 0.0,
    min_agreement: float = 0.0,
    overwrite: bool = False,
    **keys: Any,
) -> Asked:
    """Check the input of `pkd export`: a recipe whose `data.eval` the changes of int8 are measured on.

    It is read with the settings of the run that made the model, if they fit; by default it is the run's own file.
    """
    model, place, into = path_text(model, "model"), path_text(eval, "eval"), format_asked(format, int8=int8)
    is_converted = into is not None and into.is_converted
    given, from_task = {"eval": place, **keys}, "task" in keys
    reading, read_as = read_values(place_keywords(given), where="export", required=()), None
    if place is not None and not from_task:
        read_as = "unlabelled" if local_path(place).suffix.lower() == ".txt" else None
        as_in_run = read_values(place_keywords(_beside(reading_of_run(model), given)), where="export", required=())
        if not [*as_in_run.faults, *source_faults(as_in_run, ("eval",), read_as)]:
            reading = as_in_run
    elif is_converted and not from_task and not keys and (of_run := recipe_of_run(model)) is not None:
        reading = Reading(of_run, [], reading.spelling)
    return asked(
        reading,
        missing_libraries("export"),
        _format_faults(format, into),
        share_faults("max_drop", max_drop, -1),
        share_faults("min_agreement", min_agreement, 0),
        _nothing_to_measure_on(reading, keys, into.precision) if into is not None and into.is_converted else (),
        source_faults(reading, ("eval",), read_as),
        model_faults(("model",), model, "classifier"),
        output_faults(output, EXPORTED, overwrite=overwrite),
    )


def _format_faults(name: str, into: Format | None) -> Iterator[Fault]:
    if into is None:
        *others, last = GRAPH_FORMATS
        yield Fault(("format",), f"is {name}; choose {', '.join(others)} or {last}")
    elif (needed := needed_besides(into)) and (missing := [each for each in needed.modules if not is_installed(each)]):
        yield Fault(
            ("format",),
            f"is {into.name}, which needs more libraries ({', '.join(missing)}), which are not installed: "
            f"pip install 'pkd[{needed.extra}]'",
        )


def _nothing_to_measure_on(reading: Reading, keys: Collection[str], precision: str) -> Iterator[Fault]:
    if reading.recipe is None or reading.recipe.data.eval is not None:
        return
    if keys:
        told = ", ".join(map(named, keys))
        yield Fault(("data", "eval"), f"is not given, and {told} say how it is read. Give it, or leave them out")
    yield Fault(
        ("data", "eval"),
        f"is missing: {precision} changes answers, and there is nothing to measure how much. Give labelled examples, "
        "or a .txt of texts, which shows how many answers stay the same. Beside a student that `pkd distill` made, its "
        "own development data would be found",
    )


def _beside(of_run: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A run's settings for its files, except those given otherwise; labels are named in one way or the other."""
    keys = {path_of_keyword(key) for key in given}
    labels = {("data", "label_column"), ("data", "label_columns")}
    taken = keys | (labels if keys & labels else set())
    return given | {key: value for key, value in of_run.items() if path_of_keyword(key) not in taken}


def run(
    recipe: Recipe | AnyPath,
    *,
    set: str | Sequence[str] = (),
    seeds: int | None = None,
    effort: str | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> Asked:
    """Check the input of `pkd run`."""
    reading = _of_file(recipe, set, seeds=seeds, effort=effort, device=device)
    return asked(
        reading,
        sweep_is_not_run(reading),
        _budget_is_not_run(reading),
        source_faults(reading, SPLITS),
        faults_of_models(reading),
        lacking_faults(reading),
        run_folder_faults(reading, overwrite=overwrite),
    )


def sweep(
    recipe: Recipe | AnyPath, *, set: str | Sequence[str] = (), device: str | None = None, overwrite: bool = False
) -> Asked:
    """Check the input of `pkd sweep`."""
    reading = _of_file(recipe, set, device=device)
    return asked(
        reading,
        _needs_a_sweep(reading),
        _budget_is_not_run(reading),
        missing_libraries("sweep"),
        source_faults(reading, SPLITS),
        faults_of_models(reading),
        lacking_faults(reading),
        run_folder_faults(reading, overwrite=overwrite),
    )


def check(recipe: Recipe | AnyPath, *, set: str | Sequence[str] = (), device: str | None = None) -> Asked:
    """Check the input of `pkd check`."""
    reading = _of_file(recipe, set, device=device)
    return asked(reading, source_faults(reading, SPLITS), faults_of_models(reading), lacking_faults(reading))


def _of_file(recipe: Recipe | AnyPath, set: str | Sequence[str], **flags: int | str | None) -> Reading:
    if isinstance(recipe, Recipe):
        return Reading(recipe, [], current_spelling())
    return read_file(recipe, set, flags={key: value for key, value in flags.items() if value is not None})


def _rows_to_evaluate_on(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is not None and reading.recipe.data.eval is None and reading.recipe.data.test is None:
        yield Fault(
            ("data", "test"),
            "is missing: there are no rows to measure on. Name labelled examples, or with "
            f"{set_to('data.task')} a benchmark's task",
        )


def sweep_is_not_run(reading: Reading) -> Iterator[Fault]:
    """The fault of a sweep in the recipe of another job."""
    if reading.recipe is not None and reading.recipe.sweep is not None:
        yield Fault(
            ("sweep",),
            f"is what `pkd sweep` runs. To run its students as they are, leave it out, or give {set_to('sweep', None)}",
        )


def _budget_is_not_run(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is not None and reading.recipe.budget is not None:
        yield Fault(("budget",), "is what `pkd compress` keeps to. Leave it out, or give that command the recipe")


def _needs_a_sweep(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is None:
        return
    if reading.recipe.sweep is None:
        yield Fault(("sweep",), "is missing; add one, as {grid: published}, or use `pkd run`")
    elif reading.recipe.data.eval is None:
        yield Fault(("data", "eval"), "is missing; a sweep compares its points on the development rows. Name them")
