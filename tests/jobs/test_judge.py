"""Judging: what stays in memory while many students are measured."""

from __future__ import annotations

import gc
import shutil
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

import pkd
from pkd.recipe.reading import recipe_from
from pkd.training import hardware


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many models that computed are in memory, each time one is moved to compute or back."""
    counts: list[int] = []
    models: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
    move = hardware.move_model

    def watched(model: Any, device: torch.device) -> Any:
        models.add(model)
        counts.append(len(models))
        return move(model, device)

    for module in [module for name, module in sys.modules.items() if name.startswith("pkd.")]:
        if hasattr(module, "move_model"):
            monkeypatch.setattr(module, "move_model", watched)
    return counts


def test_a_run_is_judged_with_one_student_in_memory_and_one_of_each_shape_while_they_are_timed(
    workspace: Path, tmp_path: Path, alive: list[int]
) -> None:
    given = {
        "output": str(tmp_path / "run"),
        "teacher": {"model": str(workspace / "teacher")},
        "data": {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32},
        "training": {"num_train_epochs": 1, "per_device_train_batch_size": 80, "precision": "float32"},
        "students": [{"layers": 2}, {"layers": 2, "start": "first"}, {"layers": 1, "method": "kd"}],
        "seeds": 2,
        "controls": False,
        "evaluation": {"resamples": 20},
    }
    first = pkd.run(recipe_from(given, where="test"))
    shutil.rmtree(first.folder / "predictions")
    (first.folder / "results.jsonl").unlink()
    gc.collect()  # a Trainer holds itself
    alive.clear()
    again = pkd.run(recipe_from(given, where="test"))
    assert [record.name for record in again.records if record.record == "model"][1::2] == [
        "pkd-skip-L2-spread", "pkd-skip-L2-first", "kd-L1-spread",
    ]  # fmt: skip
    timed = 3  # the teacher, and a student of each of two depths
    assert max(alive) == timed
    alive.clear()
    given["evaluation"]["measure_speed"] = False
    pkd.run(recipe_from(given, where="test"))
    assert max(alive, default=0) <= 2


def test_models_are_evaluated_one_after_the_other(workspace: Path, tmp_path: Path, alive: list[int]) -> None:
    folders = [tmp_path / f"copy-{number}" for number in range(4)]
    for folder in folders:
        shutil.copytree(workspace / "teacher", folder)
    records = pkd.evaluate(
        [str(folder) for folder in folders], test=str(workspace / "test.csv"), max_length=32, resamples=20
    )
    speeds = {record.rows_per_second for record in records if record.record == "model"}
    assert len(speeds) == 1  # all are of one shape: one of them was timed
    assert None not in speeds
    assert max(alive) == 1
