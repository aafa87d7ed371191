"""`width: 0.5` in a run: neurons ranked once, narrow students of every depth and start, and what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

import pkd
from conftest import recipe_values
from pkd import progress
from pkd.cli.main import main
from pkd.errors import RecipeError
from pkd.jobs.importance import read_importance
from pkd.jobs.run import RunResult
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import ComparisonRecord, ModelRecord
from pkd.runs.seal import Manifest, read_manifest

TRAINING = {"num_train_epochs": 1, "learning_rate": 1e-3, "precision": "float32", "per_device_train_batch_size": 20}
STUDENTS = [{"layers": 4, "width": 0.5}, {"layers": 2, "width": 0.5}, {"layers": 2}]
RANKING = "rank the teacher's neurons"


class Listener(progress.Watcher):
    """Keeps the stages that were planned and those that ran, and what was said."""

    def __init__(self) -> None:
        self.plan: list[str] = []
        self.ran: list[str] = []
        self.notes: list[str] = []

    def planned(self, stages: Any) -> None:
        self.plan = [name for name, share in stages if share]

    def stage_began(self, stage: progress.Stage) -> None:
        self.ran.append(stage.name)

    def noted(self, message: str, level: str) -> None:
        self.notes.append(message)


def values(workspace: Path, output: Path, *students: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        **recipe_values(workspace, output),
        "device": "cpu",
        "training": TRAINING,
        "students": list(students) or STUDENTS,
        "controls": False,
        "evaluation": {"resamples": 20, "measure_speed": False},
        **more,
    }


def go(given: dict[str, Any], listener: Listener | None = None) -> RunResult:
    with progress.watch(listener or Listener()):
        return pkd.run(recipe_from(given, where="test"))


def sealed(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


@pytest.fixture(scope="module")
def narrow(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, Listener]:
    """A run of two narrow students, one of them of all layers, and a wide one, with their controls."""
    listener = Listener()
    return go(values(workspace, tmp_path_factory.mktemp("narrow") / "run", controls=True), listener), listener


def students_of(result: RunResult, role: str = "student") -> list[ModelRecord]:
    return [record for record in result.records if isinstance(record, ModelRecord) and record.role == role]


def test_the_teachers_neurons_are_ranked_once_for_all_of_them(narrow: tuple[RunResult, Listener]) -> None:
    result, listener = narrow
    assert listener.plan.count(RANKING) == 1
    assert listener.ran.count(RANKING) == 1
    manifest = sealed(result.folder / "importance")
    assert manifest.facts == {"layers": 4, "neurons": 32, "rows": 160}
    assert manifest.kind == "importance"
    importance = read_importance(result.folder / "importance")
    assert importance.shape == (4, 32)
    assert (importance > 0).any()
    verified = pkd.verify(result.folder)
    assert not verified.damage
    assert "importance" in [sealed.kind for sealed in verified.sealed]


def test_two_students_never_share_a_name_and_tables_tell_their_widths(narrow: tuple[RunResult, Listener]) -> None:
    result, _ = narrow
    widths = {record.name: record.width for record in students_of(result)}
    assert widths == {"pkd-skip-L4-w0.5-spread": 0.5, "pkd-skip-L2-w0.5-spread": 0.5, "pkd-skip-L2-spread": 1.0}
    controls = {record.name: record.width for record in students_of(result, "control")}
    assert controls == {
        f"{method}-{depth}-spread": width
        for method in ("kd", "ft")
        for depth, width in (("L4-w0.5", 0.5), ("L2-w0.5", 0.5), ("L2", 1.0))
    }
    parameters = {record.name: record.parameters for record in students_of(result)}
    assert parameters["pkd-skip-L2-spread"] - parameters["pkd-skip-L2-w0.5-spread"] == 2 * 16 * (16 + 1 + 16)
    asked = [each.question for each in result.records if isinstance(each, ComparisonRecord)]
    assert asked.count("width 0.5 against 1") >= 1
    assert "2, width 0.5" in result.report.read_text()
    card = (result.folder / "students" / "pkd-skip-L4-w0.5-spread-seed42" / "README.md").read_text()
    assert "of 4 layers, each with 50 % of its teacher's feed-forward neurons, and" in card
    assert "| 4, width 0.5 |" in card


def test_a_student_as_deep_as_its_teacher_learns_layer_from_layer(narrow: tuple[RunResult, Listener]) -> None:
    result, _ = narrow
    deep = next(record for record in students_of(result) if record.layers == 4)
    assert deep.layer_map == [(1, 1), (2, 2), (3, 3)]
    shares = {term.name: term.share for term in deep.terms}
    assert shares["pt"] == pytest.approx(0.1, abs=0.01)  # states differ as it starts, so patience has its share


def test_a_narrow_student_is_an_ordinary_folder(narrow: tuple[RunResult, Listener]) -> None:
    result, _ = narrow
    folder = result.folder / "students" / "pkd-skip-L2-w0.5-spread-seed42"
    config = json.loads((folder / "config.json").read_text())
    assert (config["intermediate_size"], config["num_hidden_layers"]) == (16, 2)
    _, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    said = pipeline("text-classification", model=str(folder))("a great film")[0]
    [own] = pkd.Classifier.load(folder)(["a great film"])
    assert own.label == said["label"]
    assert own.probabilities[own.label] == pytest.approx(said["score"], abs=1e-5)


@pytest.mark.slow
def test_it_is_exported_measured_and_timed_as_any_other(
    narrow: tuple[RunResult, Listener], workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = narrow[0].folder / "students" / "pkd-skip-L2-w0.5-spread-seed42"
    served, dev = tmp_path / "served", workspace / "dev.csv"
    given = ["--int8", "--max-drop", "0.5", "--min-agreement", "0.1", "--eval", str(dev), "--output", str(served)]
    assert main(["export", str(folder), *given]) == 0
    capsys.readouterr()
    assert main(["predict", str(served), "a great film"]) == 0
    label = capsys.readouterr().out.split("\t")[0]
    assert label in ("positive", "negative")
    models = [str(folder), str(served)]
    assert main(["speed", *models, "--test", str(dev), "--rounds", "1", "--threads", "1", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = {line["name"]: line for line in lines if "layer_parameters" in line}
    assert told[folder.name]["layer_parameters"] == told["served"]["layer_parameters"]
    assert told["served"]["layers"] == 2


def test_a_narrow_student_learns_by_hand(workspace: Path, tmp_path: Path) -> None:
    loaded = pkd.load_teacher(workspace / "teacher")
    data = pkd.load_data(train=workspace / "train.csv", eval=workspace / "dev.csv", teacher=loaded.model)
    layer_map = pkd.LayerMap.skip(teacher_layers=4, student_layers=4)
    rows = data["train"].select(range(40))
    train = pkd.annotate(
        rows, loaded.model, loaded.tokenizer, teacher_layers=layer_map.teacher, output=tmp_path / "rows", max_length=32
    )
    importance = pkd.neuron_importance(loaded.model, train, loaded.tokenizer)
    student = pkd.student_from(loaded.model, layers=4, width=0.5, importance=importance)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    trainer = pkd.PatientTrainer(
        model=student,
        layer_map=layer_map,
        train_dataset=train,
        processing_class=loaded.tokenizer,
        args=pkd.PatientTrainingArguments(
            str(tmp_path / "out"), max_steps=2, patience=0.1, use_cpu=True, report_to="none", save_strategy="no"
        ),
    )
    trainer.train()
    inner = "bert.encoder.layer.0.intermediate.dense.weight"
    assert student.state_dict()[inner].shape == (16, 16)
    assert not torch.equal(student.state_dict()[inner], before[inner])
    trainer.save_model(tmp_path / "student")
    assert pkd.Classifier.load(tmp_path / "student")(["a great film"])[0].label in ("negative", "positive")


def test_another_width_reuses_the_ranking_and_what_is_done_is_kept(workspace: Path, tmp_path: Path) -> None:
    first, again = Listener(), Listener()
    go(values(workspace, tmp_path / "run", {"layers": 2, "width": 0.5, "method": "ft"}), first)
    student = tmp_path / "run" / "students" / "ft-L2-w0.5-spread-seed42"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "importance").iterdir()}
    weights = (student / "model.safetensors").read_bytes()
    more = [{"layers": 2, "width": width, "method": "ft"} for width in (0.5, 0.25)]
    go(values(workspace, tmp_path / "run", *more, seeds=2), again)
    assert RANKING in first.ran
    assert RANKING not in [*again.plan, *again.ran]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "importance").iterdir()} == before
    assert "train ft-L2-w0.5-spread seed 42" not in again.ran
    assert (student / "model.safetensors").read_bytes() == weights
    config = json.loads((tmp_path / "run" / "students" / "ft-L2-w0.25-spread-seed43" / "config.json").read_text())
    assert config["intermediate_size"] == 8


def test_a_ranking_that_is_damaged_is_measured_again_to_the_same_bits(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", {"layers": 2, "width": 0.5, "method": "ft"})
    go(given)
    file = tmp_path / "run" / "importance" / "importance.npy"
    before = file.read_bytes()
    file.write_bytes(before[:-8] + b"\0" * 8)
    again = Listener()
    go(given, again)
    assert file.read_bytes() == before
    assert RANKING in again.ran
    assert "train ft-L2-w0.5-spread seed 42" not in again.ran  # its neurons are the same


def test_its_starts_race(workspace: Path, tmp_path: Path) -> None:
    raced = Listener()
    given = values(workspace, tmp_path / "raced", {"layers": 2, "width": 0.5, "start": "auto"})
    [student] = students_of(go(given, raced))
    assert student.race is not None
    assert student.width == 0.5
    assert raced.ran.count(RANKING) == 1


def test_check_tells_what_a_narrow_student_keeps_and_what_ranking_costs(workspace: Path, tmp_path: Path) -> None:
    result = pkd.check(recipe_from(values(workspace, tmp_path / "run"), where="test"))
    told = str(result)
    assert "teacher layers 1, 2, 3, 4 with 50 % of their feed-forward neurons, the most important ones." in told
    assert result.students[0].width == 0.5
    assert result.forecast is not None
    assert "ranking its neurons" in [part.name for part in result.forecast.parts]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("width", [0, -0.5, 1.5, "half", "nan", None, True])
def test_a_width_that_is_no_share_is_refused_by_the_recipe(workspace: Path, tmp_path: Path, width: Any) -> None:
    with pytest.raises(RecipeError, match=r"students\.0\.width is"):
        recipe_from(values(workspace, tmp_path, {"layers": 2, "width": width}), where="test")


def test_another_encoder_has_no_width(workspace: Path, tmp_path: Path) -> None:
    student = {"layers": 2, "width": 0.5, "student": str(workspace / "teacher")}
    with pytest.raises(RecipeError, match=r"students\.0\.width is 0\.5, a share of the teacher's neurons, but"):
        recipe_from(values(workspace, tmp_path, student), where="test")


def test_unlabelled_rows_rank_neurons_by_the_teachers_answer(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", {"layers": 2, "width": 0.5, "method": "kd"})
    given["data"]["unlabelled"] = [str(workspace / "unlabelled.txt")]
    go(given)
    manifest = sealed(tmp_path / "run" / "importance")
    assert manifest.facts["rows"] == 200
    assert set(manifest.inputs["answers"]) == {"train", "unlabelled"}
    assert np.isfinite(read_importance(tmp_path / "run" / "importance")).all()
