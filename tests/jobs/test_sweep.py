"""Sweeps on a real local Ray: each point is trained once, whatever dies, and the best is not believed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from conftest import recipe_values
from pkd.errors import RecipeError, ResourceError
from pkd.jobs.cluster import ray_started, require_ray
from pkd.jobs.run import run
from pkd.jobs.sweep import SweepResult, sweep
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import ModelRecord
from pkd.reporting.trials import TrialRecord, read_trials
from pkd.runs.seal import read_manifest
from warm import Process, start

CHECKPOINTS = "*.partial/checkpoint-*/manifest.json"
GRID = {"beta": [0, 100], "temperature": [1, 10], "learning_rate": [1e-3, 1e6]}
TRAINING = {"num_train_epochs": 2, "learning_rate": 1e-3, "device": "cpu", "precision": "float32"}


def values(workspace: Path, output: Path, **more: Any) -> dict[str, Any]:
    return {
        **recipe_values(workspace, output),
        "students": [{"layers": 2}],
        "transfer": {"augment": 1},
        "controls": False,
        "training": TRAINING,
        "evaluation": {"resamples": 100, "measure_speed": False},
        **more,
    }


def command(folder: Path, given: dict[str, Any], *arguments: str, **environment: str) -> Process:
    """`pkd sweep` as a process of its own, in a session of its own, as a shell starts it."""
    recipe = folder / "recipe.yaml"
    with recipe.open("w", encoding="utf-8") as file:
        YAML().dump(given, file)
    return start("sweep", recipe, *arguments, merged=True, **environment)


def sealed(run_folder: Path) -> dict[str, int]:
    """The trials that are complete, each with the time of its seal."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (run_folder / "trials").glob("*/manifest.json")
            if not path.parent.name.endswith(".partial")}  # fmt: skip


def wait_until(condition: Any, process: Process, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def wait_until_ended(session: int) -> None:
    """Wait until the processes of a session are gone."""
    deadline = time.monotonic() + 240
    while subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True).stdout.strip():
        assert time.monotonic() < deadline, "they go on"
        time.sleep(0.1)


def ray_is_running() -> bool:
    import ray

    return bool(ray.is_initialized())


@dataclass(frozen=True)
class Swept:
    """What was swept in this process, on one Ray."""

    whole: SweepResult
    asha: SweepResult
    asha_again: SweepResult
    widths: SweepResult
    untouched: bool  # whether the second asha left the trials of the first as they were


