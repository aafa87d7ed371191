"""Check a job's input: report all faults that can be found without loading a model, within a second.

One context per job, with the job's own parameters: recipe, files, models and output are checked together, and inside
the block messages name keys as the caller gave them. The command line enters it before the heavy imports, and the job
itself as its first step.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path as FilePath
from typing import Any

from pkd.data.check_source import has_labels, head_fault
from pkd.data.sources import sources_of
from pkd.data.write_rows import FORMATS
from pkd.encoder.hub import check_model_name
from pkd.errors import DataError, PKDError, RecipeError, ResourceError
from pkd.jobs.lacking import is_installed, missing_gpu, missing_libraries, missing_trackers
from pkd.jobs.origin import reading_of_run, recipe_of_run
from pkd.recipe.devices import check_device
from pkd.recipe.faults import Fault, raise_faults, shown
from pkd.recipe.keywords import path_of_keyword, place_keywords
from pkd.recipe.naming import Path
from pkd.recipe.places import AnyPath, AnyPaths, local_path, output_fault, path_text, path_texts
from pkd.recipe.reading import Reading, read_file, read_values
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import MOST_VARIANTS
from pkd.recipe.spelling import current_spelling, named, set_to, spelled_as
from pkd.runs.stage import refuse_other_files, refuse_what_is_in_the_way
from pkd.serving.limits import check_threads
from pkd.serving.onnx_model import graph_of

TEACHER, ANNOTATED, DISTILLED, EXPORTED = "teacher", "annotated", "distilled student", "onnx export"  # kinds of stages
CHART_SUFFIXES = (".png", ".html", ".json")  # of `pkd speed`'s chart
_MOST = 10**6  # of any number given to `pkd speed`
_SPLITS = ("train", "eval", "test", "unlabelled")

Asked = AbstractContextManager[Recipe]


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
        _source_faults(reading, ("train", "eval")),
        model_faults(("model",), path_text(model, "model"), "encoder"),
        _lacking(reading),
        _output_faults(output, TEACHER, overwrite=overwrite),
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
        _source_faults(reading, ("train",), read_as="unlabelled" if streaming else None),
        _teacher_faults(teacher, tokenizer),
        _lacking(reading, trains=False),
        () if teacher_layers is None else _layer_faults(teacher_layers),
        _output_faults(output, ANNOTATED, overwrite=overwrite),
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
        _source_faults(reading, ("eval", "test"), read_as="unlabelled"),
        _row_file_faults(reading, output, streaming=streaming, overwrite=overwrite),
    )


def _rows_faults(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is None or not reading.recipe.data.train:
        return
    labelled = has_labels(reading.recipe.data.train, reading.recipe.data)
    yield from _source_faults(reading, ("train",), read_as=None if labelled else "unlabelled")


def _row_file_faults(reading: Reading, output: AnyPath | None, *, streaming: bool, overwrite: bool) -> Iterator[Fault]:
    if output is None:
        if streaming:
            yield Fault(("output",), "is missing: rows of a stream are written to a file; name it")
        return
    name = path_text(output, "output")
    path, data = local_path(name), reading.recipe.data if reading.recipe is not None else None
    if fault := output_fault(name):
        yield Fault(("output",), fault)
    elif path.suffix.lower() not in FORMATS:
        yield Fault(("output",), f"is {path}; rows are written as {', '.join(FORMATS)}; name such a file")
    elif not path.absolute().parent.is_dir():
        yield Fault(("output",), f"is {path}, but the folder {path.absolute().parent} does not exist")
    elif path.is_dir():
        yield Fault(("output",), f"is {path}, a folder; name a file")
    elif data and any(_is_same_file(path, source) for split in _SPLITS for source in sources_of(data, split)):
        yield Fault(("output",), f"is {path}, which is read too; name another file")
    elif path.exists() and not overwrite:
        yield Fault(("output",), f"is {path}, which exists; name another file, or give {set_to('overwrite', True)}")
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
    if not hasattr(teacher, "config"):
        yield from model_faults(("teacher", "model"), path_text(teacher, "teacher"), "teacher")
    elif tokenizer is None:
        yield Fault(("tokenizer",), "is missing: the teacher is given as a model; give its tokenizer too")


def _layer_faults(layers: Any) -> Iterator[Fault]:
    if isinstance(layers, str) or not isinstance(layers, Sequence) or not all(isinstance(each, int) for each in layers):
        yield Fault(("teacher_layers",), f"is {layers!r}; it must be a list of layers, counted from 1, as [2, 4]")


def distill(
    *,
    teacher: AnyPath,
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
        _source_faults(reading, _SPLITS),
        _faults_of_models(reading),
        _lacking(reading),
        _output_faults(output, DISTILLED, overwrite=overwrite),
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
        _source_faults(reading, ("test",) if data is not None and data.test else ("eval",)),
        *(model_faults(path, model, "classifier") for path, model in places),
        _lacking(reading, trains=False),
    )


def predict(model: AnyPath, *, file: AnyPath | None = None, device: str = "auto", **keys: Any) -> Asked:
    """Check the input of `pkd predict`; `file` is "-" or None for standard input."""
    reading = read_values(place_keywords(keys), where="predict", required=())
    return asked(
        reading,
        device_faults(device, path_texts(model, "model")),
        _texts_faults(reading, ("file",), file),
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
        _texts_faults(reading, ("data", "test"), test),
        () if chart is None else _chart_faults(path_text(chart, "chart")),
        *(model_faults(("models",), model, "model") for model in places),
    )


def _chart_faults(name: str) -> Iterator[Fault]:
    path = local_path(name)
    if path.suffix not in CHART_SUFFIXES:
        yield Fault(("chart",), f"is {path}; a chart is written as {', '.join(CHART_SUFFIXES)}; name such a file")
    elif not path.absolute().parent.is_dir():
        yield Fault(("chart",), f"is {path}, but the folder {path.absolute().parent} does not exist")
    elif path.is_dir():
        yield Fault(("chart",), f"is {path}, a folder; name a file")
    elif path.suffix == ".png" and not is_installed("vl_convert"):
        yield Fault(
            ("chart",),
            f"is {path}; a .png is drawn by vl-convert-python, which is not installed: pip install vl-convert-python, "
            "or name an .html",
            ResourceError,
        )


def raised_by(check: Callable[[], object], path: Path = ()) -> Iterator[Fault]:
    """The error of a check as a fault; a sentence that names its key itself has no path."""
    try:
        check()
    except PKDError as error:
        yield Fault(path, str(error), type(error), whole=True)


def device_faults(device: str, models: Sequence[str] = ()) -> Iterator[Fault]:
    """Faults of a device for all of `models`; ONNX Runtime, which runs exported ones, checks its own."""
    try:
        check_device(device)
    except RecipeError as error:
        yield Fault((), str(error))
    else:
        if not models or not all(map(graph_of, models)):
            yield from missing_gpu(device)


def _lacking(reading: Reading, *, trains: bool = True) -> Iterator[Fault]:
    """What a recipe needs and this machine lacks."""
    if reading.recipe is not None:
        yield from missing_gpu(reading.recipe.device)
        if trains:
            yield from missing_trackers(reading.recipe)


def number_faults(name: str, value: int, least: int, most: int = _MOST) -> Iterator[Fault]:
    """Faults of a whole number."""
    if not least <= value <= most:
        yield Fault((name,), f"is {value}; it must be from {least} to {most:,}")


def _texts_faults(reading: Reading, path: Path, file: AnyPath | None) -> Iterator[Fault]:
    if file is None or file == "-" or reading.recipe is None:
        return
    if (sentence := head_fault(path_text(file, "file"), "predict", reading.recipe.data)) is not None:
        yield Fault(path, sentence, DataError, whole=True)


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
    """Check the input of `pkd export`: a recipe whose `data.eval`, if it has one, int8 is measured on.

    It is read with the settings of the run that made the model, if they fit; by default it is the run's own file.
    """
    model, place = path_text(model, "model"), path_text(eval, "eval")
    given, from_task = {"eval": place, **keys}, "task" in keys
    reading, read_as = read_values(place_keywords(given), where="export", required=()), None
    if place is not None and not from_task:
        read_as = "unlabelled" if local_path(place).suffix.lower() == ".txt" else None
        as_in_run = read_values(place_keywords(_beside(reading_of_run(model), given)), where="export", required=())
        if not [*as_in_run.faults, *_source_faults(as_in_run, ("eval",), read_as)]:
            reading = as_in_run
    elif int8 and not from_task and not keys and (of_run := recipe_of_run(model)) is not None:
        reading = Reading(of_run, [], reading.spelling)
    return asked(
        reading,
        missing_libraries("export"),
        [] if format == "onnx" else [Fault(("format",), f"is {format}; onnx is the only format there is")],
        _share_faults("max_drop", max_drop, -1),
        _share_faults("min_agreement", min_agreement, 0),
        _nothing_for_int8(reading, keys) if int8 else (),
        _source_faults(reading, ("eval",), read_as),
        model_faults(("model",), model, "classifier"),
        _output_faults(output, EXPORTED, overwrite=overwrite),
    )


def _share_faults(name: str, share: float, least: int) -> Iterator[Fault]:
    if not least <= share <= 1:  # also refuses NaN
        yield Fault((name,), f"is {shown(share)}; it must be a share, from {least} to 1, as 0.01 for one in a hundred")


def _nothing_for_int8(reading: Reading, keys: Collection[str]) -> Iterator[Fault]:
    if reading.recipe is None or reading.recipe.data.eval is not None:
        return
    if keys:
        told = ", ".join(map(named, keys))
        yield Fault(("data", "eval"), f"is not given, and {told} say how it is read. Give it, or leave them out")
    yield Fault(
        ("data", "eval"),
        "is missing: int8 changes answers, and there is nothing to measure how much. Give labelled examples, or a .txt "
        "of texts, which shows how many answers stay the same. Beside a student that `pkd distill` made, its own "
        "development data would be found",
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
        _sweep_is_not_run(reading),
        _source_faults(reading, _SPLITS),
        _faults_of_models(reading),
        _lacking(reading),
        _run_folder_faults(reading, overwrite=overwrite),
    )


def sweep(
    recipe: Recipe | AnyPath, *, set: str | Sequence[str] = (), device: str | None = None, overwrite: bool = False
) -> Asked:
    """Check the input of `pkd sweep`."""
    reading = _of_file(recipe, set, device=device)
    return asked(
        reading,
        _needs_a_sweep(reading),
        missing_libraries("sweep"),
        _source_faults(reading, _SPLITS),
        _faults_of_models(reading),
        _lacking(reading),
        _run_folder_faults(reading, overwrite=overwrite),
    )


def check(recipe: Recipe | AnyPath, *, set: str | Sequence[str] = (), device: str | None = None) -> Asked:
    """Check the input of `pkd check`."""
    reading = _of_file(recipe, set, device=device)
    return asked(reading, _source_faults(reading, _SPLITS), _faults_of_models(reading), _lacking(reading))


def _of_file(recipe: Recipe | AnyPath, set: str | Sequence[str], **flags: int | str | None) -> Reading:
    if isinstance(recipe, Recipe):
        return Reading(recipe, [], current_spelling())
    return read_file(recipe, set, flags={key: value for key, value in flags.items() if value is not None})


@contextlib.contextmanager
def asked(reading: Reading, *more: Iterable[Fault]) -> Iterator[Recipe]:
    """Raise all faults at once; without any, yield the recipe, with messages inside the block in its spelling."""
    with spelled_as(reading.spelling):
        faults = [*reading.faults, *itertools.chain(*more)]
        raise_faults(faults, reading.spelling.place)
        assert reading.recipe is not None  # without faults there is a recipe
        yield reading.recipe


def _source_faults(reading: Reading, splits: Sequence[str], read_as: str | None = None) -> Iterator[Fault]:
    """Faults of the sources of `splits`; with faulty settings, columns are not checked."""
    if reading.recipe is None:
        return
    data, broken = reading.recipe.data, {fault.path for fault in reading.faults}
    sources: set[Path] = {("data", split) for split in _SPLITS}
    in_order = not any(path[:1] == ("data",) and path[1:2] != ("max_length",) for path in broken - sources)
    for split in splits:
        several = isinstance(getattr(data, split), list)
        for index, source in enumerate(sources_of(data, split)):
            path: Path = ("data", split, index) if several else ("data", split)
            if data.folder is not None and source.startswith(data.folder):
                path = ("data", "folder")  # whose task filled it in
            if path in broken or not isinstance(source, str):
                continue
            if (sentence := head_fault(source, read_as or split, data, columns=in_order)) is not None:
                yield Fault(path, sentence, DataError, whole=True)


def _faults_of_models(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is None:
        return
    teacher = reading.recipe.teacher
    if teacher.model:  # else it was already reported as missing
        yield from model_faults(("teacher", "model"), teacher.model, "encoder" if teacher.finetune else "teacher")
    for index, student in enumerate(reading.recipe.students):
        if student.pretrained is not None:
            yield from model_faults(("students", index, "pretrained"), student.pretrained, "encoder")


def model_faults(path: Path, name: str, role: str) -> Iterator[Fault]:
    """Faults of a model's name."""
    if not name:
        yield Fault(path, f"is empty; name the {role}, a folder or a hub name")
        return
    yield from raised_by(lambda: check_model_name(name, role), path)
    if role in ("classifier", "model") and graph_of(name) is not None and not is_installed("onnxruntime"):
        yield Fault(
            path, f"{name} is run by ONNX Runtime, which is not installed: pip install 'pkd[serve]'", whole=True
        )


