"""Recipes are written so that reading them gives the same recipe back."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkd.recipe.naming import help_of, leaves
from pkd.recipe.reading import read_recipe, recipe_from
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import DataSettings, StudentSettings, TeacherSettings, TrainingSettings
from pkd.recipe.writing import commented_recipe, recipe_values, write_recipe


def test_the_commented_recipe_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(commented_recipe("quick"), encoding="utf-8")
    named = {"teacher": TeacherSettings(model="path/to/teacher"), "data": DataSettings(train="train.csv")}
    expected = Recipe(effort="quick", **named)
    assert read_recipe(path) == expected


def test_the_commented_recipe_explains_every_key() -> None:
    text = commented_recipe()
    for path, field in leaves():
        if path[:2] != ("teacher", "finetune"):
            assert f"{path[-1]}:" in text
            assert f"# {help_of(field)}" in text


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    beta=st.floats(0, 1e9),
    learning_rate=st.floats(1e-12, 10, exclude_min=True),
    train=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20),
    layer_map=st.sampled_from(["skip", "last", [(1, 2), (2, 4)]]),
    start=st.sampled_from(["spread", [1, 2, 3], ["first", [1, 3, 5]]]),
)
def test_a_written_recipe_reads_back_the_same(tmp_path: Path, **drawn: object) -> None:
    student = StudentSettings(beta=drawn["beta"], layer_map=drawn["layer_map"], start=drawn["start"], layers=3)  # type: ignore[arg-type]
    recipe = Recipe(
        teacher=TeacherSettings(model="t", finetune=TrainingSettings()),
        data=DataSettings(train=str(drawn["train"]), eval="dev.csv"),
        training=TrainingSettings(learning_rate=drawn["learning_rate"]),  # type: ignore[arg-type]
        students=[student],
    )
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_the_values_of_a_recipe_are_plain_and_make_it_again() -> None:
    recipe = recipe_from({"students": [{"layer_map": [[1, 2]]}]}, where="x", required=())
    values = recipe_values(recipe)
    assert json.loads(json.dumps(values)) == values
    assert recipe_from(values, where="x", required=()) == recipe
