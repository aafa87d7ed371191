"""The input of a search, checked before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkd.errors import RecipeError
from pkd.search import asking
from pkd.search.search_space import with_space


def test_a_recipe_file_may_hold_the_budget_and_what_is_given_beside_it_wins(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"teacher: {{model: {workspace / 'teacher'}}}\ndata: {{train: {workspace / 'train.csv'}}}\n"
        "students: [{layers: 2}]\nbudget:\n  latency: 3ms\n  size: 20MB\n  widths: [1, 0.5]\n"
    )
    with asking.compress(file, output=tmp_path / "served", latency="2ms", widths=[0.5]) as recipe:
        assert recipe.budget is not None
        assert (recipe.budget.latency, recipe.budget.size, recipe.budget.widths) == ("2ms", "20MB", [0.5])
        assert [(each.layers, each.width) for each in with_space(recipe).students] == [(2, 0.5)]
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
