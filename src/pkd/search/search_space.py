"""The students that a search chooses from: every depth and width of the teacher, and the encoders that are named."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from pkd.encoder.families import depth_of
from pkd.encoder.load import load_config
from pkd.encoder.pretrained import load_encoder
from pkd.errors import RecipeError
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import StudentSettings
from pkd.recipe.spelling import named


def with_space(recipe: Recipe) -> Recipe:
    """The recipe with a student for each shape that can be trained, in place of those that stand for them.

    A student without a depth stands for every depth, and at full width for every width of the budget.

    Raises:
        TeacherError: if the teacher's, or an encoder's, configuration cannot be loaded.
        RecipeError: if a depth is not the teacher's.
    """
    depth = depth_of(load_config(recipe.teacher.encoder, "teacher"))
    found = {(each.layers, each.width, each.student): each for each in _students(recipe, depth)}
    # nothing is timed twice: the exports are timed in turns, as they are deployed
    evaluation = dataclasses.replace(recipe.evaluation, measure_speed=False)
    return dataclasses.replace(recipe, students=list(found.values()), controls=False, evaluation=evaluation)


def _students(recipe: Recipe, depth: int) -> Iterator[StudentSettings]:
    assert recipe.budget is not None  # a search has one
    for template in recipe.students:
        if template.student is not None:
            layers = template.layers or load_encoder(template.student).layers
            yield _taught(dataclasses.replace(template, layers=layers, name=None))
            continue
        if template.layers is not None and template.layers > depth:
            raise RecipeError(
                f"{named('students.0.layers')} is {template.layers}, but the teacher has {depth} layers. Give fewer."
            )
        depths = [template.layers] if template.layers is not None else range(1, depth + 1)
        widths = recipe.budget.widths if template.width == 1 else [template.width]
        for layers, width in itertools.product(depths, widths):
            student = dataclasses.replace(template, layers=layers, width=width, name=None)
            if layers == depth and width == 1:  # it starts as its teacher, so that a share has nothing to measure
                student = dataclasses.replace(student, patience=None)
            yield _taught(student)


def _taught(student: StudentSettings) -> StudentSettings:
    """One layer learns by KD alone: the last layer is never a patient one."""
    if student.layers == 1 and student.method == "pkd":
        return dataclasses.replace(student, method="kd", beta=None, patience=None)
    return student
