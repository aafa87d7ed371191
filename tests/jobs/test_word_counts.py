"""A teacher beside the word-count baseline: before anything is distilled, and wherever the run is told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import pkd
from conftest import make_teacher, make_tokenizer
from pkd import progress
from pkd.jobs import word_counts
from pkd.jobs.check import check
from pkd.jobs.distill import DistillResult
from pkd.jobs.word_counts import teacher_level
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import RunRecord, TeacherLevel
from pkd.reporting.teacher_level import level_sentence, under_trained
from pkd.runs.seal import read_manifest

SETTINGS: dict[str, Any] = {
    "num_train_epochs": 1, "method": "kd", "layers": 1, "device": "cpu", "max_length": 32, "resamples": 20,
    "measure_speed": False, "augment": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that says 'positive' to everything, as one does that was trained for a step or two."""
    folder = tmp_path_factory.mktemp("untrained")
    model = make_teacher(layers=2)
    with torch.no_grad():
        model.classifier.weight.mul_(1e-3)
        model.classifier.bias.copy_(torch.tensor([-5.0, 5.0]))
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


class InOrder(list[str], progress.Watcher):
    """What a job says, and the names of its stages as they begin."""

    def stage_began(self, stage: progress.Stage) -> None:
        self.append(stage.name)

    def noted(self, message: str, level: str) -> None:
        self.append(message)


def distil(teacher: Path, workspace: Path, output: Path) -> DistillResult:
    rows = {"train": workspace / "train.csv", "eval": workspace / "dev.csv", "test": workspace / "test.csv"}
    return pkd.distill(teacher=teacher, output=output, **rows, **SETTINGS)


def test_a_teacher_below_word_counts_is_named_before_its_students_are_trained_and_wherever_the_run_is_told_of(
    untrained: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = InOrder()
    with progress.watch(told):
        result = distil(untrained, workspace, tmp_path / "student")
    warned = next(number for number, line in enumerate(told) if line.startswith("The teacher is under-trained: it has"))
    assert warned < next(number for number, line in enumerate(told) if line.startswith("train kd-L1"))
    run = next(record for record in result.records if isinstance(record, RunRecord))
    level = run.teacher_level
    assert level is not None
    assert level.word_counts is not None
    assert level.score < level.word_counts
    assert (level.rows, level.word_count_rows, level.still_rising) == (60, 160, False)
    for page in (tmp_path / "student" / "README.md", result.report):
        text = " ".join(page.read_text().split())
        assert level_sentence(level) in text
        assert "The teacher is under-trained: it has accuracy" in text
    stage = read_manifest(result.work / "word-counts")
    assert stage is not None
    assert stage.facts == {"score": level.word_counts, "rows": 160}

    def twice(*_: Any) -> None:
        raise AssertionError("the baseline is measured once")

    monkeypatch.setattr(word_counts, "measure_word_counts", twice)
    assert distil(untrained, workspace, tmp_path / "student").records == result.records


def test_a_check_tells_both_numbers(untrained: Path, workspace: Path, tmp_path: Path) -> None:
    data = {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32}
    given = {"output": str(tmp_path / "run"), "teacher": {"model": str(untrained)}, "data": data, "device": "cpu"}
    told = str(check(recipe_from({**given, "students": [{"method": "kd", "layers": 1}]}, where="test")))
    assert "the word-count baseline (TF-IDF of one and two words, a linear model) accuracy" in told
    assert "The teacher is under-trained: it has accuracy" in told


def test_a_teacher_is_still_rising_where_its_last_epoch_is_best_by_more_than_chance() -> None:
    def rising(*scores: float, rows: int = 1_000) -> bool:
        history = [{"eval_accuracy": score} for score in scores]
        return teacher_level("accuracy", scores[-1], rows, {"score": None, "rows": 0}, history).still_rising

    assert rising(0.60, 0.70, 0.76)
    assert not rising(0.60, 0.75, 0.76)  # one point of a thousand rows may be chance
    assert not rising(0.60, 0.70, 0.76, rows=50)
    assert not rising(0.70, 0.76, 0.60)
    assert not rising(0.76)


def test_nothing_is_said_of_a_teacher_above_word_counts_or_beside_none() -> None:
    level = TeacherLevel(metric="accuracy", score=0.9, rows=100, word_counts=0.8)
    assert under_trained(level) == ""
    assert under_trained(level.model_copy(update={"word_counts": None})) == ""
    assert level_sentence(level.model_copy(update={"word_counts": None})) == (
        "On 100 development rows the teacher has accuracy 90.0 %."
    )
    both = under_trained(level.model_copy(update={"word_counts": 0.95, "still_rising": True}))
    assert "reaches accuracy 95.0 %, and its development score was still rising at its last epoch. Train it" in both
