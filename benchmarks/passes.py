"""The teacher pass as `pkd` makes it, and a bare loop of forward passes over the same rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets
import torch

from benchmarks.material import LAYER_MAP, load_demo_teacher
from benchmarks.workers import stopwatch
from pkd.data.arrays import column_array
from pkd.data.batching import Collator, TokenRows
from pkd.data.encoding import encode
from pkd.data.lengths import batches_by_length
from pkd.distillation.annotation import annotate_rows
from pkd.encoder.inference import TOKENS_PER_BATCH, ask_for_layers, model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.training.precision import autocast_dtype, keep_freed_memory, resolve_device

_LONGEST = 128


def teacher_pass(texts: str, alone: bool = False) -> Callable[[], float]:
    """Rows a second of the whole pass: tokenising, computing, putting back in order, writing, hashing."""
    teacher, rows, device = load_demo_teacher(), datasets.load_from_disk(texts), resolve_device("auto")
    teacher.model.to(device)

    def measure() -> float:
        folder = Path(tempfile.mkdtemp())
        now = stopwatch(alone)
        began = now()
        annotate_rows(
            rows,
            teacher.model,
            teacher.tokenizer,
            folder,
            teacher_layers=LAYER_MAP.teacher,
            max_length=_LONGEST,
            autocast_dtype=autocast_dtype("auto", device),
        )
        seconds = now() - began
        shutil.rmtree(folder)
        return len(rows) / seconds

    return measure


def bare_forward(texts: str, alone: bool = False) -> Callable[[], float]:
    """Rows a second of the teacher's forward pass alone, its batches lying in memory, padded to their longest rows."""
    teacher, device = load_demo_teacher(), resolve_device("auto")
    keep_freed_memory()
    rows = encode(datasets.load_from_disk(texts), teacher.tokenizer, _LONGEST)
    table, collate = TokenRows(rows), Collator(0)
    batches = [
        model_inputs(collate(table.__getitems__(indices.tolist())), teacher.model, device)
        for indices in batches_by_length(column_array(rows, "length"), TOKENS_PER_BATCH[device.type])
    ]
    model = teacher.model.to(device).eval()
    dtype = autocast_dtype("auto", device)

    def measure() -> float:
        now = stopwatch(alone)
        began = now()
        autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
        with torch.inference_mode(), autocast, cls_only(model):
            for batch in batches:
                model(**batch, **ask_for_layers(LAYER_MAP.teacher))
        return len(rows) / (now() - began)

    return measure


PASSES = {"teacher pass": teacher_pass, "bare forward": bare_forward}
