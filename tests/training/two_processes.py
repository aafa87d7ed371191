"""Trains a few steps in as many processes as it is started in, and writes the gradient and the weights: a script.

Its arguments are the folder of annotated rows, and files to write, BATCH-ACCUMULATION.safetensors.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from conftest import make_teacher, make_tokenizer
from pkd.data.shards import open_shards
from pkd.distillation.layers import LayerMap
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments


class InOrder(PatientTrainer):
    """Rows as they stand, so that the same rows make a step however they are shared out."""

    def get_train_dataloader(self) -> Any:
        loader = super().get_train_dataloader()
        self._batches.order = lambda: np.arange(len(self._batches.lengths))
        return loader


def train(folder: Path, output: Path, batch: int, accumulation: int) -> None:
    rows = open_shards(folder).select(range(48))
    labels = [None if index < 12 or index % 5 == 0 else label for index, label in enumerate(rows["label"])]
    rows = rows.remove_columns("label").add_column("label", labels, feature=rows.features["label"])
    student = student_from(make_teacher(), 2)
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    args = PatientTrainingArguments(
        f"{output}.work", num_train_epochs=1, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        learning_rate=1e-3, save_strategy="no", use_cpu=True, disable_tqdm=True, logging_steps=1, warmup_steps=0,
        max_grad_norm=0.0, seed=1, data_seed=1, report_to="none", beta=100.0,
    )  # fmt: skip
    trainer = InOrder(
        student,
        args,
        layer_map=LayerMap.skip(4, 2),
        train_dataset=rows,
        processing_class=make_tokenizer(),
        averaging="ema",
    )
    gradient: dict[str, torch.Tensor] = {}

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            if not gradient:
                gradient.update({name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None})

    trainer.add_callback(Look())
    trainer.train()
    if trainer.is_world_process_zero():
        losses = torch.tensor([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        averaged = {f"averaged.{name}": each.detach().clone() for name, each in student.state_dict().items()}
        save_file({**gradient, **averaged, "losses": losses}, output)


if __name__ == "__main__":
    for each in sys.argv[2:]:  # one after the other: starting processes takes longer
        train(Path(sys.argv[1]), Path(each), *map(int, Path(each).stem.split("-")))
    gc.collect()  # of the trainer, whose DDP holds the process group
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
