"""What `auto` stands for: a teacher's rate and epochs follow from rows, outputs and width, a student's are fixed."""

from __future__ import annotations

from typing import Any

import pytest

from pkd.recipe.settings import Effort, TrainingSettings, TransferSettings
from pkd.training.schedule import (
    averaging_of,
    epochs_of,
    patience_of,
    steps_an_epoch,
    student_schedule,
    teacher_schedule,
    variants_of,
)


def chosen(rows: int = 5_000, outputs: int = 2, width: int = 384, **given: Any) -> TrainingSettings:
    return teacher_schedule(TrainingSettings(**given), rows=rows, outputs=outputs, width=width)


def test_many_classes_are_learned_at_twice_the_rate_and_a_wide_encoder_at_a_lower_one() -> None:
    rates = [chosen(outputs=outputs).learning_rate for outputs in (1, 2, 19, 20, 150)]
    assert rates == [1e-4, 1e-4, 1e-4, 2e-4, 2e-4]
    assert [chosen(width=width).learning_rate for width in (768, 1024, 4096, 312, 16)] == pytest.approx(
        [5e-5, 3.75e-5, 2.5e-5, 1.23e-4, 2e-4], rel=1e-2
    )


@pytest.mark.parametrize(
    ("rows", "epochs", "patience"),
    [(5_000, 10, 4), (100, 100, 40), (1_280, 10, 4), (19_200, 10, 4), (38_400, 5, 3), (400_000, 4, 3)],
)
def test_small_sets_get_enough_steps_and_large_ones_no_more_passes_than_they_need(
    rows: int, epochs: int, patience: int
) -> None:
    settled = chosen(rows)
    assert (settled.num_train_epochs, settled.early_stopping_patience) == (epochs, patience)
    assert 400 <= epochs * steps_an_epoch(rows, settled) <= max(6_000, 4 * steps_an_epoch(rows, settled))


def test_whatever_is_given_wins_and_epochs_that_are_given_are_all_trained() -> None:
    settled = chosen(learning_rate=3e-5, num_train_epochs=2.5)
    assert (settled.learning_rate, epochs_of(settled), patience_of(settled)) == (3e-5, 2.5, None)
    assert patience_of(chosen(num_train_epochs=8, early_stopping_patience=2)) == 2
    assert patience_of(chosen(early_stopping_patience="none")) is None
    batches = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    assert chosen(100, **batches).num_train_epochs == 58  # 7 steps each
    assert teacher_schedule(settled, rows=1, outputs=99, width=64) == settled


def test_a_teachers_weights_are_averaged_by_default_except_where_they_are_sharded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert averaging_of(chosen()) == "ema"
    assert averaging_of(chosen(averaging="none")) == "none"
    assert averaging_of(student_schedule(TrainingSettings())) == "none"
    for launcher in ("FSDP", "DEEPSPEED"):
        with monkeypatch.context() as launched:
            launched.setenv(f"ACCELERATE_USE_{launcher}", "true")
            assert averaging_of(chosen()) == "none"
            assert averaging_of(chosen(averaging="swa")) == "swa"  # which is refused, as it was asked for


@pytest.mark.parametrize(("effort", "few"), [("quick", 0), ("normal", 4), ("best", 8)])
def test_rows_are_made_by_effort_and_none_of_many_classes_unless_they_are_asked_for(effort: Effort, few: int) -> None:
    auto = TransferSettings(augment="auto")
    assert [variants_of(auto, effort, outputs) for outputs in (1, 2, 19, 20, 150)] == [
        few,
        few,
        few,
        0,
        0,
    ]
    assert variants_of(TransferSettings(augment=3), effort, 150) == 3
    assert variants_of(TransferSettings(augment=0), effort, 2) == 0


def test_a_students_auto_is_the_default_of_all_students() -> None:
    settled = student_schedule(TrainingSettings())
    assert (settled.learning_rate, epochs_of(settled), patience_of(settled)) == (5e-5, 4.0, None)
    assert student_schedule(TrainingSettings(learning_rate=1e-4, num_train_epochs=1)).learning_rate == 1e-4
