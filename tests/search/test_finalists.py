"""The finalists of a search: what the time leaves of them, and of their exports."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pkd
from conftest import make_reviews, recipe_values
from pkd.jobs.run import Prepared, planned, taught, with_teachers
from pkd.jobs.verify import verify
from pkd.jobs.workload import job_of_run
from pkd.recipe.reading import recipe_from
from pkd.reporting.front import REFUSED_EXPORT, Candidate, Figures, Shape
from pkd.reporting.results import Score
from pkd.runs.folder import RunFolder
from pkd.runs.stage import run_stage
from pkd.search.finalists import REFUSED, Finalist, train_finalists, with_left_out, with_refusals
from pkd.search.time_left import TimeLeft


def candidate(layers: int, precision: Any, stopped: str = "") -> Candidate:
    one = Score(value=1.0)
    figures = Figures(latency=one, p95=one, bytes=1000)
    return Candidate(shape=Shape(layers=layers, precision=precision), predicted=figures, stopped=stopped)


def test_a_finalists_precision_that_its_gate_refused_is_told_apart_from_what_the_heats_stopped(tmp_path: Path) -> None:
    plan: Any = SimpleNamespace(folder=RunFolder(tmp_path))
    candidates = [candidate(3, "float32"), candidate(3, "int8"), candidate(2, "int8", "dominated by L3")]
    run_stage(plan.folder.export("L3-int8"), REFUSED, {}, lambda partial: {"why": "too many answers"}, overwrite=False)
    assert [one.stopped for one in with_refusals(plan, candidates)] == ["", REFUSED_EXPORT, "dominated by L3"]


def test_what_the_heats_let_go_on_and_the_time_left_out_is_told_apart_from_what_is_over_the_budget() -> None:
    over = candidate(2, "float32").model_copy(update={"over": ["size"]})
    candidates = [candidate(3, "int8"), candidate(2, "int8"), over, candidate(1, "int8", "dominated by L3")]
    done: Any = SimpleNamespace(shape=Shape(layers=3))
    told = with_left_out(candidates, [Shape(layers=3), Shape(layers=2)], [done])
    assert [one.stopped for one in told] == ["", "not trained in full", "", "dominated by L3"]


def prepared_in(workspace: Path, output: Path) -> Prepared:
    values = {
        **recipe_values(workspace, output),
        "students": [{"layers": 2}],
        "controls": False,
        "training": {"num_train_epochs": 12},
        "transfer": {"augment": 0},
        "seeds": 2,
        "budget": {},
    }
    plan, levels, _ = with_teachers(planned(recipe_from(values, where="test"), overwrite=False), overwrite=False)
    return taught(plan, levels, overwrite=False)


def finalist_of(prepared: Prepared, seconds: float | None) -> Finalist:
    clock = TimeLeft(job_of_run(prepared.plan), None, seconds, time.monotonic())
    (finalist,) = train_finalists(prepared, [Shape(layers=2)], clock, overwrite=False)
    return finalist


@pytest.mark.slow
def test_a_training_that_the_time_ends_is_a_student_all_the_same_and_goes_on_later(
    workspace: Path, tmp_path: Path
) -> None:
    prepared = prepared_in(workspace, tmp_path / "run")
    so_far = finalist_of(prepared, seconds=0.0)
    facts, folder = so_far.best.done.manifest.facts, so_far.best.done.folder
    assert folder.name == "pkd-skip-L2-spread-seed42-so-far"
    assert 1 <= facts["epochs_done"] < facts["epochs"] == 12
    reviews = make_reviews(60, seed=2)
    answers = pkd.predict(folder, [text for text, _ in reviews])
    right = sum(answer.label == label for answer, (_, label) in zip(answers, reviews, strict=True))
    assert right / len(reviews) == pytest.approx(facts["selection"]["score"])
    assert not verify(tmp_path / "run").damage

    whole = finalist_of(prepared, seconds=None)
    assert [each.done.status for each in whole.trained] == ["resumed", "made"]
    history = whole.trained[0].done.manifest.facts["history"]
    assert len(history) > len(facts["history"])
    assert history[: len(facts["history"])] == facts["history"]

    again = finalist_of(prepared, seconds=0.0)  # nothing is left to be ended
    assert [each.done.folder.name for each in again.trained] == [
        "pkd-skip-L2-spread-seed42",
        "pkd-skip-L2-spread-seed43",
    ]


@pytest.mark.slow
def test_where_the_time_ends_a_later_seed_the_seeds_that_are_whole_are_taken(workspace: Path, tmp_path: Path) -> None:
    prepared = prepared_in(workspace, tmp_path / "run")
    finalist_of(prepared.at(replace(prepared.plan.recipe, seeds=1)), seconds=None)
    finalist = finalist_of(prepared, seconds=0.0)
    assert [each.done.folder.name for each in finalist.trained] == ["pkd-skip-L2-spread-seed42"]
