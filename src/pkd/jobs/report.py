"""`pkd report`: rewrite the page and the model cards from a run's record, and seal them with it."""

from __future__ import annotations

from pathlib import Path

from pkd import progress
from pkd.errors import CacheError
from pkd.jobs import asking_without_keys
from pkd.recipe.places import AnyPath, path_text
from pkd.reporting.card import model_card
from pkd.reporting.html import write_report
from pkd.reporting.results import ModelRecord, Record, RunRecord, folder_in_run, read_results
from pkd.runs.folder import CARD, FRONT, REPORT, RESULTS, RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.seal import find_damage, read_manifest, seal, write_text

KIND = "run"


def report(folder: AnyPath) -> Path:
    """Write `report.html` of a run folder, and the model card of each student in it; of a search its front comes first.

    Returns:
        The path of the page; it needs no network.

    Raises:
        CacheError: if the folder has neither `results.jsonl` nor `front.json`, or one that is damaged or of another
            version.
        RecipeError: if a run is being written there: page and records would not match.
    """
    with asking_without_keys.report(folder):  # raises if it is no run, before a lock file is created beside it
        run_folder = Path(path_text(folder, "folder"))
    with one_writer(run_folder if run_folder.is_dir() else run_folder.parent):
        _require_whole(run_folder, FRONT)
        return write_views(run_folder)


def write_views(run_folder: Path) -> Path:
    """Do what `report` does, for a job that already holds the lock."""
    _require_whole(run_folder, RESULTS)
    run = RunFolder(run_folder)
    records = read_results(run_folder) if run.results.is_file() or not run.front.is_file() else []
    for record in records:
        if isinstance(record, ModelRecord) and record.role != "teacher":
            place = folder_in_run(run_folder, record)
            if place.is_dir():
                write_text(place / CARD, model_card(records, record))
    page = write_report(run_folder)
    seal(page.parent, KIND, {"results": _print_of(records)}, only=(RESULTS, FRONT, REPORT))
    return page


def kept_results(run_folder: Path, results_print: str) -> list[Record] | None:
    """The records of a run, if they and their page are undamaged and their inputs unchanged."""
    results = RunFolder(run_folder).results
    try:
        manifest = read_manifest(run_folder)
        if manifest is None or manifest.kind != KIND or manifest.inputs != {"results": results_print}:
            return None
        damage = [each for each in find_damage(run_folder, manifest, deep=True) if each.file != FRONT]
        if damage:
            progress.note(f"redoing {results}: damaged: {'; '.join(map(str, damage))}")
            return None
        return read_results(run_folder)
    except CacheError as error:  # damaged, or of another version: make them again
        progress.note(f"redoing {results}: {error.__cause__ or error}")
        return None


def _require_whole(run_folder: Path, record: str) -> None:
    """Refuse a record that was damaged since it was sealed."""
    try:
        manifest = read_manifest(run_folder)
    except CacheError:
        return  # it will be sealed again; reading the results checks their format
    if manifest is None or manifest.kind != KIND:
        return
    damage = [each for each in find_damage(run_folder, manifest, deep=True) if each.file == record]
    if damage:
        raise CacheError(f"{run_folder}: {damage[0]}. The command that wrote it makes it anew.")


def _print_of(records: list[Record]) -> str | None:
    return next((record.fingerprints.get("results") for record in records if isinstance(record, RunRecord)), None)
