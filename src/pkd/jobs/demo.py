"""`pkd demo`: the whole job on real reviews with a real encoder, no model hub, within minutes on two cores.

A pilot first times a few training steps on this machine, to use as much data as fits.
"""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import as_file, files
from pathlib import Path

from pkd import progress, ranks
from pkd.data.demo import demo_encoder_folder, demo_reviews, write_demo_data
from pkd.data.outputs import Outputs
from pkd.jobs import asking_without_keys
from pkd.jobs.pilot import PILOT, Work, measure_prices
from pkd.jobs.run import RunResult, run
from pkd.jobs.workload import encoder_job
from pkd.recipe.places import AnyPath, output_folder
from pkd.recipe.reading import read_recipe
from pkd.recipe.schema import Recipe
from pkd.runs.folder import RunFolder
from pkd.runs.seal import write_json
from pkd.training.hardware import resolve_device

_EPOCHS = 2
_DEPTH = 3
_TRAIN_ROWS = 6964  # what is left of the 8,530 reviews for training


@dataclasses.dataclass(frozen=True)
class Size:
    """How long a demo may take, and how much data it may use.

    Attributes:
        seconds: that it may take.
        overhead: of these, for what does not depend on the rows: loading, saving, evaluating, the report.
        students: how many it trains.
        train_rows: the most training rows; the next three are those of the other splits.
    """

    seconds: float
    train_rows: int
    eval_rows: int
    test_rows: int
    most_unlabelled: int
    overhead: float = 45.0
    students: int = 6


_FULL = Size(seconds=535, train_rows=_TRAIN_ROWS, eval_rows=500, test_rows=1066, most_unlabelled=20_000)
_QUICK = Size(seconds=120, train_rows=1600, eval_rows=300, test_rows=600, most_unlabelled=400)
_SEARCH = Size(
    seconds=555,
    train_rows=_TRAIN_ROWS,
    eval_rows=500,
    test_rows=1066,
    most_unlabelled=20_000,
    overhead=305.0,  # the shapes and the exports are built and timed too
    students=3,
)


def demo(
    *,
    output: AnyPath = "runs/demo",
    quick: bool = False,
    seeds: int = 1,
    device: str = "auto",
    overwrite: bool = False,
) -> RunResult:
    """Run the demo: teacher, one annotation, six students, tables and report.

    Args:
        output: run folder, which also holds the data.
        quick: on a subset, in a quarter of the time.
        seeds: repeat the students with so many seeds.
        device: "auto", "cpu" or "cuda".
        overwrite: start unfinished stages with other inputs afresh.

    Raises:
        ResourceError: if the packages of the extra `demo` are not installed.
        RecipeError: if the device is unknown or missing.
    """
    with asking_without_keys.demo(output=output, seeds=seeds, device=device, overwrite=overwrite):
        folder = output_folder(output)
    recipe = dataclasses.replace(_recipe(), seeds=seeds, device=device)  # type: ignore[arg-type] # it was looked at
    return run(_with_data(recipe, folder, _QUICK if quick else _FULL), overwrite=overwrite)


def with_search_data(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe of the demo of a search, with its encoder and as many reviews as fit into the time.

    Args:
        recipe: of the search.
        folder: of its run, which also holds the data.
    """
    return _with_data(recipe, folder, _SEARCH)


def _with_data(recipe: Recipe, folder: Path, size: Size) -> Recipe:
    resolve_device(recipe.device)
    encoder = demo_encoder_folder()
    data = RunFolder(folder).data
    sizes = ranks.on_first(lambda: _sizes(folder, size, encoder, recipe.device))
    files_of = ranks.on_first(lambda: {split: str(path) for split, path in write_demo_data(data, **sizes).items()})
    return dataclasses.replace(
        recipe,
        output=str(folder),
        teacher=dataclasses.replace(recipe.teacher, model=str(encoder)),
        data=dataclasses.replace(
            recipe.data,
            train=files_of["train"],
            eval=files_of["eval"],
            test=files_of["test"],
            unlabelled=[files_of["unlabelled"]],
        ),
    )


def _recipe() -> Recipe:
    """The recipe of the demo, without its data."""
    with as_file(files("pkd.recipes") / "demo.yaml") as path:
        return read_recipe(path, required=())


def _sizes(folder: Path, size: Size, encoder: Path, device: str) -> dict[str, int]:
    """How many rows of each kind fit into the time; decided once per run folder, so a second run redoes nothing."""
    plan = RunFolder(folder).data_plan
    if plan.is_file():
        known = json.loads(plan.read_text(encoding="utf-8"))
        if known["for"] == dataclasses.asdict(size):
            rows: dict[str, int] = known["rows"]
            return rows
    rows = _rows_that_fit(size, encoder, device)
    plan.parent.mkdir(parents=True, exist_ok=True)
    write_json(plan, {"for": dataclasses.asdict(size), "rows": rows})
    return rows


def _rows_that_fit(size: Size, encoder: Path, device: str) -> dict[str, int]:
    outputs = Outputs("single_label_classification", ("negative", "positive"))
    recipe = dataclasses.replace(_recipe(), device=device)  # type: ignore[arg-type] # it was looked at
    job = encoder_job(str(encoder), recipe, {"train": demo_reviews()["train"]}, outputs)
    row, exact = job.splits["train"].tokens, job.is_exact("auto")
    step = 1 / recipe.training.per_device_train_batch_size
    student = dataclasses.replace(job.shape, layers=_DEPTH)
    works = [
        Work(job.shape, "train", row, step, exact),
        Work(job.shape, "pass", row, exact=exact),
        Work(student, "train", row, step, exact),
    ]
    with progress.stage(PILOT):
        prices = measure_prices(works, job.sample, outputs, device=job.device, occurs=job.occurs)
    teacher_step, teacher_pass, student_step = (prices.seconds(work) for work in works)
    a_row = _EPOCHS * (teacher_step + size.students * student_step) + teacher_pass
    seconds = size.seconds - size.overhead
    train_rows = max(320, min(size.train_rows, int(seconds * 0.9 / a_row)))
    an_unlabelled_row = _EPOCHS * student_step + teacher_pass
    unlabelled = max(200, min(size.most_unlabelled, int((seconds - train_rows * a_row) / an_unlabelled_row)))
    fit = {
        "train_rows": train_rows,
        "eval_rows": size.eval_rows,
        "test_rows": size.test_rows,
        "unlabelled_rows": unlabelled // 100 * 100,
    }
    progress.note(
        f"{train_rows:,} training rows and {fit['unlabelled_rows']:,} unlabelled ones fit into about "
        f"{size.seconds / 60:.1f} minutes here"
    )
    return fit
