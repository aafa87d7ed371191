"""A pilot: what a row costs on this machine, measured on a few training steps, so that a long job can be planned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel

from pkd.data.batching import Collator, TokenRows
from pkd.distillation.student import student_from
from pkd.encoder.inference import answer_rows, model_inputs
from pkd.encoder.load import LoadedClassifier
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import occurring_only
from pkd.training.hardware import autocast_dtype, keep_freed_memory, move_model, resolve_device

_ROWS = 256
_BATCH = 32
_WARM_UP = 2  # batches before the clock starts: the first ones allocate


@dataclass(frozen=True)
class Pilot:
    """Seconds a row takes: in a training step of the teacher, in a teacher pass, in one of a student of each depth."""

    teacher_step: float
    teacher_pass: float
    student_step: dict[int, float]


def time_rows(
    teacher: LoadedClassifier,
    rows: datasets.Dataset,
    depths: Sequence[int],
    occurs: np.ndarray | None = None,
    *,
    device: str = "auto",
) -> Pilot:
    """Time a teacher and students of `depths` on up to 256 of the encoded rows; no weight is changed.

    A step of a student is timed without its distillation terms, which are small beside its passes.

    Args:
        teacher: whose depth and width are to be timed.
        rows: like those of the job.
        depths: of the students.
        occurs: [V] bool, the word pieces that the job will train; None times a step that trains all of them.
        device: "auto", "cpu" or "cuda".
    """
    keep_freed_memory()  # as training does
    rows = rows.select(range(min(_ROWS, len(rows))))
    where = resolve_device(device)
    dtype = autocast_dtype("auto", where)
    move_model(teacher.model, where)
    answer_rows(teacher.model, rows, autocast_dtype=dtype)
    began = time.perf_counter()
    answer_rows(teacher.model, rows, autocast_dtype=dtype)
    teacher_pass = (time.perf_counter() - began) / len(rows)
    steps = {}
    for depth in dict.fromkeys(depths):
        student = move_model(student_from(teacher.model, depth), where)
        steps[depth] = _step_seconds(student, rows, dtype, occurs)
    return Pilot(_step_seconds(teacher.model, rows, dtype, occurs), teacher_pass, steps)


def _step_seconds(
    model: PreTrainedModel, rows: datasets.Dataset, dtype: torch.dtype | None, occurs: np.ndarray | None
) -> float:
    """Seconds a row of a training step, over batches from the shortest rows to the longest, as training meets them."""
    collate, table = Collator(model.config.pad_token_id or 0), TokenRows(rows.sort("length"))
    size = max(1, min(_BATCH, len(rows) // (_WARM_UP + 1)))
    was_training = model.training
    model.train()
    began, timed = 0.0, 0
    with cls_only(model), nullcontext() if occurs is None else occurring_only(model, occurs):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
        for step, first in enumerate(range(0, len(rows) - size + 1, size)):
            if step == _WARM_UP:
                began = time.perf_counter()
            batch = collate(table.__getitems__(list(range(first, first + size))))
            with torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not None):
                loss = model(**model_inputs(batch, model, model.device)).logits.float().logsumexp(-1).mean()
            loss.backward()
            float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))  # as a number: a GPU has then finished
            optimizer.step()
            optimizer.zero_grad()
            timed += size if step >= _WARM_UP else 0
    seconds = time.perf_counter() - began
    model.train(was_training)
    return seconds / timed
