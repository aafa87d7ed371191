"""Patience between unequal widths: the map learns, is resumed to the bit, and is gone from the saved student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

from conftest import make_teacher, make_tokenizer, stop_at_step
from pkd import progress
from pkd.distillation.projection import add_projection, drop_projection, projected
from pkd.errors import Stopped
from pkd.jobs.run import run
from pkd.recipe.reading import recipe_from
from pkd.runs.fingerprint import sha256_of_file


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An encoder of half the teacher's width with the teacher's tokenizer."""
    folder = tmp_path_factory.mktemp("narrow") / "encoder"
    torch.manual_seed(3)
    config = BertConfig(vocab_size=31, hidden_size=8, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
                        max_position_embeddings=64)  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return str(folder)


def recipe(workspace: Path, output: Path, narrow: str, **student: Any) -> Any:
    given = {
        "output": str(output),
        "teacher": {"model": str(workspace / "teacher")},
        "data": {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32},
        "training": {"num_train_epochs": 3, "learning_rate": 1e-3, "device": "cpu", "precision": "float32"},
        "evaluation": {"resamples": 50, "measure_speed": False},
        "controls": False,
        "students": [{"layers": 3, "student": narrow, **student}],
    }
    return recipe_from(given, where="test")


def test_states_go_through_the_map_and_gradients_reach_it() -> None:
    student = make_teacher(layers=2)
    states = torch.randn(5, 3, 16, requires_grad=True)
    assert projected(student, states) is states
    add_projection(student, 24, seed=1)
    add = dict(student.named_parameters())["patience_projection.weight"]
    mapped = projected(student, states)
    assert mapped.shape == (5, 3, 24)
    torch.testing.assert_close(mapped, states @ add.T)
    mapped.sum().backward()
    assert add.grad is not None
    drop_projection(student)
    assert all("projection" not in name for name in student.state_dict())


def test_the_map_is_drawn_from_the_seed_alone_and_no_draw_of_others_moves() -> None:
    one, other = make_teacher(), make_teacher()
    torch.manual_seed(5)
    add_projection(one, 24, seed=1)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    add_projection(other, 24, seed=1)
    assert torch.equal(one.patience_projection.weight, other.patience_projection.weight)  # type: ignore[union-attr]


def test_a_student_of_another_width_learns_patiently_and_is_saved_without_the_map(
    workspace: Path, tmp_path: Path, narrow: str
) -> None:
    done = run(recipe(workspace, tmp_path, narrow))
    student = next(record for record in done.records if getattr(record, "role", "") == "student")
    folder = tmp_path / student.folder  # type: ignore[union-attr]
    losses = [line["loss/pt"] for line in student.history if "loss/pt" in line]  # type: ignore[union-attr]
    assert losses[-1] < losses[0]
    assert not [name for name in load_file(folder / "model.safetensors") if "projection" in name]
    assert BertForSequenceClassification.from_pretrained(folder).config.hidden_size == 8


def test_a_stopped_training_goes_on_to_the_same_bits_with_its_map(
    workspace: Path, tmp_path: Path, narrow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe(workspace, tmp_path / "whole", narrow))
    stop_at_step(monkeypatch, 7)  # in the second epoch of five steps each
    with pytest.raises(Stopped):
        run(recipe(workspace, tmp_path / "stopped", narrow))
    progress.clear_stop()
    saved = sorted((tmp_path / "stopped").glob("students/*.partial/checkpoint-*/model.safetensors"))
    assert any("patience_projection.weight" in load_file(path) for path in saved)
    run(recipe(workspace, tmp_path / "stopped", narrow))
    weights = [next((tmp_path / name / "students").glob("*/model.safetensors")) for name in ("whole", "stopped")]
    assert sha256_of_file(weights[0]) == sha256_of_file(weights[1])
