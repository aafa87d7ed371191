"""Nothing that saves time changes what is learned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, BertConfig, Trainer, TrainerCallback

from conftest import make_reviews, make_tokenizer
from pkd import progress
from pkd.data.batches_by_length import round_up
from pkd.data.batching import Collator, TokenRows
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.errors import Stopped


def make_wide_teacher(**more: Any) -> Any:
    """A teacher with three times the word pieces that the rows have."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=200, num_labels=2, **more,
    )  # fmt: skip
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    reviews = make_reviews(70)
    rows = datasets.Dataset.from_dict(
        {"text": [text for text, _ in reviews], "label": [int(label == "positive") for _, label in reviews]}
    )
    folder = tmp_path_factory.mktemp("annotated")
    return encode(
        annotate_rows(rows, TeacherPass(make_wide_teacher(), make_tokenizer(), [2], 64), folder), make_tokenizer(), 64
    )


def make_trainer(
    output: Path, rows: datasets.Dataset, *, dropout: bool = False, kind: type[PatientTrainer] = PatientTrainer,
    teacher: Any = None, **changes: Any,
) -> PatientTrainer:  # fmt: skip
    student = student_from(teacher or make_wide_teacher(), 2)
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout) and not dropout:
            module.p = 0.0
    options: dict[str, Any] = {
        "num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-2, "save_strategy": "no",
        "logging_steps": 1, "use_cpu": True, "disable_tqdm": True, "seed": 3, "data_seed": 3, "report_to": "none",
        "weight_decay": 0.1, "max_grad_norm": 0.5, **changes,
    }  # fmt: skip
    args = PatientTrainingArguments(str(output), **options)
    return kind(student, args, layer_map=LayerMap.skip(4, 2), train_dataset=rows)


def losses_of(trainer: PatientTrainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


class Wasteful(PatientTrainer):
    """All that saves time is off: every layer and embedding whole, all padded to 64, rows read one by one."""

    @contextlib.contextmanager
    def _without_wasted_work(self) -> Iterator[None]:
        yield

    def _clip_grad_norm(self, model: Any) -> Any:
        return Trainer._clip_grad_norm(self, model)

    def get_train_dataloader(self) -> Any:
        super().get_train_dataloader()  # makes the batches
        rows = [self.train_dataset.with_format("arrow")[[row]] for row in range(len(self.train_dataset))]
        collate = Collator(0, self.teacher_layers, partial(round_up, multiple=64))

        class OneByOne(TokenRows):
            def __getitems__(self, indices: Any) -> Any:
                return datasets.table.concat_tables([rows[index] for index in indices]).combine_chunks()

        return DataLoader(OneByOne(self.train_dataset), batch_sampler=self._batches, collate_fn=collate)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_with_all_that_saves_time_on_and_off_has_the_same_losses(
    annotated: datasets.Dataset, tmp_path: Path, dtype: torch.dtype
) -> None:
    quick = make_trainer(tmp_path / "on", annotated)
    slow = make_trainer(tmp_path / "off", annotated, kind=Wasteful, optim="adamw_torch")
    for trainer in (quick, slow):
        trainer.model.to(dtype)
    seen: list[int] = []

    class Look(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            seen.append(len(quick.model.get_input_embeddings().weight))

    quick.add_callback(Look())
    on, off = losses_of(quick), losses_of(slow)
    assert len(on) == 18
    assert set(seen) < set(range(20, 40))  # few of the 100 word pieces were trained
    assert sum(on[9:]) < sum(on[:9])
    np.testing.assert_allclose(on, off, rtol=1e-5)
    if dtype == torch.float64:  # in float32 Adam makes a full step of a gradient that is rounding alone
        expected = slow.model.state_dict()
        for name, tensor in quick.model.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stop_at", [5, 13])
def test_a_stopped_training_of_few_word_pieces_goes_on_to_the_same_bits(
    annotated: datasets.Dataset, tmp_path: Path, stop_at: int
) -> None:
    undisturbed = make_trainer(tmp_path / "whole", annotated, dropout=True, save_strategy="epoch")
    undisturbed.train()
    stopped = make_trainer(tmp_path / "stopped", annotated, dropout=True, save_strategy="epoch")

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            if state.global_step == stop_at:
                progress.request_stop(75)

    stopped.add_callback(Stop())
    try:
        with pytest.raises(Stopped):
            stopped.train()
    finally:
        progress.clear_stop()
    resumed = make_trainer(tmp_path / "stopped", annotated, dropout=True, save_strategy="epoch")
    resumed.train(resume_from_checkpoint=True)
    expected = undisturbed.model.state_dict()
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_activations_computed_twice_give_the_same_bits(annotated: datasets.Dataset, tmp_path: Path) -> None:
    kept = make_trainer(tmp_path, annotated, dropout=True)
    losses = losses_of(kept)
    again = make_trainer(tmp_path, annotated, dropout=True, activation_checkpointing=True)
    assert losses_of(again) == losses
    expected = kept.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.model.state_dict().items())


def test_embeddings_that_were_frozen_beforehand_are_not_trained(annotated: datasets.Dataset, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, annotated, max_steps=2)
    words = trainer.model.get_input_embeddings().weight.requires_grad_(False)
    start = words.clone()
    trainer.train()
    assert torch.equal(words, start)


def test_a_model_that_names_no_padding_learns_what_one_does_whose_padding_is_0(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    losses = losses_of(make_trainer(tmp_path, annotated, teacher=make_wide_teacher(pad_token_id=None), max_steps=4))
    np.testing.assert_allclose(losses, losses_of(make_trainer(tmp_path, annotated, max_steps=4)), rtol=1e-5)


def test_a_second_training_goes_on_learning_the_words(annotated: datasets.Dataset, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, annotated, num_train_epochs=1)
    trainer.train()
    words = trainer.model.get_input_embeddings().weight.detach().clone()
    trainer.train()
    assert not torch.equal(trainer.model.get_input_embeddings().weight, words)
