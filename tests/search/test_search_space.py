"""The students that a search chooses from, before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pkd.errors import RecipeError
from pkd.recipe.schema import Recipe
from pkd.search import asking
from pkd.search.search_space import with_space


def asked(workspace: Path, **more: Any) -> Recipe:
    given = {"teacher": workspace / "teacher", "train": workspace / "train.csv", "output": "served", **more}
    with asking.compress(**given) as recipe:
        return with_space(recipe)


def shapes(recipe: Recipe) -> list[tuple[int | None, float, str]]:
    return [(student.layers, student.width, student.method) for student in recipe.students]


def test_every_depth_is_crossed_with_every_width_and_one_layer_learns_by_kd_alone(workspace: Path) -> None:
    recipe = asked(workspace)
    assert len(shapes(recipe)) == 4 * 3
    assert {(layers, width) for layers, width, _ in shapes(recipe)} == {
        (layers, width) for layers in (1, 2, 3, 4) for width in (1.0, 0.5, 0.25)
    }
    assert {layers for layers, _, method in shapes(recipe) if method == "kd"} == {1}
    assert not recipe.controls


def test_widths_and_depths_that_are_given_are_the_only_ones(workspace: Path) -> None:
    recipe = asked(workspace, widths=[0.5], students=[{"layers": 2}, {"layers": 3, "width": 0.25}])
    assert shapes(recipe) == [(2, 0.5, "pkd"), (3, 0.25, "pkd")]
    with pytest.raises(RecipeError, match="5, but the teacher has 4 layers"):
        asked(workspace, students=[{"layers": 5}])


def test_a_share_of_patience_is_not_asked_of_the_teacher_s_own_layers(workspace: Path) -> None:
    recipe = asked(workspace, patience=0.2, widths=[1.0])
    assert [student.patience for student in recipe.students] == [None, 0.2, 0.2, None]


def test_encoders_that_are_named_are_tried_whole_and_each_once(workspace: Path, foreign_encoder: Path) -> None:
    name = str(foreign_encoder)
    recipe = asked(workspace, widths=[1.0], student=[name, name])
    assert [(each.student, each.layers, each.width) for each in recipe.students[4:]] == [(name, 6, 1.0)]
