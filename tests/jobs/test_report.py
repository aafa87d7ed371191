import shutil
from pathlib import Path

import pytest

from damage import flip
from pkd.errors import CacheError, RecipeError
from pkd.jobs.report import report, write_views
from pkd.jobs.verify import verify
from pkd.reporting.front import write_front
from pkd.reporting.results import ModelRecord, Score, write_results
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.seal import seal
from reporting.searches import search


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


def test_a_student_is_told_to_be_reported_on_by_its_run(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student.work").mkdir()
    (tmp_path / "student.work" / "results.jsonl").touch()
    with pytest.raises(CacheError, match=r"student\.work/results\.jsonl does: give .*student\.work\."):
        report(tmp_path / "student")


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """The work folder of a search: its record, and the folders of its points, each sealed."""
    work = RunFolder(tmp_path / "served.work")
    for point in search().points:
        for folder in (point.folder, point.student):
            (work.path / folder).mkdir(parents=True)
            (work.path / folder / "config.json").write_text("{}")
            seal(work.path / folder, "stage", {})
    write_front(search(), work.path)
    return work.path


def test_a_search_is_reported_on_and_its_record_sealed(searched: Path) -> None:
    page = report(searched)
    assert "Score against time" in page.read_text(encoding="utf-8")
    assert verify(searched).damage == []
    flip(RunFolder(searched).front)
    with pytest.raises(CacheError, match=r"front\.json"):
        report(searched)
    assert any(damage.file.endswith("front.json") for damage in verify(searched).damage)


def test_another_choice_in_a_search_is_written_with_its_page(searched: Path) -> None:
    report(searched)
    first, second = search().points
    points = [first.model_copy(update={"chosen": True}), second.model_copy(update={"chosen": False})]
    write_front(search(points=points), searched)
    page = write_views(searched)
    assert "L2-int8 (point 1) is chosen" in page.read_text(encoding="utf-8")
    assert verify(searched).damage == []


@pytest.mark.parametrize("text", ["{", '{"budget": {}}'])
def test_a_record_of_a_search_that_cannot_be_read_is_damage(searched: Path, text: str) -> None:
    RunFolder(searched).front.write_text(text)
    (damage,) = verify(searched).damage
    assert "is not a record of this version of pkd" in str(damage)
    with pytest.raises(CacheError, match="is not a record of this version of pkd"):
        report(searched)


def test_a_point_of_a_search_whose_folder_is_gone_is_damage(searched: Path) -> None:
    shutil.rmtree(searched / search().points[1].folder)
    (damage,) = verify(searched).damage
    assert str(damage).endswith("names 'exports/L3', which is not there")


def test_a_point_is_never_looked_for_outside_its_search(searched: Path) -> None:
    points = [each.model_copy(update={"folder": "../elsewhere"}) for each in search().points]
    write_front(search(points=points), searched)
    assert [str(damage).partition("names ")[2] for damage in verify(searched).damage] == [
        "'../elsewhere', which is not there",
        "'../elsewhere', which is not there",
    ]
