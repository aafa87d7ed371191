"""From texts to a student: the teacher's pass once and four epochs, or four epochs with the teacher in them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets

from benchmarks.contenders import annotate_and_encode, loop_trainer, patient_trainer
from benchmarks.material import Setup, half_map, load_teacher
from benchmarks.workers import stopwatch
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass
from pkd.recipe.settings import TrainingSettings
from pkd.training.hardware import autocast_dtype, resolve_device

EPOCHS = 4
_LONGEST = 128


def pkd_job(texts: str, setup: Setup) -> Callable[[], float]:
    """Seconds of the teacher pass and of four epochs of a student, `pkd` as it is by default."""
    teacher, rows = load_teacher(setup.teacher), datasets.load_from_disk(texts)
    device = resolve_device(setup.device)

    def measure() -> float:
        folder = Path(tempfile.mkdtemp())
        now = stopwatch(setup.alone)
        began = now()
        annotated = annotate_and_encode(
            rows,
            TeacherPass(
                teacher.model.to(device),  # type: ignore[arg-type]
                teacher.tokenizer,
                half_map(teacher).teacher,
                _LONGEST,
                autocast_dtype=autocast_dtype("auto", device),
            ),
            folder,
        )
        patient_trainer(teacher, annotated, TrainingSettings(num_train_epochs=EPOCHS), device=setup.device).train()
        seconds = now() - began
        shutil.rmtree(folder)
        return seconds

    return measure


def loop_job(texts: str, setup: Setup) -> Callable[[], float]:
    """Seconds of four epochs of a plain Trainer that asks the teacher at every step."""
    teacher, rows = load_teacher(setup.teacher), datasets.load_from_disk(texts)

    def measure() -> float:
        now = stopwatch(setup.alone)
        began = now()
        encoded = encode(rows, teacher.tokenizer, _LONGEST).select_columns(["input_ids", "label"])
        loop_trainer(teacher, encoded.rename_column("label", "labels"), setup, num_train_epochs=EPOCHS).train()
        return now() - began

    return measure


WHOLE_JOBS = {"pkd": pkd_job, "teacher in the loop": loop_job}
