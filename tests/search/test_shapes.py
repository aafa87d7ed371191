"""Every shape is built, exported and timed before anything is trained."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import pkd
from conftest import recipe_values
from pkd import progress
from pkd.distillation.student import student_from
from pkd.errors import RecipeError, Stopped
from pkd.jobs.plan import RunPlan, plan_run
from pkd.jobs.word_counts import fitted_words
from pkd.jobs.workload import job_of_run
from pkd.recipe.reading import recipe_from
from pkd.recipe.settings import BudgetSettings
from pkd.reporting.front import Shape
from pkd.runs.seal import find_damage, partial_of, read_manifest
from pkd.search.random_graphs import bodies_of
from pkd.search.shapes import BUILD, LOOK, TIME, Shapes, measure_exports, shapes_stage
from pkd.search.time_left import TimeLeft
from pkd.search.timing import ROUNDS

STUDENTS = [
    {"layers": 1, "method": "kd"},
    {"layers": 1, "width": 0.5, "method": "kd"},
    {"layers": 2},
]
SPACE = ["L1", "L1-int8", "L1-w0.5", "L1-w0.5-int8", "L2", "L2-int8"]


class Listener(progress.Watcher):
    """Keeps the stages that ran, with the units of each, and stops after some of one."""

    def __init__(self, stop_in: str = "", after: int = 0) -> None:
        self.ran: list[str] = []
        self.units: dict[str, list[int]] = {}
        self.notes: list[str] = []
        self._stop_in, self._after = stop_in, after

    def stage_began(self, stage: progress.Stage) -> None:
        self.ran.append(stage.name)

    def stage_moved(self, stage: progress.Stage) -> None:
        self.units.setdefault(stage.name, []).append(stage.done)
        if stage.name == self._stop_in and stage.done == self._after:
            raise Stopped("stopped", 130)

    def noted(self, message: str, level: str) -> None:
        self.notes.append(message)


def plan_of(workspace: Path, output: Path, *students: dict[str, Any], **budget: Any) -> RunPlan:
    values = {**recipe_values(workspace, output), "students": list(students) or STUDENTS, "controls": False}
    output.mkdir(parents=True, exist_ok=True)
    return plan_run(recipe_from({**values, "budget": budget}, where="test"))


def measured(plan: RunPlan, listener: Listener) -> Shapes:
    with progress.watch(listener):
        return shapes_stage(plan, overwrite=False)


@pytest.fixture(scope="module")
def stopped_and_resumed(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPlan, Shapes, Listener]:
    """The shapes of a run whose first call was stopped while it built them, and the second while it timed them."""
    plan = plan_of(workspace, tmp_path_factory.mktemp("shapes") / "run", threads=1)
    with pytest.raises(Stopped):
        measured(plan, Listener(BUILD, 2))
    second = Listener(TIME, 3)
    with pytest.raises(Stopped):
        measured(plan, second)
    third = Listener()
    return plan, measured(plan, third), third


@pytest.mark.slow
def test_a_time_in_which_the_shapes_could_not_be_built_is_refused_and_what_is_built_is_kept(
    workspace: Path, tmp_path: Path
) -> None:
    plan = plan_of(workspace, tmp_path / "run", threads=1, time="1h")
    listener = Listener()
    clock = TimeLeft(job_of_run(plan), None, 61.0, time.monotonic())  # what follows the trainings takes 60
    with progress.watch(listener), pytest.raises(RecipeError, match=r"building the 2 shapes that are left .* is kept"):
        shapes_stage(plan, clock, overwrite=False)
    assert listener.units[BUILD] == [1]
    graphs = partial_of(plan.folder.shapes) / "graphs"
    (built,) = graphs.iterdir()
    before = built.stat().st_ino
    again = Listener(TIME, 1)
    with pytest.raises(Stopped):
        measured(plan, again)
    assert again.ran == [BUILD, TIME]
    assert built.stat().st_ino == before


def test_every_shape_has_figures_in_both_precisions_and_the_fastest_is_the_first(
    stopped_and_resumed: tuple[RunPlan, Shapes, Listener],
) -> None:
    _, shapes, _ = stopped_and_resumed
    assert sorted(each.shape.name for each in shapes.candidates) == SPACE
    latencies = [each.predicted.latency for each in shapes.candidates]
    assert [each.value for each in latencies] == sorted(each.value for each in latencies)
    for each in (*latencies, shapes.teacher):
        assert each.low is not None
        assert each.high is not None
        assert 0 < each.low <= each.value <= each.high
    assert not any(each.over or each.scores or each.stopped for each in shapes.candidates)


def test_a_stopped_call_loses_neither_graphs_nor_rounds(
    stopped_and_resumed: tuple[RunPlan, Shapes, Listener],
) -> None:
    plan, shapes, third = stopped_and_resumed
    assert third.units[TIME] == list(range(3, ROUNDS + 1))  # three rounds were there
    assert shapes.build_seconds > 0.1  # as an earlier call found; graphs that are there take no time
    manifest = read_manifest(plan.folder.shapes)
    assert manifest is not None
    assert find_damage(plan.folder.shapes, manifest, deep=True) == []
    assert not any(plan.folder.shapes.rglob("*.onnx"))  # only figures are kept


def test_another_budget_reads_the_figures_that_are_there(
    stopped_and_resumed: tuple[RunPlan, Shapes, Listener],
) -> None:
    plan, shapes, _ = stopped_and_resumed
    middle = f"{sorted(each.predicted.bytes for each in shapes.candidates)[3] + 1}B"
    smaller = plan.at(dataclasses.replace(plan.recipe, budget=BudgetSettings(threads=1, size=middle)))
    again = Listener()
    found = measured(smaller, again).candidates
    assert not {BUILD, LOOK, TIME} & set(again.ran)
    assert sum(bool(each.over) for each in found) == 2
    assert all("size" in told for each in found for told in each.over)
    assert [each.predicted for each in found] == [each.predicted for each in shapes.candidates]


def test_word_counts_are_timed_and_answer_the_development_rows(
    stopped_and_resumed: tuple[RunPlan, Shapes, Listener],
) -> None:
    plan, shapes, _ = stopped_and_resumed
    assert shapes.baseline is not None
    assert shapes.baseline.latency.value > 0
    fitted = fitted_words(plan.examples)
    assert fitted is not None
    texts = list(plan.examples.splits["eval"]["text"])
    np.testing.assert_allclose(shapes.baseline.logits, fitted.logits(texts))
    assert shapes.baseline.bytes == fitted.bytes > sum(map(len, fitted.features.vocabulary_))


@pytest.fixture(scope="module")
def exported(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of two layers, cut from the teacher, as `pkd export` writes it."""
    folder = tmp_path_factory.mktemp("exported")
    teacher = pkd.load_teacher(workspace / "teacher")
    student_from(teacher.model, 2).save_pretrained(folder / "student")
    teacher.tokenizer.model_max_length = 32
    teacher.tokenizer.save_pretrained(folder / "student")
    pkd.export(folder / "student", output=folder / "served", eval=workspace / "dev.csv")
    return folder / "served"


