"""`pkd push`: upload a student to the Hugging Face hub, with a card on what it is, how good, and how it was made."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pkd import progress
from pkd.errors import CacheError
from pkd.jobs import asking_without_keys
from pkd.recipe.places import AnyPath, output_folder, path_text
from pkd.reporting.card import CHART_FILE, RECIPE_FILE, model_card, shareable_recipe
from pkd.reporting.charts import chart_png, kept_chart
from pkd.reporting.results import ModelRecord, Record, RunRecord, best_student, read_results
from pkd.runs.folder import RunFolder
from pkd.runs.seal import MANIFEST, PARTIAL, copy_folder
from pkd.serving.exported_model import format_of
from pkd.serving.hub import open_repository, upload

_LEFT_OUT = (f"*{PARTIAL}", "checkpoint-*", "*.lock", ".*", "stage.json", "training_args.bin")
_CARD = "README.md"


@dataclass(frozen=True)
class PushResult:
    """What was, or would be, uploaded: the repository, its files, and the address of the commit or the folder."""

    repo: str
    files: list[str]
    where: str


def push(
    model: AnyPath,
    repo: str,
    *,
    private: bool | None = None,
    message: str = "Upload by pkd",
    dry_run: AnyPath | None = None,
) -> PushResult:
    """Upload a classifier's folder, exported or not, with its model card, chart and recipe.

    Card, chart and recipe are made from the results of the student's run, if it is beside the student (STUDENT.work, or
    the run folder whose `students/` contains it); else the folder's own card is uploaded. Local paths in the recipe are
    reduced to names.

    Args:
        model: the folder.
        repo: OWNER/NAME on the hub.
        private: whether a new repository is visible only to its owner.
        message: of the commit.
        dry_run: write the files into this new folder instead, without network.

    Raises:
        TeacherError: if the folder contains no classifier.
        RecipeError: if `repo` is no repository name, the hub does not let this user write to it, or `dry_run` exists
            or is inside the model's folder.
        ResourceError: if the hub cannot be reached.
    """
    with asking_without_keys.push(model, repo, dry_run=dry_run):
        folder = Path(path_text(model, "model"))
    if dry_run is not None:
        place = output_folder(dry_run, "dry_run")
        return PushResult(repo, _gather(folder, place, repo), str(place))
    full_name = open_repository(repo, private=private)
    with tempfile.TemporaryDirectory(prefix="pkd-push-") as scratch:
        place = Path(scratch) / "upload"
        files = _gather(folder, place, full_name)
        with progress.stage(f"upload {len(files)} files to {full_name}"):
            where = upload(place, full_name, message)
    return PushResult(full_name, files, where)


def _gather(folder: Path, place: Path, repo: str) -> list[str]:
    """Collect the files to upload; return their names."""
    is_exported = format_of(folder) is not None
    left_out = _LEFT_OUT if is_exported else (*_LEFT_OUT, MANIFEST)  # an export's manifest has its measurements
    copy_folder(folder, place, without=left_out)
    found = None if is_exported else _records_beside(folder)
    if found is not None:
        records, model = found
        run = next((record for record in records if isinstance(record, RunRecord)), None)
        (place / CHART_FILE).write_bytes(chart_png(kept_chart(records)))
        if run is not None:
            (place / RECIPE_FILE).write_text(shareable_recipe(run), encoding="utf-8")
        card = model_card(records, model, title=repo, chart=True, recipe=run is not None)
        (place / _CARD).write_text(card, encoding="utf-8")
    elif not (place / _CARD).is_file():
        progress.warn(f"{folder} has neither a card nor the results of a run beside it; it goes without a card.")
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def _records_beside(folder: Path) -> tuple[Sequence[Record], ModelRecord] | None:
    """The results of a student's run, and the student's own record; None if they cannot be read."""
    place = folder.absolute()
    run = next((run for run in RunFolder.holding(folder) if run.results.is_file()), None)
    if run is None:
        return None
    try:
        records = read_results(run.path)
    except CacheError as error:
        progress.warn(f"{folder} goes with its own card, for the results beside it cannot be read: {error}")
        return None
    if run == RunFolder.beside(place):
        return records, best_student(records).model_copy(update={"folder": place.name})
    for record in records:
        if isinstance(record, ModelRecord) and Path(record.folder).name == place.name:
            return records, record
    return None
