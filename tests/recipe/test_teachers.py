"""One teacher, several, or several fine-tunings of one encoder."""

from __future__ import annotations

from typing import Any

import pytest

from pkd.errors import RecipeError
from pkd.recipe.reading import recipe_from
from pkd.recipe.settings import TeacherSettings
from pkd.recipe.writing import recipe_values


def teacher_of(**teacher: Any) -> TeacherSettings:
    values = {"teacher": {"model": "a", **teacher}, "data": {"train": "train.csv"}}
    return recipe_from(values, where="test").teacher


@pytest.mark.parametrize(
    ("given", "models", "lead"),
    [
        ({}, ["a"], 0),
        ({"model": ["a"]}, ["a"], 0),
        ({"model": ["a", "b"]}, ["a", "b"], 0),
        ({"model": ["a", "b"], "patience_from": 2}, ["a", "b"], 1),
        ({"model": ["a", "x/b/"], "patience_from": "./x/b"}, ["a", "x/b/"], 1),
        ({"finetune": {}, "count": 3, "patience_from": 3}, ["a", "a", "a"], 2),
    ],
)
def test_each_teacher_has_a_name_and_one_of_them_gives_layers_and_states(
    given: dict[str, Any], models: list[str], lead: int
) -> None:
    teacher = teacher_of(**given)
    assert (teacher.models, teacher.lead) == (models, lead)


def test_one_teacher_is_written_as_text_however_it_was_given() -> None:
    recipe = recipe_from({"teacher": {"model": ["a"]}, "data": {"train": "train.csv"}}, where="test")
    assert recipe_values(recipe)["teacher"]["model"] == "a"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": []}, "teacher.model is missing"),
        ({"model": ["a", ""]}, "teacher.model has an empty name"),
        ({"model": ["a", "./a/"]}, "teacher.model names a twice"),
        ({"model": 5}, "teacher.model is 5; it must be text or a list of texts"),
        ({"model": ["a", 5]}, "teacher.model is .'a', 5.; it must be text or a list of texts"),
        ({"model": ["a", "b"], "finetune": {}}, "finetune is given with 2 models; one encoder is fine-tuned"),
        ({"count": 2}, "count is 2, but no teacher is fine-tuned here"),
        ({"finetune": {}, "count": 0}, "count is 0; it must be at least 1"),
        ({"model": ["a", "b"], "patience_from": 3}, "patience_from is 3, but there are 2 teachers"),
        ({"patience_from": 2}, "patience_from is 2, but there is 1 teacher"),
        ({"patience_from": 0}, "patience_from is 0; it must be"),
        ({"patience_from": [1]}, "patience_from is .1.; it must be"),
        ({"model": ["a", "b"], "patience_from": "c"}, "patience_from is 'c', which is none of the teachers: a, b"),
        ({"finetune": {}, "count": 2, "patience_from": "a"}, "name a fine-tuned teacher by its number, from 1 to 2"),
    ],
)
def test_what_does_not_fit_together_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        teacher_of(**given)
