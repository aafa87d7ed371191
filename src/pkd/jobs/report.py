"""`pkd report`: the page and the model cards, made anew from the one record of a run."""

from __future__ import annotations

from pathlib import Path

from pkd.reporting.card import model_card
from pkd.reporting.html import write_report
from pkd.reporting.results import ModelRecord, read_results
from pkd.storage.seal import write_text


def report(folder: str | Path) -> Path:
    """Write `report.html` of a run folder, and the model card of each student that lies in it.

    Returns:
        The path of the page; it opens with no network.

    Raises:
        CacheError: if the folder has no `results.jsonl`, or one of another version.
    """
    run_folder = Path(folder)
    records = read_results(run_folder)
    for record in records:
        if isinstance(record, ModelRecord) and record.role != "teacher":
            place = run_folder / record.folder
            if place.resolve().is_relative_to(run_folder.resolve()) and place.is_dir():
                write_text(place / "README.md", model_card(records, record))
    return write_report(run_folder)
