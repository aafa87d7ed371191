"""What is wrong with a part of a job's input: a source, a model, an output, a number; and all of it raised at once."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from pkd.data.check_source import head_fault
from pkd.data.sources import sources_of
from pkd.encoder.hub import check_model_name
from pkd.errors import DataError, PKDError, RecipeError
from pkd.jobs.lacking import is_installed, missing_gpu, missing_trackers
from pkd.recipe.devices import check_device
from pkd.recipe.faults import Fault, raise_faults, shown
from pkd.recipe.naming import Path
from pkd.recipe.places import AnyPath, local_path, output_fault, path_text
from pkd.recipe.reading import Reading
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import set_to, spelled_as
from pkd.reporting.runtimes import RUNTIME_TITLES
from pkd.runs.stage import refuse_other_files, refuse_what_is_in_the_way
from pkd.serving.exported_model import format_of
from pkd.serving.formats import RUNS
from pkd.serving.limits import check_threads

SPLITS = ("train", "eval", "test", "unlabelled")
_MOST = 10**6  # of any number

Asked = AbstractContextManager[Recipe]


@contextlib.contextmanager
def asked(reading: Reading, *more: Iterable[Fault]) -> Iterator[Recipe]:
    """Raise all faults at once; without any, yield the recipe, with messages inside the block in its spelling."""
    with spelled_as(reading.spelling):
        faults = [*reading.faults, *itertools.chain(*more)]
        raise_faults(faults, reading.spelling.place)
        assert reading.recipe is not None  # without faults there is a recipe
        yield reading.recipe


def raised_by(check: Callable[[], object], path: Path = ()) -> Iterator[Fault]:
    """The error of a check as a fault; a sentence that names its key itself has no path."""
    try:
        check()
    except PKDError as error:
        yield Fault(path, str(error), type(error), whole=True)


def number_faults(name: str, value: int, least: int, most: int = _MOST) -> Iterator[Fault]:
    """Faults of a whole number."""
    if not least <= value <= most:
        yield Fault((name,), f"is {value}; it must be from {least} to {most:,}")


def share_faults(name: str, share: float, least: int) -> Iterator[Fault]:
    """Faults of a share."""
    if not least <= share <= 1:  # also refuses NaN
        yield Fault((name,), f"is {shown(share)}; it must be a share, from {least} to 1, as 0.01 for one in a hundred")


def device_faults(device: str, models: Sequence[str] = ()) -> Iterator[Fault]:
    """Faults of a device for all of `models`; what runs exported ones checks its own."""
    try:
        check_device(device)
    except RecipeError as error:
        yield Fault((), str(error))
    else:
        if not models or not all(map(format_of, models)):
            yield from missing_gpu(device)


def lacking_faults(reading: Reading, *, trains: bool = True) -> Iterator[Fault]:
    """What a recipe needs and this machine lacks."""
    if reading.recipe is not None:
        yield from missing_gpu(reading.recipe.device)
        if (budget := reading.recipe.budget) is not None:
            yield from raised_by(lambda: check_threads(budget.threads))
        if trains:
            yield from missing_trackers(reading.recipe)


def source_faults(reading: Reading, splits: Sequence[str], read_as: str | None = None) -> Iterator[Fault]:
    """Faults of the sources of `splits`; with faulty settings, columns are not checked."""
    if reading.recipe is None:
        return
    data, broken = reading.recipe.data, {fault.path for fault in reading.faults}
    sources: set[Path] = {("data", split) for split in SPLITS}
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


def texts_faults(reading: Reading, path: Path, file: AnyPath | None) -> Iterator[Fault]:
    """Faults of a file of texts to be classified; "-" is standard input."""
    if file is None or file == "-" or reading.recipe is None:
        return
    if (sentence := head_fault(path_text(file, "file"), "predict", reading.recipe.data)) is not None:
        yield Fault(path, sentence, DataError, whole=True)


def faults_of_models(reading: Reading) -> Iterator[Fault]:
    """Faults of the names of a recipe's models."""
    if reading.recipe is None:
        return
    teacher = reading.recipe.teacher
    if teacher.model:  # else it was already reported as missing
        for model in dict.fromkeys(teacher.models):
            yield from model_faults(("teacher", "model"), model, "encoder" if teacher.finetune else "teacher")
    for index, student in enumerate(reading.recipe.students):
        if student.student is not None:
            yield from model_faults(("students", index, "student"), student.student, "student")


def model_faults(path: Path, name: str, role: str) -> Iterator[Fault]:
    """Faults of a model's name."""
    if not name:
        yield Fault(path, f"is empty; name the {role}, a folder or a hub name")
        return
    yield from raised_by(lambda: check_model_name(name, role), path)
    form = format_of(name) if role in ("classifier", "model") else None
    if form is not None and not all(map(is_installed, RUNS[form.runtime].modules)):
        title, extra = RUNTIME_TITLES[form.runtime], RUNS[form.runtime].extra
        yield Fault(path, f"{name} is run by {title}, which is not installed: pip install 'pkd[{extra}]'", whole=True)


def output_faults(output: AnyPath, kind: str, *, overwrite: bool) -> Iterator[Fault]:
    """Faults of the folder of a stage of this kind: its name, and what is in the way."""
    name = path_text(output, "output")
    if fault := output_fault(name):
        yield Fault(("output",), fault)
        return
    try:
        refuse_what_is_in_the_way(local_path(name), kind, overwrite=overwrite)
    except PKDError as error:
        yield Fault(("output",), str(error), type(error), whole=True)


def file_faults(
    path: Path, name: str, *, holds: str = "", suffixes: Collection[str] = (), overwrite: bool = True
) -> Iterator[Fault]:
    """The fault of a file to be written; `holds`, e.g. "a chart is", begins the clause about its `suffixes`."""
    file = local_path(name)
    if not name:
        yield Fault(path, "is empty; name a file")
    elif suffixes and file.suffix.lower() not in suffixes:
        yield Fault(path, f"is {file}; {holds} written as {', '.join(suffixes)}; name such a file")
    elif not file.absolute().parent.is_dir():
        yield Fault(path, f"is {file}, but the folder {file.absolute().parent} does not exist")
    elif file.is_dir():
        yield Fault(path, f"is {file}, a folder; name a file")
    elif file.exists() and not overwrite:
        yield Fault(path, f"is {file}, which exists; name another file, or give {set_to('overwrite', True)}")


def run_folder_faults(reading: Reading, *, overwrite: bool) -> Iterator[Fault]:
    """Faults of a recipe's run folder: files in it that pkd did not write."""
    if reading.recipe is None or any(fault.path[0] in ("output", "name") for fault in reading.faults):
        return
    try:
        refuse_other_files(local_path(reading.recipe.folder), overwrite=overwrite)
    except PKDError as error:
        yield Fault(("output",) if reading.recipe.output else ("name",), str(error), type(error), whole=True)
