"""`start: auto` in a run: sealed heats, the winner's ordinary training, and what is said before and afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pkd
from conftest import recipe_values
from pkd import progress
from pkd.distillation.race import tried_starts
from pkd.errors import RecipeError, Stopped
from pkd.jobs import train
from pkd.jobs.plan import plan_run
from pkd.jobs.run import RunResult
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import ModelRecord
from pkd.runs.seal import Manifest, partial_of, read_manifest

TRAINING = {"num_train_epochs": 4, "learning_rate": 1e-3, "precision": "float32", "per_device_train_batch_size": 20}


class Listener(progress.Watcher):
    """Keeps the stages that were planned and those that ran, and what was said; asks for a stop in a stage."""

    def __init__(self, stop_in: str = "", after: int = 0) -> None:
        self.stop_in, self.after = stop_in, after
        self.plan: list[str] = []
        self.ran: list[str] = []
        self.notes: list[str] = []

    def planned(self, stages: Any) -> None:
        self.plan = [name for name, _ in stages]

    def stage_began(self, stage: progress.Stage) -> None:
        self.ran.append(stage.name)

    def stage_moved(self, stage: progress.Stage) -> None:
        if stage.name == self.stop_in and stage.done >= self.after:
            progress.request_stop(75)

    def noted(self, message: str, level: str) -> None:
        self.notes.append(message)


def values(workspace: Path, output: Path, *students: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        **recipe_values(workspace, output),
        "device": "cpu",
        "training": TRAINING,
        "students": list(students) or [{"layers": 2, "start": "auto"}],
        "controls": False,
        "evaluation": {"resamples": 20, "measure_speed": False},
        **more,
    }


def go(given: dict[str, Any], listener: Listener | None = None) -> RunResult:
    with progress.watch(listener or Listener()):
        return pkd.run(recipe_from(given, where="test"))


def students_of(result: RunResult) -> list[ModelRecord]:
    return [record for record in result.records if isinstance(record, ModelRecord) and record.role == "student"]


def sealed(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


def facts_of(folder: Path) -> dict[str, Any]:
    """What a training measured, without what a clock did."""
    facts = dict(sealed(folder).facts)
    del facts["train_seconds"]
    facts["history"] = [
        {name: value for name, value in line.items() if "runtime" not in name and "per_second" not in name}
        for line in facts["history"]
    ]
    return facts


@pytest.fixture(autouse=True)
def _no_stop_is_left() -> Iterator[None]:
    yield
    progress.clear_stop()


@pytest.fixture(scope="module")
def raced(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, Listener]:
    listener = Listener()
    return go(values(workspace, tmp_path_factory.mktemp("raced") / "run", seeds=2), listener), listener


def test_the_record_says_who_was_in_and_who_went_on(raced: tuple[RunResult, Listener]) -> None:
    result, listener = raced
    order = sealed(result.folder / "dropping").facts["order"]
    assert sorted(order) == sorted(set(order))
    assert len(order) == 3
    one, other = students_of(result)
    race = one.race
    assert race is not None
    assert other.race == race
    labels = [start if isinstance(start, str) else ".".join(map(str, start))
              for start in tried_starts(4, 2, order).values()]  # fmt: skip
    assert list(race.starts) == labels
    assert race.starts["first"] == "the first layers"
    assert race.seed == 42
    first, last = race.heats
    assert list(first.scores) == labels
    assert (first.epochs, last.epochs) == (pytest.approx(0.4), 1.0)
    assert sorted(last.scores) == sorted(first.kept)
    assert first.kept == sorted(labels, key=lambda start: -first.scores[start])[:2]
    assert last.kept == [one.start]
    assert {one.name, other.name} == {f"pkd-skip-L2-{one.start}"}
    assert "start" in one.measured_on.chose
    assert [
        note for note in listener.notes if note.startswith("starts of pkd-skip of 2 layers after 0.4 epochs: first")
    ]
    assert "How the start was chosen" in result.report.read_text()


def test_each_score_is_of_a_sealed_training_that_kept_no_weights(raced: tuple[RunResult, Listener]) -> None:
    result, _ = raced
    [student, _] = students_of(result)
    assert student.race is not None
    for number, heat in enumerate(student.race.heats, start=1):
        for start, score in heat.scores.items():
            folder = result.folder / "races" / f"pkd-skip-L2-{start}-round{number}"
            manifest = sealed(folder)
            assert manifest.facts["selection"]["score"] == score
            assert manifest.inputs["student"]["training"]["num_train_epochs"] == heat.epochs
            assert manifest.inputs["seed"] == 42
            assert not list(folder.rglob("*.safetensors"))
    assert len(list((result.folder / "races").iterdir())) == sum(len(heat.scores) for heat in student.race.heats)


def test_the_winner_is_trained_as_if_its_start_had_been_given(
    raced: tuple[RunResult, Listener], workspace: Path, tmp_path: Path
) -> None:
    result, _ = raced
    [student, _] = students_of(result)
    shutil.copytree(result.folder, tmp_path / "run")
    listener = Listener()
    start = student.start if student.start in ("first", "spread") else student.start_layers
    given = go(values(workspace, tmp_path / "run", {"layers": 2, "start": start}, seeds=2), listener)
    assert not [name for name in listener.ran if name.startswith(("train", "measure the loss", "drop", "annotate"))]
    assert [each.race for each in students_of(given)] == [None, None]


def test_every_stage_was_planned_in_its_order_and_the_same_call_again_does_nothing(
    raced: tuple[RunResult, Listener], workspace: Path
) -> None:
    result, listener = raced
    unknown = sealed(result.folder / "dropping").facts["order"][2:]  # greedy dropping names its start only then
    known = [name for name in listener.ran if name in listener.plan]
    assert [name for name in listener.plan if name in listener.ran] == known
    assert len(listener.ran) - len(known) <= 3, unknown
    trainings = [name for name in listener.ran if name.startswith("train")]
    before = pkd.check(recipe_from(values(workspace, result.folder.with_name("new"), seeds=2), where="test")).forecast
    assert before is not None
    assert abs(before.trainings - len(trainings)) <= 1  # whether greedy dropping finds another start is not known yet
    assert "the race of starts" in [part.name for part in before.parts]
    again = Listener()
    go(values(workspace, result.folder, seeds=2), again)
    assert again.ran == []
    after = pkd.check(recipe_from(values(workspace, result.folder, seeds=2), where="test")).forecast
    assert after is not None
    assert after.is_nothing


def test_a_longer_training_races_again_from_the_same_order(
    raced: tuple[RunResult, Listener], workspace: Path, tmp_path: Path
) -> None:
    result, _ = raced
    shutil.copytree(result.folder, tmp_path / "run")
    listener = Listener()
    given = values(workspace, tmp_path / "run")
    go({**given, "training": {**TRAINING, "num_train_epochs": 5}}, listener)
    assert not [name for name in listener.ran if name.startswith(("drop", "measure the loss", "annotate"))]
    assert [name for name in listener.ran if "round 1" in name]


@pytest.mark.parametrize("stop_in", ["drop layers one by one", "train pkd-skip-L2-spread, round 1 seed 42"])
def test_a_stop_in_a_race_loses_nothing_and_goes_on_to_the_same_bits(
    stop_in: str, raced: tuple[RunResult, Listener], workspace: Path, tmp_path: Path
) -> None:
    whole, _ = raced
    given = values(workspace, tmp_path / "run", seeds=2)
    with pytest.raises(Stopped):
        go(given, Listener(stop_in, after=5 if "drop" in stop_in else 2))
    if "drop" in stop_in:  # four models of the first layer to go, and one of the second
        begun = json.loads((partial_of(tmp_path / "run" / "dropping") / "order.json").read_text())
        assert begun["order"] == sealed(whole.folder / "dropping").facts["order"][:1]
    progress.clear_stop()
    result = go(given)
    assert sealed(result.folder / "dropping").content == sealed(whole.folder / "dropping").content
    for folder in sorted((whole.folder / "races").iterdir()):
        assert facts_of(result.folder / "races" / folder.name) == facts_of(folder), folder.name
    for folder in sorted((whole.folder / "students").iterdir()):
        one, other = (each / "model.safetensors" for each in (folder, result.folder / "students" / folder.name))
        assert one.read_bytes() == other.read_bytes()


def test_a_winner_that_is_another_student_too_is_trained_once(workspace: Path, tmp_path: Path) -> None:
    others = [{"layers": 2, "start": start} for start in ("first", "spread", [1, 4], [2, 4], [3, 4], [2, 3])]
    result = go(values(workspace, tmp_path / "run", {"layers": 2, "start": "auto"}, *others))
    students = students_of(result)
    assert [student.name for student in students] == [
        f"pkd-skip-L2-{start}" for start in ("first", "spread", "1.4", "2.4", "3.4", "2.3")
    ]
    assert [student.start for student in students if student.race] == [
        heat.kept[0] for student in students if student.race for heat in student.race.heats[-1:]
    ]


def test_a_name_is_kept_and_controls_start_as_the_winner(workspace: Path, tmp_path: Path) -> None:
    """Without development rows of its own, the held-out tenth decides; with plain KD the same race is held."""
    given = values(
        workspace, tmp_path / "run", {"layers": 2, "start": "auto", "name": "small", "method": "kd"}, controls=True
    )
    del given["data"]["eval"]
    result = go(given)
    [student] = students_of(result)
    assert student.name == "small"
    assert student.race is not None
    controls = [each for each in result.records if isinstance(each, ModelRecord) and each.role == "control"]
    assert [(each.method, each.start_layers, each.race) for each in controls] == [("ft", student.start_layers, None)]
    assert (tmp_path / "run" / "races" / "small-first-round1").is_dir()
    assert (tmp_path / "run" / "students" / "small-seed42").is_dir()


def test_at_the_teachers_depth_there_is_nothing_to_choose(workspace: Path, tmp_path: Path) -> None:
    listener = Listener()
    result = go(values(workspace, tmp_path / "run", {"layers": 4, "start": "auto", "method": "kd"}), listener)
    [student] = students_of(result)
    assert (student.start, student.race) == ("first", None)
    assert not (tmp_path / "run" / "dropping").exists()


def test_a_check_says_what_will_be_tried(workspace: Path, tmp_path: Path) -> None:
    told = "\n".join(pkd.check(recipe_from(values(workspace, tmp_path / "run"), where="test")).sentences)
    assert (
        "pkd-skip of 2 layers: its starts race on the development rows with seed 42: first (the first layers: 1, 2), "
        "spread (spread: 1, 3), 1.4 (spread, with the last layer: 1, 4), and the layers that greedy dropping leaves of "
        "the teacher. Each trains 0.4 epochs, the better two 1, the best all 4."
    ) in told
    for start in ("first", "spread", "1.4"):
        assert f"pkd-skip-L2-{start} starts as teacher layers" in told


def test_without_rows_to_choose_by_it_is_refused_before_the_teachers_pass(workspace: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("text,label\na good film,positive\na bad film,negative\n")
    given = values(workspace, tmp_path / "run")
    given["data"] = {"train": str(few), "test": str(workspace / "test.csv"), "max_length": 32}
    for verb in (pkd.run, pkd.check):
        with pytest.raises(RecipeError, match=r"start is auto, a race of several starts, but .*eval is missing"):
            verb(recipe_from(given, where="test"))
    assert not (tmp_path / "run" / "annotated").exists()


def test_another_encoder_has_one_start_and_no_race(workspace: Path, tmp_path: Path) -> None:
    auto = {"start": "auto", "student": str(workspace / "teacher")}
    with progress.watch(told := Listener()):
        plan = plan_run(recipe_from(values(workspace, tmp_path, auto), where="test"))
    assert f"{auto['student']} has one start, its own first layers, so there is no race" in told.notes
    assert not plan.has_races
    assert [(each.start, each.start_layers) for each in plan.candidates] == [("teacher", (1, 2, 3, 4))]
    for start in ([1, 3], ["first", "spread"]):
        with pytest.raises(RecipeError, match=r"start is .*, but students\.0\.student is an encoder of its own"):
            recipe_from(values(workspace, tmp_path, {**auto, "start": start}), where="test")


def test_a_start_whose_training_diverges_is_out_of_the_race(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Diverges(train.PatientTrainer):
        def row_losses(self, model: Any, inputs: Any) -> Any:
            losses, terms = super().row_losses(model, inputs)
            return (losses * float("nan") if self.stage_name.startswith("train pkd-skip-L2-first,") else losses), terms

    monkeypatch.setattr(train, "PatientTrainer", Diverges)
    listener = Listener()
    [student] = students_of(go(values(workspace, tmp_path / "run"), listener))
    assert student.race is not None
    assert student.race.heats[0].scores["first"] is None
    assert "first" not in student.race.heats[0].kept
    assert student.start != "first"
    assert "first diverged" in (tmp_path / "run" / "report.html").read_text()
    assert [note for note in listener.notes if note.startswith("The training of pkd-skip-L2-first diverged")]
