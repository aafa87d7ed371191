"""The teacher pass as `pkd` makes it, and a bare loop of forward passes over the same rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets
import torch

from benchmarks.material import Setup, half_map, load_teacher
from benchmarks.workers import stopwatch
from pkd.data.arrays import column_array
from pkd.data.batches_by_length import batches_by_length
from pkd.data.batching import Collator, TokenRows
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.encoder.inference import TOKENS_PER_BATCH, model_inputs, request_layers
from pkd.encoder.shortcut import cls_only
from pkd.training.hardware import autocast_dtype, keep_freed_memory, resolve_device

_LONGEST = 128


def teacher_pass(texts: str, setup: Setup) -> Callable[[], float]:
    """Rows a second of the whole pass: tokenising, computing, putting back in order, writing, hashing."""
    teacher, rows = load_teacher(setup.teacher), datasets.load_from_disk(texts)
    device = resolve_device(setup.device)
    teacher.model.to(device)  # type: ignore[arg-type]

    def measure() -> float:
        folder = Path(tempfile.mkdtemp())
        now = stopwatch(setup.alone)
        began = now()
        annotate_rows(
            rows,
            TeacherPass(
                teacher.model,
                teacher.tokenizer,
                half_map(teacher).teacher,
                _LONGEST,
                autocast_dtype=autocast_dtype("auto", device),
            ),
            folder,
        )
        seconds = now() - began
        shutil.rmtree(folder)
        return len(rows) / seconds

    return measure


def bare_forward(texts: str, setup: Setup, max_length: int = _LONGEST) -> Callable[[], float]:
    """Rows a second of the teacher's forward pass alone, its batches lying in memory, padded to their longest rows."""
    teacher, device = load_teacher(setup.teacher), resolve_device(setup.device)
    keep_freed_memory()
    rows = encode(datasets.load_from_disk(texts), teacher.tokenizer, max_length)
    table, collate = TokenRows(rows), Collator(0)
    batches = [
        model_inputs(collate(table.__getitems__(indices.tolist())), teacher.model, device)
        for indices in batches_by_length(column_array(rows, "length"), TOKENS_PER_BATCH[device.type])
    ]
    model = teacher.model.to(device).eval()  # type: ignore[arg-type]
    layers = half_map(teacher).teacher
    dtype = autocast_dtype("auto", device)

    def measure() -> float:
        now = stopwatch(setup.alone)
        began = now()
        autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
        with torch.inference_mode(), autocast, cls_only(model):
            for batch in batches:
                model(**batch, **request_layers(layers))
        return len(rows) / (now() - began)

    return measure


PASSES = {"teacher pass": teacher_pass, "bare forward": bare_forward}
