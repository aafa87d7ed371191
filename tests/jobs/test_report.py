from pathlib import Path

import pytest

from pkd.errors import CacheError, RecipeError
from pkd.jobs.report import report
from pkd.reporting.results import ModelRecord, Score, write_results
from pkd.runs.lock import one_writer


def test_a_run_that_is_being_written_is_not_reported_on(tmp_path: Path) -> None:
    """Its records and a page of older ones would be sealed together."""
    run = tmp_path / "run"
    run.mkdir()
    scores = {"accuracy": Score(value=0.5)}
    model = ModelRecord(
        role="student", name="x", folder="students/x", layers=1, split="test", rows=9, scores=scores, parameters=1, bytes=4
    )  # fmt: skip
    write_results([model], run)
    with one_writer(run), pytest.raises(RecipeError, match="is being written by another pkd"):
        report(run)
    assert not (run / "report.html").exists()
    assert report(run) == run / "report.html"


def test_what_is_no_run_is_told_and_nothing_is_left_there(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="does not exist"):
        report(tmp_path / "nowhere" / "run")
    assert not list(tmp_path.iterdir())
