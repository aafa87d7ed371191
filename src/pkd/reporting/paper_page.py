"""The page of a table of the paper: ours beside the published, what helped, and the learning curves, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pkd.reporting.html import curve_legend, curve_specs, self_contained_page
from pkd.reporting.paper import TaskResult, hidden_test_sentences, paper_notes, paper_rows, rows_by_task, task_title
from pkd.reporting.speeds import SpeedRecord, speed_doubts, speed_notes, speed_rows, speed_title
from pkd.reporting.wording import AGAINST_TEACHER, comparison_sentence, comparisons_of, confidence_of
from pkd.runs.folder import RunFolder
from pkd.runs.seal import write_text


def write_table_page(folder: Path, name: str, title: str, teacher: str, results: Sequence[TaskResult]) -> Path:
    """Write `report.html` into the table's folder; it links the report of each task's run."""
    tasks = [
        {
            "rows": rows,
            "title": task_title(rows),
            "verdicts": [
                comparison_sentence(one, confidence_of(result.records))
                for one in comparisons_of(result.records)
                if one.question != AGAINST_TEACHER
            ],
            "curves": curve_specs(result.records),
            "legend": curve_legend(result.records),
            "report": str(RunFolder(Path(result.folder)).report),
        }
        for result, rows in zip(results, rows_by_task(paper_rows(results)), strict=True)
    ]
    page = self_contained_page(
        "paper.html.jinja",
        name=name,
        title=title,
        teacher=teacher,
        notes=paper_notes(results),
        tasks=tasks,
        speeds=[],
        speed_title="",
        elsewhere=hidden_test_sentences([result.task for result in results]),
    )
    return _write(folder, page)


def write_speed_page(
    folder: Path, name: str, title: str, teacher: str, records: Sequence[SpeedRecord], depths: Sequence[int]
) -> Path:
    """Write `report.html` of the table of sizes and speeds."""
    page = self_contained_page(
        "paper.html.jinja",
        name=name,
        title=title,
        teacher=teacher,
        notes=[*speed_doubts(records), *speed_notes(records, depths)],
        tasks=[],
        speeds=speed_rows(records, depths),
        speed_title=speed_title(records),
        elsewhere=[],
    )
    return _write(folder, page)


def _write(folder: Path, page: str) -> Path:
    path = RunFolder(folder).report
    write_text(path, page)
    return path
