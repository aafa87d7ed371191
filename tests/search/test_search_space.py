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


def test_a_recipe_file_may_hold_the_budget_and_what_is_given_beside_it_wins(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"teacher: {{model: {workspace / 'teacher'}}}\ndata: {{train: {workspace / 'train.csv'}}}\n"
        "students: [{layers: 2}]\nbudget:\n  latency: 3ms\n  size: 20MB\n  widths: [1, 0.5]\n"
    )
    with asking.compress(file, output=tmp_path / "served", latency="2ms", widths=[0.5]) as recipe:
        assert recipe.budget is not None
        assert (recipe.budget.latency, recipe.budget.size, recipe.budget.widths) == ("2ms", "20MB", [0.5])
        assert shapes(with_space(recipe)) == [(2, 0.5, "pkd")]
    with pytest.raises(
        RecipeError, match=r"(?m)^max_drp is no(?s:.)*^speed_up is -1(?s:.)*recipe.yaml:6: budget.size is '20MB x'"
    ):
        file.write_text(file.read_text().replace("20MB", "20MB x"))
        asking.compress(file, output=tmp_path / "served", speed_up=-1, max_drp=1).__enter__()
    with pytest.raises(RecipeError, match="output is missing; name a folder") as caught:
        asking.compress(file).__enter__()
    assert "yaml:1: output" not in str(caught.value)
    for other in ({"demo": True}, {"pick": 1}):
        with pytest.raises(RecipeError, match="no recipe is read"):
            asking.compress(file, output=tmp_path / "served", **other).__enter__()


def test_the_demo_has_its_own_students_and_takes_a_budget() -> None:
    with asking.compress(demo=True, latency="2ms") as recipe:
        assert [student.layers for student in recipe.students] == [2, 3, 4]
        assert recipe.budget is not None
        assert recipe.budget.widths == [1.0]
        assert recipe.budget.latency == "2ms"
        assert recipe.teacher.finetune is not None
    for given in ({"train": "a.csv"}, {"teacher": "a"}, {"augment": 2}, {"student": ["a"]}):
        with pytest.raises(RecipeError, match="demo has its own"):
            asking.compress(demo=True, **given).__enter__()
