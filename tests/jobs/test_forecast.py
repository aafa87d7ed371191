"""What a job will take, said before it begins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pkd
from conftest import recipe_values
from pkd import progress
from pkd.cli.main import main
from pkd.encoder.load import load_teacher
from pkd.errors import Stopped
from pkd.jobs import forecast as forecasting
from pkd.jobs.ahead import Left, points_ahead, stages_of_run
from pkd.jobs.forecast import JobForecast, announce, forecast, roughly
from pkd.jobs.pilot import PILOT, Prices, Work
from pkd.jobs.plan import plan_run
from pkd.jobs.stages import Ahead
from pkd.jobs.workload import classifier_job, job_of_run
from pkd.recipe.reading import recipe_from
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.folder import RunFolder
from pkd.runs.space import rough_bytes

TRAINING = {"num_train_epochs": 2, "learning_rate": 1e-3, "precision": "float32"}


class Listener(progress.Watcher):
    """Keeps the stages that were planned and those that ran, the outermost alone, and what was said."""

    def __init__(self, *, shows_notes: bool = True) -> None:
        self.shows_notes = shows_notes
        self.plan: list[str] = []
        self.ran: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._depth = 0

    def planned(self, stages: Sequence[tuple[str, float]]) -> None:
        self.plan = [name for name, _ in stages]

    def stage_began(self, stage: progress.Stage) -> None:
        if not self._depth:
            self.ran.append(stage.name)
        self._depth += 1

    def stage_ended(self, stage: progress.Stage) -> None:
        self._depth -= 1

    def noted(self, message: str, level: str) -> None:
        (self.warnings if level == "warning" else self.notes).append(message)


def values(workspace: Path, output: Path, **more: Any) -> dict[str, Any]:
    return {
        **recipe_values(workspace, output),
        "device": "cpu",
        "training": TRAINING,
        "students": [{"layers": 2}],
        "controls": False,
        "evaluation": {"resamples": 50, "measure_speed": False},
        **more,
    }


def recipe(workspace: Path, output: Path, **more: Any) -> Any:
    return recipe_from(values(workspace, output, **more), where="test")


def costs(given: Any) -> JobForecast:
    found = pkd.check(given).forecast
    assert found is not None
    return found


def disk_of(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=free))


def test_every_stage_of_a_run_was_planned_in_its_order_and_what_is_kept_costs_nothing(
    workspace: Path, tmp_path: Path
) -> None:
    """Fine-tuning, unlabelled text, several starts and controls: the progress and the forecast have one list."""
    given = values(workspace, tmp_path / "run", controls=True, students=[{"layers": 2, "start": ["spread", "first"]}])
    given["teacher"]["finetune"] = {"num_train_epochs": 1, "precision": "float32"}
    given["data"]["unlabelled"] = [str(workspace / "unlabelled.txt")]
    before = costs(recipe_from(given, where="test"))
    assert before.trainings == 5  # a teacher, a student from two starts, KD and fine-tuning from the better one
    assert before.parts[0].name == "fine-tuning the teacher"
    with progress.watch(listener := Listener()):
        pkd.run(recipe_from(given, where="test"))
    assert [name for name in listener.plan if name in listener.ran] == listener.ran
    assert listener.ran[0] == "fine-tune the teacher"
    assert listener.ran[-1] == "compare and report"
    assert [note for note in listener.notes if note.startswith("This will take")]
    after = costs(recipe_from(given, where="test"))
    assert after.is_nothing
    assert (after.bytes, after.trainings) == (0, 0)
    with progress.watch(again := Listener()):
        pkd.run(recipe_from(given, where="test"))
    assert again.ran == []
    assert not [note for note in again.notes if note.startswith("This will take")]


def test_a_run_that_goes_on_is_forecast_by_what_is_left(workspace: Path, tmp_path: Path) -> None:
    pkd.run(recipe(workspace, tmp_path / "run"))
    more = costs(recipe(workspace, tmp_path / "run", seeds=3))
    assert more.trainings == 2
    assert [part.name for part in more.parts] == ["1 student × 2 seeds", "measuring"]
    shutil.rmtree(RunFolder(tmp_path / "run").annotated("test"))
    without = costs(recipe(workspace, tmp_path / "run"))
    assert [part.name for part in without.parts] == ["the teacher's pass"]
    assert without.trainings == 0
    other = costs(recipe(workspace, tmp_path / "run", students=[{"layers": 2, "beta": 7}]))
    assert other.trainings == 1  # another loss: the one that is there is stale
    deeper = costs(recipe(workspace, tmp_path / "run", students=[{"layers": 2}, {"layers": 3}]))
    assert deeper.trainings == 1  # learns from other layers: a new pass, but the first student is kept
    assert "the teacher's pass" in [part.name for part in deeper.parts]


def test_an_unfinished_training_is_forecast_by_the_steps_that_are_left(workspace: Path, tmp_path: Path) -> None:
    given = {"train": workspace / "train.csv", "eval": workspace / "dev.csv", "max_length": 32, "device": "cpu"}
    given |= {"model": workspace / "teacher", "output": tmp_path / "teacher", **TRAINING}

    class StopsAfterAnEpoch(Listener):
        def stage_moved(self, stage: progress.Stage) -> None:
            if stage.done > 5:  # an epoch has five steps
                progress.request_stop(75)

    with progress.watch(StopsAfterAnEpoch()), pytest.raises(Stopped):
        pkd.finetune(**given)  # type: ignore[arg-type]
    progress.clear_stop()
    with progress.watch(listener := Listener()):
        pkd.finetune(**given)  # type: ignore[arg-type]
    assert listener.plan == listener.ran == ["fine-tune the teacher", "measure the word-count baseline"]
    left = values(workspace, tmp_path / "run")
    left["teacher"]["finetune"] = TRAINING
    whole = costs(recipe_from(left, where="test"))
    plan = plan_run(recipe_from(left, where="test"))
    job = job_of_run(plan)
    half = forecast(job, stages_of_run(plan, job, Left(finetuning=lambda number: 0.5)), tmp_path, None)
    full = forecast(job, stages_of_run(plan, job, Left(finetuning=lambda number: 1.0)), tmp_path, None)
    assert half.parts[0].seconds == pytest.approx(full.parts[0].seconds / 2)
    assert whole.trainings == 2


def test_the_disk_of_weights_and_answers_is_known_to_a_tenth(workspace: Path, tmp_path: Path) -> None:
    given = recipe(workspace, tmp_path / "run")
    plan = plan_run(given)
    job = job_of_run(plan)
    found = next(stage for stage in stages_of_run(plan, job) if stage.name == "annotate train")
    pkd.run(given)
    shards = sum(path.stat().st_size for path in RunFolder(tmp_path / "run").annotated("train").glob("*.arrow"))
    assert found.bytes == pytest.approx(shards, rel=0.1)
    student = RunFolder(tmp_path / "run").student("pkd-skip-L2-spread", 42) / "model.safetensors"
    shape = replace(job.shape, layers=2)
    assert job.weights_of(shape) == pytest.approx(student.stat().st_size, abs=5000)  # the names of its tensors


def test_a_sweep_is_told_as_so_many_trainings_of_which_asha_may_stop_some(workspace: Path, tmp_path: Path) -> None:
    sweep = {"keys": {"temperature": [1, 2, 5, 10], "learning_rate": [1e-4, 1e-3]}, "best_seeds": 3}
    given = recipe(workspace, tmp_path, sweep=sweep)
    result = pkd.check(given)
    assert result.forecast is not None
    assert (result.forecast.points, result.forecast.trainings) == (8, 11)
    assert result.forecast.least_seconds == result.forecast.seconds
    told = "\n".join(result.sentences)
    assert "This recipe is a sweep of 8 points, each trained once with seed 42, and the best again with 3 fresh" in told
    assert "asha" not in told
    asha = pkd.check(recipe(workspace, tmp_path, sweep={**sweep, "early_stopping": "asha"}))
    assert asha.forecast is not None
    assert 0 < asha.forecast.least_seconds < asha.forecast.seconds
    assert "Early stopping (asha) lets about the best third go on after one epoch" in "\n".join(asha.sentences)


def test_points_that_come_to_the_same_training_are_counted_once(workspace: Path, tmp_path: Path) -> None:
    keys = {"students.0.method": ["kd"], "beta": [10, 100]}
    given = recipe(workspace, tmp_path, sweep={"keys": keys, "best_seeds": 2})
    plan = plan_run(given)
    stage = points_ahead(job_of_run(plan), plan.points, given.sweep)
    assert stage.trainings == 1


def test_a_pilot_is_made_where_somebody_listens_and_the_work_is_worth_it(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(listener: Listener, epochs: int) -> Listener:
        plan = plan_run(recipe(workspace, tmp_path, training={**TRAINING, "num_train_epochs": epochs}))
        job = job_of_run(plan)
        with progress.watch(listener):
            announce(job, stages_of_run(plan, job), tmp_path)
        return listener

    little = told(Listener(), epochs=1)
    assert little.ran == []
    assert little.notes == [f"This will take less than a minute here and {little.notes[0].split('and ')[1]}"]
    much = told(Listener(), epochs=1000)
    assert much.ran == [PILOT]
    assert much.notes[0].startswith("This will take about ")
    assert "of disk" in much.notes[0]
    quiet = told(Listener(shows_notes=False), epochs=1000)
    assert quiet.ran == []
    assert quiet.plan == much.plan


def test_a_pilot_changes_no_bit_of_what_is_trained(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: dict[str, Any] = {"layers": 2, "max_length": 32, "device": "cpu", "resamples": 20, "augment": 1, **TRAINING}
    keys |= {"teacher": workspace / "teacher", "train": workspace / "train.csv", "eval": workspace / "dev.csv"}
    silent = pkd.distill(output=tmp_path / "silent", **keys)
    monkeypatch.setattr(forecasting, "_LITTLE", 0.0)  # so that even these few rows are worth one
    with progress.watch(listener := Listener()):
        told = pkd.distill(output=tmp_path / "told", **keys)
    assert listener.ran[0] == PILOT
    weights = [sha256_of_file(result.folder / "model.safetensors") for result in (silent, told)]
    assert weights[0] == weights[1]


def test_the_command_line_says_it_before_the_work_and_check_gives_the_figures(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["--train", str(workspace / "train.csv"), "--max-length", "32"]
    tuned = ["--num-train-epochs", "1"]
    commands = [
        ["finetune", "--model", str(workspace / "teacher"), "--output", str(tmp_path / "t"), *rows, *tuned],
        ["annotate", "--teacher", str(workspace / "teacher"), "--output", str(tmp_path / "a"), *rows],
        ["distill", "--teacher", str(workspace / "teacher"), "--output", str(tmp_path / "s"), *rows, *tuned,
         "--eval", str(workspace / "dev.csv"), "--layers", "2", "--augment", "1"],
    ]  # fmt: skip
    for command in commands:
        assert main(command) == 0
        told = capsys.readouterr().err
        assert "This will take less than a minute here and " in told, command
        assert told.index("This will take") < told.index("done after"), command
    assert main([*commands[0][:-1], "2", "--quiet"]) == 0
    assert "This will take" not in capsys.readouterr().err
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps(values(workspace, tmp_path / "run", seeds=2)))
    assert main(["check", str(file)]) == 0
    assert "This will take less than a minute here and 3.3 MB of disk" in capsys.readouterr().out
    assert main(["check", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["forecast"]
    assert found["trainings"] == 2
    assert found["bytes"] > 2e6
    assert found["bytes_free"] > 0
    assert found["fits"] is True
    assert {part["name"] for part in found["parts"]} == {"the teacher's pass", "1 student × 2 seeds", "measuring"}


def test_a_disk_that_will_not_hold_it_is_told_before_the_work_even_where_quiet(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps(values(workspace, tmp_path / "run", seeds=2)))
    disk_of(monkeypatch, (64 << 20) + 1_000_000)  # what is always left, and enough for the teacher's answers
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "The disk will not hold it: this job writes about 3.3 MB" in out
    assert "Free some space, choose another output folder, or train fewer students or seeds." in out
    assert main(["check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forecast"]["fits"] is False
    main(["run", str(file), "--quiet"])
    told = capsys.readouterr().err
    assert "warning: The disk will not hold it" in told
    assert f"are free at {tmp_path / 'run'}" in told
    disk_of(monkeypatch, 1 << 40)
    assert main(["check", str(file)]) == 0
    assert "will not hold" not in capsys.readouterr().out


def test_a_forecast_has_no_more_digits_than_it_bears(workspace: Path, tmp_path: Path) -> None:
    assert [roughly(each) for each in (3, 42, 100, 760, 5000, 40_000, 400_000)] == [
        "a few seconds", "40 s", "2 min", "15 min", "1.5 hours", "11 hours", "5 days",
    ]  # fmt: skip
    assert [rough_bytes(each) for each in (30_000, 1_490_000, 447_300_000, 1_230_000_000, 29e9)] == [
        "less than 1 MB", "1.5 MB", "450 MB", "1.2 GB", "29 GB",
    ]  # fmt: skip
    teacher = load_teacher(workspace / "teacher")
    job = classifier_job(
        teacher,
        recipe(workspace, tmp_path),
        {"train": pkd.load_data(train=workspace / "train.csv", max_length=32)["train"]},
        teacher.outputs,
    )
    stages = [
        Ahead("annotate train", "pass", seconds=180, bytes=50e6),
        Ahead("sweep", "points", seconds=3000, trainings=12, least=0.4, meanwhile=1.23e9),
        *(
            Ahead(f"train a seed {seed}", "students", seconds=300, bytes=66e6, trainings=1, model="a")
            for seed in (1, 2, 3)
        ),
        Ahead("compare and report", "measuring", seconds=5),
    ]
    found = forecast(job, stages, tmp_path, Prices({}))
    assert found.sentence() == (
        "This will take about 40 min to 1 hour here and 250 MB of disk: the teacher's pass 3 min, 12 points of the "
        "sweep 50 min, 1 student × 3 seeds 15 min; checkpoints take up to 1.2 GB more meanwhile."
    )
    assert found.to_dict()["least_seconds"] == 2300


def test_a_finished_stage_needs_no_price_though_its_model_is_not_timed_any_more(workspace: Path) -> None:
    given = recipe_values(workspace, workspace / "nowhere")
    job = job_of_run(plan_run(recipe_from(given, where="test")))
    done = Ahead("annotate train", "pass", (Work(job.shape, "pass", 1e6),), left=0.0)
    assert forecasting.stage_seconds(done, job, Prices({})) == 0.0
    with pytest.raises(KeyError):
        forecasting.stage_seconds(replace(done, left=1.0), job, Prices({}))
