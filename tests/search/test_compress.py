"""`pkd compress`: a search within a budget, from the shapes to the folder that is deployed."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

import pkd
from pkd import progress
from pkd.cli.main import main
from pkd.errors import RecipeError, TeacherError
from pkd.jobs.report import report
from pkd.jobs.verify import verify
from pkd.reporting.front import read_front
from pkd.reporting.front_words import headline_sentences
from pkd.runs.folder import RunFolder
from pkd.runs.seal import find_damage, read_manifest
from pkd.search.compress import CompressResult


class Notes(progress.Watcher):
    """Keeps what a job tells."""

    shows_notes = False

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stages: list[str] = []

    def noted(self, message: str, level: str) -> None:
        self.told.append(message)

    def stage_began(self, stage: progress.Stage) -> None:
        self.stages.append(stage.name)


def asked(workspace: Path, output: Path, **more: Any) -> dict[str, Any]:
    """A search between four trained shapes: depths 1 and 2, whole and half as wide."""
    return {
        "teacher": workspace / "teacher",
        "train": workspace / "train.csv",
        "eval": workspace / "dev.csv",
        "test": workspace / "test.csv",
        "max_length": 32,
        "effort": "quick",
        "num_train_epochs": 2,
        "resamples": 50,
        "students": [{"layers": 1, "method": "kd"}, {"layers": 2}],
        "widths": [1.0, 0.5],
        "threads": 1,
        "device": "cpu",
        "output": output,
        **more,
    }


@pytest.fixture(scope="module")
def searched(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> CompressResult:
    return pkd.compress(**asked(workspace, tmp_path_factory.mktemp("search") / "served"))


def copied(searched: CompressResult, folder: Path) -> Path:
    """The output of a search whose work folder is a copy."""
    shutil.copytree(searched.work, RunFolder.beside(folder / "served").path)
    return folder / "served"


@pytest.mark.slow
def test_the_folder_is_an_export_of_the_chosen_point_that_serves(searched: CompressResult) -> None:
    manifest = read_manifest(searched.folder)
    assert manifest is not None
    assert manifest.kind == "export"
    assert not find_damage(searched.folder, manifest, deep=True)
    of_point = read_manifest(searched.work / searched.chosen.folder)
    assert of_point is not None
    assert manifest.content == of_point.content
    (answer,) = pkd.predict(searched.folder, ["a lovely film"])
    assert answer.label in ("negative", "positive")
    assert (searched.work / searched.chosen.student / "config.json").is_file()
    assert searched.report.is_file()
    assert searched.record == read_front(searched.work)


@pytest.mark.slow
def test_four_shapes_race_and_at_most_three_are_trained_in_full(searched: CompressResult) -> None:
    record = searched.record
    assert {each.shape.trained.name for each in record.candidates} == {"L1", "L1-w0.5", "L2", "L2-w0.5"}
    assert len(record.candidates) == 8
    assert all(len(each.scores) == 1 for each in record.candidates)
    finalists = {point.shape.trained for point in record.points}
    assert 1 <= len(finalists) <= 3
    stopped = {each.shape.trained for each in record.candidates if each.stopped}
    assert stopped.isdisjoint(finalists)
    assert len(stopped | finalists) == 4


@pytest.mark.slow
def test_the_front_has_no_dominated_point_and_is_numbered_from_the_fastest(searched: CompressResult) -> None:
    front = searched.front
    assert [point.number for point in front] == list(range(1, len(front) + 1))
    latencies, scores = [p.measured.latency.value for p in front], [p.score.value for p in front]
    assert latencies == sorted(latencies)
    assert all(later > earlier for earlier, later in itertools.pairwise(scores))
    beside = [point for point in searched.record.points if not point.on_front]
    assert all(
        any(p.measured.latency.value <= b.measured.latency.value and p.score.value >= b.score.value for p in front)
        for b in beside
    )
    assert searched.chosen.ties


@pytest.mark.slow
def test_page_and_card_are_those_of_the_search_and_all_of_it_is_sealed(searched: CompressResult) -> None:
    found = verify(searched.work)
    assert (found.damage, found.notes) == ([], [])
    page = searched.report.read_text(encoding="utf-8")
    assert headline_sentences(searched.record)[0].replace(" %", "\u00a0%") in page
    assert report(searched.work).read_text(encoding="utf-8") == page
    assert verify(searched.work).damage == []
    card = (searched.folder / "README.md").read_text(encoding="utf-8")
    assert f"This folder is point {searched.chosen.number}, {searched.chosen.shape.name}, in bold." in card


@pytest.mark.slow
def test_the_same_call_again_trains_exports_and_times_nothing(searched: CompressResult, workspace: Path) -> None:
    notes = Notes()
    with progress.watch(notes):
        again = pkd.compress(**asked(workspace, searched.folder))
    assert again.record.points == searched.record.points
    assert [name for name in notes.stages if name.startswith(("train", "trace", "time", "build", "annotate"))] == []


@pytest.mark.slow
def test_what_a_kill_left_unfinished_is_made_again_and_nothing_else(
    searched: CompressResult, workspace: Path, tmp_path: Path
) -> None:
    output = copied(searched, tmp_path)
    work = RunFolder(RunFolder.beside(output).path)
    lost = searched.record.points[0]
    shutil.rmtree(work.path / lost.folder)
    shutil.rmtree(work.timings)
    work.front.unlink()
    notes = Notes()
    with progress.watch(notes):
        again = pkd.compress(**asked(workspace, output))
    assert [(point.shape, point.score) for point in again.record.points if point.chosen]
    assert notes.stages.count("trace the model into a graph") == 1
    assert not [name for name in notes.stages if name.startswith("train")]
    assert (output / "config.json").is_file()


@pytest.mark.slow
def test_without_a_student_within_the_drop_nothing_is_deployed_and_the_nearest_point_can_be_taken(
    searched: CompressResult, workspace: Path, tmp_path: Path
) -> None:
    output = copied(searched, tmp_path)
    with pytest.raises(
        TeacherError, match=r"^No trained student keeps to the budget.*`pkd\.compress\(pick=\d+, output=.*\)` takes it"
    ) as caught:
        pkd.compress(**asked(workspace, output, max_drop=-0.9))
    assert caught.value.exit_code == 4
    assert "points, where at most -90.00 points is asked for" in str(caught.value)
    assert not output.exists()
    record = read_front(RunFolder.beside(output).path)
    assert record.chosen is None
    taken = pkd.compress(pick=record.points[-1].number, output=output)
    assert taken.chosen.shape == record.points[-1].shape
    assert read_front(taken.work).chosen == taken.chosen
    assert "is chosen" in taken.report.read_text(encoding="utf-8")  # page and seal go with the record
    assert verify(taken.work).damage == []
    assert (output / "onnx").is_dir()


@pytest.mark.slow
def test_another_point_is_taken_from_the_search_beside_it_on_the_command_line(
    searched: CompressResult, capsys: pytest.CaptureFixture[str]
) -> None:
    other, last = searched.folder.with_name("other"), searched.record.points[-1]
    assert main(["compress", "--pick", str(last.number), "--output", str(other), "--quiet"]) == 0
    capsys.readouterr()
    manifest, of_point = read_manifest(other), read_manifest(searched.work / last.folder)
    assert manifest is not None
    assert of_point is not None
    assert manifest.content == of_point.content
    assert read_front(searched.work).chosen == searched.chosen  # the search's own choice stands
    assert main(["compress", "--pick", "99", "--output", str(other), "--quiet"]) == 2
    assert "--pick is 99, but the points of" in capsys.readouterr().err


def test_a_time_too_short_for_one_student_is_refused_before_a_shape_is_built(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^time is 1s, but one student alone takes about"):
        pkd.compress(**asked(workspace, tmp_path / "served", time="1s"))
    assert not (tmp_path / "served").exists()


def test_a_launcher_of_several_processes_is_refused_with_all_other_faults(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pkd.ranks.world_size", lambda: 2)
    with pytest.raises(RecipeError, match="runs in one process") as caught:
        pkd.compress(**asked(workspace, tmp_path / "served", latency="3", teacher=[workspace, "other/name"]))
    assert "latency" in str(caught.value)
    assert "2 teachers" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [({"teacher": None}, "teacher is missing"), ({"train": None}, "train is missing"), ({"search": "x"}, "is for `pick`"), ({"pick": 0}, "pick is 0")],
)  # fmt: skip
def test_bad_input_is_told_in_a_sentence(workspace: Path, tmp_path: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        pkd.compress(**asked(workspace, tmp_path / "served", **more))


def test_a_point_cannot_be_taken_where_there_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="There is no search in"):
        pkd.compress(pick=1, output=tmp_path / "served")