def _output_faults(output: AnyPath, kind: str, *, overwrite: bool) -> Iterator[Fault]:
    name = path_text(output, "output")
    if fault := output_fault(name):
        yield Fault(("output",), fault)
        return
    try:
        refuse_what_is_in_the_way(local_path(name), kind, overwrite=overwrite)
    except PKDError as error:
        yield Fault(("output",), str(error), type(error), whole=True)


def _run_folder_faults(reading: Reading, *, overwrite: bool) -> Iterator[Fault]:
    if reading.recipe is None or any(fault.path[0] in ("output", "name") for fault in reading.faults):
        return
    try:
        refuse_other_files(local_path(reading.recipe.folder), overwrite=overwrite)
    except PKDError as error:
        yield Fault(("output",) if reading.recipe.output else ("name",), str(error), type(error), whole=True)


def _rows_to_evaluate_on(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is not None and reading.recipe.data.eval is None and reading.recipe.data.test is None:
        yield Fault(
            ("data", "test"),
            "is missing: there are no rows to measure on. Name labelled examples, or with "
            f"{set_to('data.task')} a benchmark's task",
        )


def _sweep_is_not_run(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is not None and reading.recipe.sweep is not None:
        yield Fault(
            ("sweep",),
            f"is what `pkd sweep` runs. To run its students as they are, leave it out, or give {set_to('sweep', None)}",
        )


def _needs_a_sweep(reading: Reading) -> Iterator[Fault]:
    if reading.recipe is None:
        return
    if reading.recipe.sweep is None:
        yield Fault(("sweep",), "is missing; add one, as {grid: published}, or use `pkd run`")
    elif reading.recipe.data.eval is None:
        yield Fault(("data", "eval"), "is missing; a sweep compares its points on the development rows. Name them")
