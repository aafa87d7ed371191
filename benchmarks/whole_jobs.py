"""From texts to a student: the teacher's pass once and four epochs, or four epochs with the teacher in them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets

from benchmarks.contenders import loop_trainer, patient_trainer
from benchmarks.material import LAYER_MAP, load_demo_teacher
from benchmarks.workers import stopwatch
from pkd.data.encoding import encode
from pkd.distillation.annotation import annotate_rows
from pkd.recipe.settings import TrainingSettings
from pkd.training.precision import autocast_dtype, resolve_device

EPOCHS = 4
_LONGEST = 128


def pkd_job(texts: str, alone: bool = False) -> Callable[[], float]:
    """Seconds of the teacher pass and of four epochs of a student, `pkd` as it is by default."""
    teacher, rows, device = load_demo_teacher(), datasets.load_from_disk(texts), resolve_device("auto")

    def measure() -> float:
        folder = Path(tempfile.mkdtemp())
        now = stopwatch(alone)
        began = now()
        annotated = annotate_rows(
            rows,
            teacher.model.to(device),
            teacher.tokenizer,
            folder,
            teacher_layers=LAYER_MAP.teacher,
            max_length=_LONGEST,
            autocast_dtype=autocast_dtype("auto", device),
        )
        patient_trainer(teacher, annotated, TrainingSettings(num_train_epochs=EPOCHS)).train()
        seconds = now() - began
        shutil.rmtree(folder)
        return seconds

    return measure


def loop_job(texts: str, alone: bool = False) -> Callable[[], float]:
    """Seconds of four epochs of a plain Trainer that asks the teacher at every step."""
    teacher, rows = load_demo_teacher(), datasets.load_from_disk(texts)

    def measure() -> float:
        now = stopwatch(alone)
        began = now()
        encoded = encode(rows, teacher.tokenizer, _LONGEST).select_columns(["input_ids", "label"])
        loop_trainer(teacher, encoded.rename_column("label", "labels"), num_train_epochs=EPOCHS).train()
        return now() - began

    return measure


WHOLE_JOBS = {"pkd": pkd_job, "teacher in the loop": loop_job}
