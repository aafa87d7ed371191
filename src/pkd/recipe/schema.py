"""The recipe: a whole job as one typed tree, the single source of defaults, YAML keys, flags, keywords and help."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pkd.recipe.device_names import Device
from pkd.recipe.settings import (
    STRICT,
    AnnotationSettings,
    BudgetSettings,
    DataSettings,
    Effort,
    EvaluationSettings,
    LossSettings,
    PositiveInt,
    Seed,
    StudentSettings,
    SweepSettings,
    TeacherSettings,
    TrainingSettings,
    TransferSettings,
    setting,
)

_NAMELESS = "run"
_LONGEST_LABEL = 60  # of an encoder, in a student's name, which becomes a folder's


@dataclass(kw_only=True)
class Recipe:
    """A teacher, its data, any number of students, and how they are judged."""

    __pydantic_config__ = STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = setting(
        None, "name of the run (default: as its output folder, else as the recipe's file)"
    )
    output: str | None = setting(None, "folder of the run (default: runs/NAME)")
    effort: Effort = setting("normal", "how much to spend on students; given keys win", common=True)
    device: Device = setting("auto", "where to compute; auto: a GPU if there is one", common=True)
    teacher: TeacherSettings = setting(TeacherSettings, "the classifier to learn from")
    data: DataSettings = setting(DataSettings, "the examples")
    transfer: TransferSettings = setting(TransferSettings, "what is made for the teacher to answer")
    annotation: AnnotationSettings = setting(AnnotationSettings, "how the teacher's answers are stored")
    training: TrainingSettings = setting(TrainingSettings, "how students are trained")
    students: list[StudentSettings] = setting(lambda: [StudentSettings()], "the students")
    controls: bool = setting(True, "also train KD and fine-tuning alone", common=True)
    seed: Seed = setting(42, "first seed; it also sets the order of the data", common=True)
    seeds: PositiveInt = setting(1, "repeat each student; one seed gives no verdict", common=True)
    evaluation: EvaluationSettings = setting(EvaluationSettings, "what is measured")
    sweep: SweepSettings | None = setting(None, "for `pkd sweep`: hyper-parameters to try, as {grid: published}")
    budget: BudgetSettings | None = setting(None, "for `pkd compress`: what its result may cost, as {latency: 3ms}")

    @property
    def folder(self) -> str:
        """The run folder."""
        return self.output or f"runs/{self.name or _NAMELESS}"

    @property
    def all_seeds(self) -> list[int]:
        """The seeds, one per repetition."""
        return list(range(self.seed, self.seed + self.seeds))


def named_after(recipe: Recipe, file: Path) -> Recipe:
    """Name the recipe after its file if it has neither name nor folder; recipe.yaml is not a name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._")
    if recipe.name is not None or recipe.output is not None or stem in ("", "recipe"):
        return recipe
    return dataclasses.replace(recipe, name=stem)


def method_label(student: StudentSettings) -> str:
    """The student's method in tables: pkd-skip, pkd-last, pkd-map, kd or ft."""
    if student.method != "pkd":
        return student.method
    return f"pkd-{student.layer_map}" if isinstance(student.layer_map, str) else "pkd-map"


def start_label(student: StudentSettings) -> str:
    """The student's start in tables: spread, first or 1.3.5; of another encoder its name."""
    if student.student:
        return encoder_label(student.student)
    if isinstance(student.start, str):
        return student.start
    return ".".join(str(layer) for layer in student.start)


def encoder_label(name: str) -> str:
    """The last part of an encoder's name, as part of a student's.

    >>> encoder_label("microsoft/xtremedistil-l6-h256-uncased"), encoder_label("./my model (2)/")
    ('xtremedistil-l6-h256-uncased', 'my-model-2')
    """
    last = Path(os.path.abspath(name)).name  # noqa: PTH100 - `resolve` follows links
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")[:_LONGEST_LABEL] or "encoder"


def depth_label(layers: int | str, width: float) -> str:
    """A student's depth and width in names.

    >>> depth_label(3, 1.0), depth_label(3, 0.5)
    ('L3', 'L3-w0.5')
    """
    return f"L{layers}" if width == 1 else f"L{layers}-w{width}"


def loss_of(student: StudentSettings) -> LossSettings:
    """The student's loss settings as its method uses them: kd has no patience, ft no teacher.

    A student with neither patience nor β gets the default share.
    """
    values = {field.name: getattr(student, field.name) for field in dataclasses.fields(LossSettings)}
    return LossSettings(**values | {"patience": student.patience_share}).of_method(student.method)
