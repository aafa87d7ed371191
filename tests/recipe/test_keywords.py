"""Flat keywords find their place in the recipe."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pkd.errors import RecipeError
from pkd.recipe.keywords import place_keywords
from pkd.recipe.naming import PREFERRED, fields_of, leaves
from pkd.recipe.reading import recipe_from
from pkd.recipe.schema import Recipe


def test_each_keyword_goes_to_its_section() -> None:
    placed = place_keywords(
        {
            "teacher": "t/",
            "train": Path("a.csv"),
            "beta": 500,
            "learning_rate": 1e-5,
            "precision": "float32",
            "states_dtype": "float32",
            "metric": "mcc",
            "seed": 3,
            "name": "mine",
            "text_columns": "a, b",
            "unlabelled": "u.txt",
            "layer_map": [(1, 2)],
            "eval": None,
            "training.weight_decay": 0.0,
        }
    )
    assert placed == {
        "teacher": {"model": "t/"},
        "data": {"train": "a.csv", "text_columns": ["a", "b"], "unlabelled": ["u.txt"]},
        "students": [{"beta": 500, "layer_map": [[1, 2]]}],
        "training": {"learning_rate": 1e-5, "precision": "float32", "weight_decay": 0.0},
        "annotation": {"states_dtype": "float32"},
        "evaluation": {"metric": "mcc"},
        "seed": 3,
        "name": "mine",
    }


def test_a_section_and_a_keyword_of_it_go_together() -> None:
    placed = place_keywords({"learning_rate": 1e-5, "training": {"weight_decay": 0}})
    assert placed == {"training": {"weight_decay": 0, "learning_rate": 1e-5}}


def faults(given: dict[str, object]) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe_from(place_keywords(given), where="test", required=())
    return str(caught.value)


def test_a_keyword_that_means_one_of_several_students_is_refused() -> None:
    assert "beta cannot go into students" in faults({"students": [{}, {"method": "kd"}], "beta": 3})


def test_the_same_setting_by_two_names_is_refused() -> None:
    assert faults({"beta": 3, "students.0.beta": 4}) == (
        "beta is given as students.0.beta too, which is the same setting; give one of them"
    )


def test_unknown_keywords_and_wrong_values_are_told_together() -> None:
    told = faults({"bta": 3, "alpha": 70, "train": object()}).splitlines()
    assert told == [
        "3 things are wrong:",
        "bta is no setting of pkd; did you mean beta?",
        "train is of type object; give the name of a file or folder, or a hub name",
        "alpha is 70; it must be at most 1, did you mean 0.7? (α, weight of L_DS, from 0 to 1; labels get 1 − α)",
    ]


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("bta", "did you mean beta?"),
        ("lr", "write learning_rate"),
        ("no_cuda", "write device='cpu'"),
        ("zzzz", "`pkd recipe`"),
    ],
)
def test_an_unknown_keyword_is_told_with_what_was_meant(keyword: str, expected: str) -> None:
    assert expected in faults({keyword: 1})


def test_a_name_that_stands_in_two_places_is_decided_on_purpose() -> None:
    paths = [path for path, _ in leaves() if path[:2] != ("teacher", "finetune")]
    counted = Counter(path[-1] for path in paths)
    twice = {name for name, count in counted.items() if count > 1}
    sections = set(fields_of(Recipe)) & {path[-1] for path in paths if len(path) > 1}
    assert twice | sections == set(PREFERRED)