def test_a_graph_with_random_weights_is_that_of_the_real_export(
    stopped_and_resumed: tuple[RunPlan, Shapes, Listener], exported: Path, tmp_path: Path
) -> None:
    plan, shapes, _ = stopped_and_resumed
    body = next(each for each in bodies_of(plan) if each.shape.name == "L2")
    body.build(tmp_path / "L2")
    random, real = (onnx.load(folder / "onnx/model.onnx").graph for folder in (tmp_path / "L2/float32", exported))
    assert [node.op_type for node in random.node] == [node.op_type for node in real.node]
    assert [list(each.dims) for each in random.initializer] == [list(each.dims) for each in real.initializer]
    predicted = next(each.predicted for each in shapes.candidates if each.shape.name == "L2")
    size = sum(path.stat().st_size for path in exported.rglob("*") if path.is_file())
    assert size <= predicted.bytes <= size + 14_000


def test_exports_are_measured_as_whole_calls_and_in_batches_too(
    stopped_and_resumed: tuple[RunPlan, Shapes, Listener], exported: Path
) -> None:
    plan, _, _ = stopped_and_resumed
    found, again = measure_exports([exported, exported], plan)
    assert found.bytes == again.bytes == sum(path.stat().st_size for path in exported.rglob("*") if path.is_file())
    assert found.call is not None
    assert found.throughput is not None
    assert found.speed_up is not None
    assert found.batch in plan.recipe.budget.batch_sizes  # type: ignore[union-attr]


def test_an_impossible_latency_is_refused_once_the_smallest_shape_is_timed(workspace: Path, tmp_path: Path) -> None:
    plan, listener = plan_of(workspace, tmp_path / "run", latency="1us", threads=1), Listener()
    with pytest.raises(RecipeError, match=r"No shape keeps to latency\. The nearest is L1-w0\.5.*at most 0\.001 ms"):
        measured(plan, listener)
    assert listener.ran == [BUILD, LOOK]
    assert listener.units[BUILD] == [1]
    assert not plan.folder.shapes.exists()
    assert not partial_of(plan.folder.shapes).exists()


def test_an_impossible_size_is_refused_before_anything_is_built(workspace: Path, tmp_path: Path) -> None:
    plan, listener = plan_of(workspace, tmp_path / "run", size="2kB", threads=1), Listener()
    with pytest.raises(RecipeError, match=r"No shape keeps to size\. The nearest is L1-w0\.5-int8: size .*at most"):
        measured(plan, listener)
    assert listener.ran == []


def test_lengths_that_no_student_reads_are_refused(workspace: Path, tmp_path: Path) -> None:
    plan = plan_of(workspace, tmp_path / "run", lengths=[16, 33], threads=1)
    with pytest.raises(RecipeError, match="lengths is 33, but students read at most 32 word pieces here"):
        measured(plan, Listener())


def test_an_encoder_is_a_shape_with_its_own_tokenizer(workspace: Path, foreign_encoder: Path, tmp_path: Path) -> None:
    encoder = {"student": str(foreign_encoder), "layers": 2}
    plan = plan_of(workspace, tmp_path / "run", encoder, threads=1, lengths=[8])
    (body,) = bodies_of(plan)
    body.build(tmp_path / "graph")
    assert body.shape == Shape(layers=2, student=str(foreign_encoder))
    figures = measure_exports([tmp_path / "graph/int8"], plan)
    assert figures[0].latency.value > 0
    pieces = (tmp_path / "graph/int8/tokenizer.json").read_text(encoding="utf-8")
    assert "<mask>" in pieces
    assert "[MASK]" not in pieces


def test_more_cores_than_there_are_are_refused_before_anything_is_loaded(workspace: Path, tmp_path: Path) -> None:
    recipe = recipe_from({**recipe_values(workspace, tmp_path / "run"), "budget": {"threads": 100_000}}, where="test")
    with pytest.raises(RecipeError, match="threads is 100000, but this process may use 1 to"):
        pkd.check(recipe)
