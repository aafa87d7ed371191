"""As `asking`, for the jobs that take no recipe keys: report all faults of their input at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from pkd.data.check_source import head_fault
from pkd.data.demo import check_demo_packages
from pkd.errors import CacheError, DataError, RecipeError, TeacherError
from pkd.jobs.input_faults import Asked, asked, device_faults, file_faults, model_faults, number_faults, raised_by
from pkd.jobs.lacking import missing_libraries
from pkd.recipe.benchmarks import TASKS, leaderboard_sources, task_of
from pkd.recipe.faults import Fault
from pkd.recipe.places import AnyPath, local_path, output_fault, output_folder, path_text
from pkd.recipe.reading import Reading, read_file, read_values
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import current_spelling, named
from pkd.reporting.front import read_front
from pkd.reporting.published import TABLES, tasks_of
from pkd.reporting.results import read_results
from pkd.runs.folder import RunFolder, places_at
from pkd.runs.stage import refuse_other_files
from pkd.serving.hub import check_name
from pkd.serving.limits import Limits
from pkd.serving.listening import listen

_MOST_PORTS = 65535


def serve(
    model: AnyPath,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | Mapping[str, int] | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Asked:
    """Check the input of `pkd serve`.

    Raises:
        PKDError: on entering the block, with all faults; so do all functions here.
    """
    name = path_text(model, "model")
    return _asked(
        device_faults(device, [name]),
        number_faults("port", port, 0, _MOST_PORTS),
        raised_by(lambda: listen(host, port).close()),
        raised_by(lambda: _check_limits(limits)),
        () if workers is None else number_faults("workers", workers, 1),
        missing_libraries("serve"),
        model_faults(("model",), name, "classifier"),
    )


def _check_limits(limits: Limits | Mapping[str, int] | None) -> None:
    if isinstance(limits, Mapping):
        Limits(**limits)


def submit(
    model: AnyPath,
    *,
    task: str,
    output: AnyPath,
    folder: AnyPath | None = None,
    max_length: int | None = None,
    device: str = "auto",
) -> Asked:
    """Check the input of `pkd submit`."""
    return _asked(
        _task_faults(task, path_text(folder, "folder")),
        _output_faults(output),
        () if max_length is None else number_faults("max_length", max_length, 3),
        device_faults(device),
        model_faults(("model",), path_text(model, "model"), "classifier"),
    )


def _task_faults(task: str, folder: str | None) -> Iterator[Fault]:
    known = task_of(task) if isinstance(task, str) else None
    if known is None or not known.test_files:
        names = ", ".join(name for name, each in TASKS.items() if each.test_files)
        yield Fault(("task",), f"{task} is no task whose leaderboard takes files; choose from {names}", whole=True)
        return
    settings = DataSettings(text_columns=list(known.text_columns) if folder is not None else [])
    for source in leaderboard_sources(known, folder).values():
        if (sentence := head_fault(source, "predict", settings)) is not None:
            yield Fault(("folder",), sentence, DataError, whole=True)


def push(
    model: AnyPath,
    repo: str,
    *,
    private: bool | None = None,
    message: str = "Upload by pkd",
    dry_run: AnyPath | None = None,
) -> Asked:
    """Check the input of `pkd push`; write access to the hub is checked later."""
    folder = Path(path_text(model, "model"))
    return _asked(
        _saved_model_faults(folder),
        raised_by(lambda: check_name(repo), ("repo",)),
        () if dry_run is None else _copy_faults(folder, dry_run),
    )


def _saved_model_faults(folder: Path) -> Iterator[Fault]:
    if not (folder / "config.json").is_file():
        sentence = f"{folder.absolute()} is not a saved model: it has no config.json"
        yield Fault(("model",), sentence, TeacherError, whole=True)


def _copy_faults(folder: Path, dry_run: AnyPath) -> Iterator[Fault]:
    if fault := output_fault(path_text(dry_run, "dry_run")):
        yield Fault(("dry_run",), fault)
        return
    place = output_folder(dry_run, "dry_run")
    if place.resolve().is_relative_to(folder.resolve()):
        yield Fault(("dry_run",), f"is {place}, which lies in {folder}, which is to be copied. Name a folder elsewhere")
    elif place.exists() and (not place.is_dir() or any(place.iterdir())):
        yield Fault(("dry_run",), f"is {place}, which is not empty. Name a new folder")


def report(folder: AnyPath) -> Asked:
    """Check the input of `pkd report`."""
    place = Path(path_text(folder, "folder"))
    return _asked(raised_by(lambda: _read_records(place), ("folder",)))


def _read_records(place: Path) -> None:
    run = RunFolder(place)
    if run.front.is_file():
        read_front(place)
    if run.results.is_file() or not run.front.is_file():
        read_results(place)


def verify(folder: AnyPath) -> Asked:
    """Check the input of `pkd verify`."""
    return _asked(_nothing_to_verify(Path(path_text(folder, "folder"))))


def _nothing_to_verify(place: Path) -> Iterator[Fault]:
    if not any(places_at(place)):
        yield Fault(("folder",), nothing_sealed(place), CacheError, whole=True)


def nothing_sealed(place: Path) -> str:
    """The sentence for a folder without anything sealed."""
    what = "holds nothing that pkd sealed" if place.exists() else "does not exist"
    return f"{place.absolute()} {what}. Name a run folder, or a stage of one."


def demo(
    *,
    output: AnyPath = "runs/demo",
    quick: bool = False,
    seeds: int = 1,
    device: str = "auto",
    overwrite: bool = False,
) -> Asked:
    """Check the input of `pkd demo`."""
    return _asked(
        number_faults("seeds", seeds, 1),
        device_faults(device),
        _output_faults(output),
        _other_files(output, overwrite=overwrite),
        raised_by(check_demo_packages),
    )


def paper(
    table: str,
    *,
    tasks: str | Sequence[str] = (),
    glue: AnyPath | None = None,
    race: AnyPath | None = None,
    teacher: AnyPath | None = None,
    base: AnyPath | None = None,
    seeds: int = 1,
    quick: bool = False,
    output: AnyPath | None = None,
    device: str = "auto",
    overwrite: bool = False,
    set: str | Sequence[str] = (),
    dry_run: bool = False,
) -> Asked:
    """Check the input of `pkd paper`, or of its estimate."""
    models = {"teacher": path_text(teacher, "teacher"), "base": path_text(base, "base")}
    folder = path_text(race, "race") if table == "table3" else path_text(glue, "glue")
    return _asked(
        _table_faults(table),
        _nothing_to_estimate(table) if dry_run else (),
        _tasks_and_files(table, tasks, folder),
        number_faults("seeds", seeds, 1),
        device_faults(device),
        () if output is None else _output_faults(output),
        *(model_faults((key,), name, "encoder") for key, name in models.items() if name is not None),
        _override_faults(table, set),
    )


def _table_faults(table: str) -> Iterator[Fault]:
    if table not in TABLES:
        yield Fault(("table",), f"{table} is no table of the paper; choose from {', '.join(TABLES)}", whole=True)


def _nothing_to_estimate(table: str) -> Iterator[Fault]:
    if table == "table4":
        sentence = f"table4 trains nothing and takes a minute or so; run it without {named('dry_run')}"
        yield Fault(("table",), sentence, whole=True)


def _tasks_and_files(table: str, tasks: str | Sequence[str], folder: str | None) -> Iterator[Fault]:
    if table not in TABLES:
        return
    try:
        chosen = tasks_of(table, tasks)
    except RecipeError as error:
        yield Fault(("tasks",), str(error), whole=True)
        return
    if folder is None or table == "table4":
        return
    key = "race" if table == "table3" else "glue"
    if not local_path(folder).is_dir():
        kept = ", ".join(f"{task}/" for task in chosen)
        yield Fault((key,), f"is {folder}, which is no folder here; name the one that holds {kept}", DataError)
        return
    for task in chosen:
        recipe = read_values({"data": {"task": task, "folder": folder}}, where="paper", required=()).recipe
        assert recipe is not None
        for split, source in (("train", recipe.data.train), ("eval", recipe.data.eval)):
            if source and (sentence := head_fault(source, split, recipe.data)) is not None:
                yield Fault((key,), sentence, DataError, whole=True)
                break  # a missing task lacks all its files


def _override_faults(table: str, overrides: str | Sequence[str]) -> Iterator[Fault]:
    """Faults of the overrides of the table's own recipe."""
    if table not in TABLES or not overrides:
        return
    with as_file(files("pkd.recipes") / "paper" / f"{table}.yaml") as path:
        try:
            yield from read_file(path, overrides, required=()).faults
        except RecipeError as error:
            yield Fault((), str(error))


def recipe(*, output: AnyPath | None = None, overwrite: bool = False) -> Asked:
    """Check the input of `pkd recipe`."""
    return _asked(() if output is None else file_faults(("output",), path_text(output, "output"), overwrite=overwrite))


def _asked(*faults: Iterable[Fault]) -> Asked:
    return asked(Reading(Recipe(), [], current_spelling()), *faults)


def _output_faults(output: AnyPath) -> Iterator[Fault]:
    if fault := output_fault(path_text(output, "output")):
        yield Fault(("output",), fault)


def _other_files(output: AnyPath, *, overwrite: bool) -> Iterator[Fault]:
    if not output_fault(path_text(output, "output")):
        yield from raised_by(lambda: refuse_other_files(output_folder(output), overwrite=overwrite), ("output",))
