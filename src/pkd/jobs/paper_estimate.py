"""What a table would run, and how long: counted from its recipes, timed by a pilot on this machine."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from pkd import progress
from pkd.data.examples import load_examples
from pkd.data.tokenize import encode
from pkd.distillation.plan import StudentPlan, plan_students
from pkd.encoder.families import depth_of
from pkd.encoder.load import load_pretrained
from pkd.jobs.pilot import time_rows
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings
from pkd.training.schedule import epochs_of, steps_an_epoch, teacher_schedule

_PILOT_ROWS = 128  # four batches of 32: rows of one task are much alike


@dataclass(frozen=True)
class TaskEstimate:
    """One task: what would run, and its seconds here."""

    task: str
    train_rows: int
    eval_rows: int
    teacher_steps: int  # of fine-tuning
    teacher_passes: int  # over the rows, after it
    students: list[str]
    trainings: int  # students × seeds
    student_steps: int  # of all trainings
    seconds: float

    def sentence(self) -> str:
        """The estimate in words, without its seconds."""
        return (
            f"{self.task}: {self.train_rows:,} training and {self.eval_rows:,} development rows; fine-tune the teacher "
            f"({self.teacher_steps:,} steps), {self.teacher_passes} teacher pass, {self.trainings} trainings of "
            f"{len(self.students)} students ({self.student_steps:,} steps): {', '.join(self.students)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return dataclasses.asdict(self)


def estimate(task: str, recipe: Recipe) -> TaskEstimate:
    """Count a recipe's steps and time them by a pilot on its own rows; nothing is trained or kept.

    Raises:
        DataError: if the task's rows cannot be read.
        TeacherError: if the encoder cannot be loaded.
    """
    examples = load_examples(recipe.data)
    train, measured = examples.splits["train"], examples.splits["eval"]
    loaded = load_pretrained(recipe.teacher.model, examples.outputs)
    plans = [plan for candidates in plan_students(recipe, depth_of(loaded.model.config)) for plan in candidates]
    some = encode(
        train.shuffle(seed=0).select(range(min(_PILOT_ROWS, len(train)))), loaded.tokenizer, recipe.data.max_length
    )
    with progress.stage(f"pilot: how fast is this machine on {task}"):
        pilot = time_rows(loaded, some, [plan.layers for plan in plans], device=recipe.device)
    finetune = teacher_schedule(
        recipe.teacher.finetune or TrainingSettings(),
        rows=len(train),
        outputs=len(examples.label_names),
        width=loaded.model.config.hidden_size,
    )
    seconds = pilot.teacher_step * len(train) * epochs_of(finetune) + pilot.teacher_pass * len(train)
    evaluations = 1 + epochs_of(finetune)  # each epoch's, and the one that is kept
    seconds += evaluations * pilot.teacher_pass * len(measured)
    for plan in plans:
        a_pass = pilot.teacher_pass * pilot.student_step[plan.layers] / pilot.teacher_step
        epochs = epochs_of(plan.training)
        trained = epochs * pilot.student_step[plan.layers] * len(train) + (1 + epochs) * a_pass * len(measured)
        seconds += recipe.seeds * trained
    return TaskEstimate(
        task=task,
        train_rows=len(train),
        eval_rows=len(measured),
        teacher_steps=_steps(len(train), finetune),
        teacher_passes=1,
        students=[plan.name for plan in plans],
        trainings=len(plans) * recipe.seeds,
        student_steps=recipe.seeds * sum(_steps_of(plan, len(train)) for plan in plans),
        seconds=seconds,
    )


def _steps_of(plan: StudentPlan, rows: int) -> int:
    return _steps(rows, plan.training)


def _steps(rows: int, training: TrainingSettings) -> int:
    return math.ceil(steps_an_epoch(rows, training) * epochs_of(training))
