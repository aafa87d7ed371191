"""What a table would run, and how long: counted from its recipes, timed by a pilot on this machine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.data.examples import load_examples
from pkd.encoder.load import load_config
from pkd.jobs.ahead import stages_of_run
from pkd.jobs.forecast import forecast, prices_for
from pkd.jobs.plan import encoders_of, plan_of, settle_teacher
from pkd.jobs.stages import steps_of
from pkd.jobs.workload import job_of_run
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings


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
    """Count a recipe's steps and time them by a pilot on its own rows, without training anything.

    Raises:
        DataError: if the task's rows cannot be read.
        TeacherError: if the encoder cannot be loaded.
    """
    examples = load_examples(recipe.data)
    plan = plan_of(recipe, examples, load_config(recipe.teacher.encoder), encoders_of([recipe]))
    recipe = plan.recipe
    train, measured = examples.splits["train"], examples.splits["eval"]
    job = job_of_run(plan)
    stages = stages_of_run(plan, job)
    progress.note(f"{task}:")
    seconds = forecast(job, stages, Path(recipe.folder), prices_for(job, stages)).seconds
    finetune = recipe.teacher.finetune or settle_teacher(TrainingSettings(), examples, plan.config)
    return TaskEstimate(
        task=task,
        train_rows=len(train),
        eval_rows=len(measured),
        teacher_steps=steps_of(len(train), finetune),
        teacher_passes=1,
        students=[each.name for each in plan.candidates],
        trainings=len(plan.candidates) * recipe.seeds,
        student_steps=recipe.seeds * sum(steps_of(len(train), each.training) for each in plan.candidates),
        seconds=seconds,
    )