@pytest.fixture(scope="module")
def swept(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Sweeps of a whole grid, of widths, and with early stopping, twice: they share a Ray, as in a process that has one."""
    folder = tmp_path_factory.mktemp("sweeps")
    whole = values(workspace, folder / "whole", sweep={"keys": GRID, "best_seeds": 2})
    rates = [1e-3, 2e-3, 5e-4, 1e-7, 1e-8, 1e-9]
    options = {"keys": {"learning_rate": rates}, "early_stopping": "asha", "best_seeds": 2}
    asha = values(workspace, folder / "asha", sweep=options, training={**TRAINING, "num_train_epochs": 4})
    keys = {"students.0.width": [0.5, 1.0]}
    widths = values(workspace, folder / "widths", sweep={"keys": keys, "best_seeds": 2}, transfer={"augment": 0})
    require_ray()
    with ray_started():
        found = sweep(recipe_from(whole, where="test"))
        narrow = sweep(recipe_from(widths, where="test"))
        early = sweep(recipe_from(asha, where="test"))
        assert ray_is_running()  # it was there before
    before = sealed(early.folder)
    again = sweep(recipe_from(asha, where="test"))
    assert not ray_is_running()
    return Swept(found, early, again, narrow, sealed(early.folder) == before)


@pytest.fixture(scope="module")
def finished(swept: Swept) -> SweepResult:
    return swept.whole


@pytest.mark.slow
def test_every_point_is_a_line_and_the_best_leads(finished: SweepResult) -> None:
    lines = read_trials(finished.folder)
    assert len(lines) == 8
    assert {json.dumps(line.point) for line in lines} == {json.dumps(trial.point) for trial in finished.trials}
    done = [line for line in lines if line.status == "done"]
    assert finished.best.score == max(line.score for line in done if line.score is not None)
    assert all(len(line.epochs) == 2 and line.score == max(line.epochs) for line in done)
    assert all((finished.folder / line.folder / "manifest.json").is_file() for line in done)
    assert not list((finished.folder / "trials").rglob("*.safetensors"))  # the scores are kept, not the weights
    assert not (finished.folder / ".ray").exists()


@pytest.mark.slow
def test_a_trial_is_what_a_run_at_its_point_gives(finished: SweepResult, workspace: Path, tmp_path: Path) -> None:
    trial = next(one for one in finished.trials if one.status == "done" and one.point["students.0.beta"] == 100)
    given = values(workspace, tmp_path / "run")
    given["students"] = [{"layers": 2, "beta": 100, "temperature": trial.point["students.0.temperature"]}]
    given["training"] = {**TRAINING, "learning_rate": trial.point["training.learning_rate"]}
    student = next(record for record in run(recipe_from(given, where="test")).records
                   if isinstance(record, ModelRecord) and record.role == "student")  # fmt: skip
    assert student.selection["score"] == trial.score
    assert [entry["eval_accuracy"] for entry in student.history if "eval_accuracy" in entry] == trial.epochs


@pytest.mark.slow
def test_the_best_is_trained_again_with_fresh_seeds_and_that_is_said(finished: SweepResult) -> None:
    students = [record for record in finished.records if isinstance(record, ModelRecord) and record.role == "student"]
    assert [student.seed for student in students] == [43, 44]  # 42 chose the point
    assert all(student.settings["beta"] == finished.best.point["students.0.beta"] for student in students)
    told = " ".join(finished.sentences)
    assert "partly luck" in told
    assert "2 fresh seeds" in told
    assert "95 % interval over seeds" in told
    assert "On 60 held-out rows it has" in told
    page = finished.report.read_text(encoding="utf-8")
    assert "The sweep" in page
    assert "beta × temperature" in page


@pytest.mark.slow
def test_the_same_sweep_again_trains_nothing_and_needs_no_ray(
    finished: SweepResult, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sealed(finished.folder)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody answers there
    again = sweep(recipe_from(values(workspace, finished.folder, sweep={"keys": GRID, "best_seeds": 2}), where="test"))
    assert sealed(finished.folder) == before
    assert again.trials == finished.trials


@pytest.mark.slow
def test_a_sweep_of_12_points_that_is_stopped_killed_and_stopped_again_trains_each_point_once(
    workspace: Path, tmp_path: Path
) -> None:
    run_folder = tmp_path / "run"
    keys = {"beta": [0, 10, 100], "alpha": [0.3, 0.7], "temperature": [5, 10]}
    given = values(workspace, run_folder, sweep={"keys": keys, "best_seeds": 2})
    given["training"] = {**TRAINING, "num_train_epochs": 6}
    first = command(tmp_path, given)
    wait_until(lambda: len(sealed(run_folder)) >= 2 and list(run_folder.glob(f"trials/{CHECKPOINTS}")), first)
    first.send_signal(signal.SIGTERM)
    told, _ = first.communicate(timeout=120)
    assert first.returncode == 75, told
    assert "of 12 points, and the checkpoints of those under way, are saved. The same command again goes on" in told
    assert re.search(r"sweep: stopped after \d", told)
    assert all(line.status == "done" for line in read_trials(run_folder))
    stopped = sealed(run_folder)
    assert 2 <= len(stopped) < 10

    second = command(tmp_path, given)
    wait_until(lambda: len(sealed(run_folder)) >= 6, second)
    second.kill()
    second.wait()
    wait_until_ended(second.pid)  # Ray's processes notice; what they seal meanwhile counts
    killed = sealed(run_folder)
    assert 6 <= len(killed) < 12
    assert {name: killed[name] for name in stopped} == stopped  # not touched again

    third = command(tmp_path, given, "--resume")
    wait_until(lambda: list(run_folder.glob(f"students/{CHECKPOINTS}")), third)
    third.send_signal(signal.SIGTERM)  # Ray has ended by then, and with it its handlers of signals
    told, _ = third.communicate(timeout=120)
    assert third.returncode == 75, told
    assert f"{len(killed)} of 12 points are trained already" in told
    assert "pkd: Stopped as asked; " in told.splitlines()[-1]
    assert "The same command again goes on from there." in told.splitlines()[-1]
    assert re.search(r"train pkd-skip-L2-spread seed 43: stopped after \d", told)
    whole = sealed(run_folder)
    assert len(whole) == 12
    assert {name: whole[name] for name in killed} == killed

    fourth = command(tmp_path, given)
    told, _ = fourth.communicate(timeout=400)
    assert fourth.returncode == 0, told
    assert "The best of 12 points" in told
    assert "starting Ray" not in told
    assert sealed(run_folder) == whole
    lines = read_trials(run_folder)
    assert len({line.folder for line in lines}) == len(lines) == 12
    assert all(line.status == "done" and len(line.epochs) == 6 for line in lines)
    assert not list(run_folder.glob("trials/*.stale-*"))


@pytest.mark.slow
def test_asha_ends_the_worst_early_and_a_resume_leaves_them_ended(swept: Swept) -> None:
    stopped = [trial for trial in swept.asha.trials if trial.status == "stopped"]
    assert stopped
    assert swept.asha.best.status == "done"
    assert all(len(trial.epochs) < 4 for trial in stopped)
    assert swept.asha_again.trials == swept.asha.trials
    assert swept.untouched


@pytest.mark.slow
def test_widths_are_tried_by_one_ranking_of_the_teachers_neurons(swept: Swept) -> None:
    assert sorted(trial.point["students.0.width"] for trial in swept.widths.trials) == [0.5, 1.0]
    students = [each for each in swept.widths.records if isinstance(each, ModelRecord) and each.role == "student"]
    assert {student.width for student in students} == {swept.widths.best.point["students.0.width"]}
    ranking = read_manifest(swept.widths.folder / "importance")
    assert ranking is not None
    assert ranking.facts["neurons"] == 32


@pytest.mark.slow
def test_a_node_that_dies_costs_no_point(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_health_check_period_ms", "1000")  # a node that is gone is noticed sooner
    monkeypatch.setenv("RAY_worker_niceness", "0")

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        other = cluster.add_node(num_cpus=1)
        keys = {"beta": [0, 10, 100, 500]}
        given = values(workspace, tmp_path / "run", sweep={"keys": keys, "best_seeds": 2})
        given["training"] = {**TRAINING, "num_train_epochs": 20}
        process = command(tmp_path, given, RAY_ADDRESS=cluster.address)

        def both_train() -> bool:
            return len(list((tmp_path / "run" / "trials").glob(CHECKPOINTS))) >= 4

        wait_until(both_train, process)
        before = sealed(tmp_path / "run")
        cluster.remove_node(other, allow_graceful=False)
        told, _ = process.communicate(timeout=400)
        assert process.returncode == 0, told
    finally:
        cluster.shutdown()
    lines = read_trials(tmp_path / "run")
    assert len(lines) == 4
    assert all(line.status == "done" and len(line.epochs) == 20 for line in lines)
    assert max(line.retries for line in lines) >= 1
    after = sealed(tmp_path / "run")
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sweep": None}, "sweep is missing"),
        ({"data": {"train": "train.csv", "test": "test.csv"}}, "eval is missing"),
    ],
)
def test_what_a_sweep_needs_is_told(workspace: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    given = values(workspace, tmp_path / "run", **{"sweep": {"keys": {"beta": [1, 2]}}, **change})
    with pytest.raises(RecipeError, match=words):
        sweep(recipe_from(given, where="test"))


def test_run_refuses_a_recipe_with_a_sweep(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", sweep={"grid": "published"})
    with pytest.raises(RecipeError, match="pkd sweep"):
        run(recipe_from(given, where="test"))
    assert not (tmp_path / "run").exists()


def test_a_point_that_does_not_fit_the_teacher_is_refused_before_anything_is_trained(
    workspace: Path, tmp_path: Path
) -> None:
    given = values(workspace, tmp_path / "run", sweep={"keys": {"layers": [2, 9]}})
    with pytest.raises(RecipeError, match="9"):
        sweep(recipe_from(given, where="test"))
    assert not (tmp_path / "run" / "annotated").exists()


def test_a_cluster_that_does_not_answer_is_told_at_once(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    given = values(workspace, tmp_path / "run", sweep={"keys": {"beta": [1, 2]}})
    began = time.monotonic()
    with pytest.raises(ResourceError, match="no Ray cluster answers"):
        sweep(recipe_from(given, where="test"))
    assert time.monotonic() - began < 60


def test_two_readings_of_a_record_agree() -> None:
    line = TrialRecord(point={"students.0.beta": 10.0}, folder="trials/a", status="done", metric="mcc", fingerprint="f")
    assert TrialRecord(**json.loads(line.model_dump_json())) == line
