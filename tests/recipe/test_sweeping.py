"""A sweep's points follow from the recipe alone, and what cannot be swept is refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from pkd.errors import RecipeError
from pkd.recipe.reading import recipe_from
from pkd.recipe.schema import Recipe
from pkd.recipe.sweeping import point_text, points_of, recipe_at


def recipe_with(sweep: dict[str, Any], **more: Any) -> Recipe:
    return recipe_from({"sweep": sweep, **more}, where="test", required=())


def test_the_published_grid_is_one_line_of_108_points() -> None:
    points = points_of(recipe_with({"grid": "published"}))
    assert len({str(point) for point in points}) == len(points) == 108
    assert {key: sorted({point[key] for point in points}) for key in points[0]} == {
        "students.0.temperature": [5, 10, 20],
        "students.0.alpha": [0.2, 0.5, 0.7],
        "training.learning_rate": [1e-5, 2e-5, 5e-5],
        "students.0.beta": [10, 100, 500, 1000],
        "students.0.kd_reduction": ["mean"],  # under which the others were tuned
    }


def test_keys_beside_the_grid_are_further_axes_or_replace_its_values() -> None:
    normalised = points_of(recipe_with({"grid": "published", "keys": {"normalize": [True, False]}}))
    assert len(normalised) == 216
    fewer = points_of(recipe_with({"grid": "published", "keys": {"beta": [7]}}))
    assert len(fewer) == 27
    assert {point["students.0.beta"] for point in fewer} == {7}


def test_lists_are_crossed_and_ranges_drawn_anew_for_each_point() -> None:
    sweep = {
        "keys": {
            "students.0.beta": [10, 100],
            "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
            "per_device_train_batch_size": {"low": 8, "high": 64},
        },
        "samples": 50,
    }
    points = points_of(recipe_with(sweep))
    assert len(points) == 100
    rates = [point["training.learning_rate"] for point in points]
    assert len(set(rates)) > 95
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert 30 <= sum(rate < 1e-4 for rate in rates) <= 70  # half of them below the geometric middle
    sizes = [point["training.per_device_train_batch_size"] for point in points]
    assert all(isinstance(size, int) and 8 <= size <= 64 for size in sizes)
    assert points_of(recipe_with(sweep)) == points
    assert points_of(recipe_with(sweep, seed=7)) != points


def test_the_recipe_at_a_point_has_its_values_and_no_sweep() -> None:
    recipe = recipe_with(
        {"keys": {"start": ["spread", [1, 2]], "training.learning_rate": [1e-3]}}, students=[{"layers": 2}]
    )
    at = recipe_at(recipe, points_of(recipe)[1])
    assert (at.students[0].start, at.training.learning_rate, at.sweep) == ([1, 2], 1e-3, None)
    assert recipe.students[0].start == "spread"


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({}, ["names nothing to try", "{grid: published}"]),
        (
            {"keys": {"data.max_length": [64, 128]}},
            ["sweep.keys.data.max_length", "cannot be swept", "one teacher pass"],
        ),
        ({"keys": {"teacher.model": ["a", "b"]}}, ["teacher.model", "cannot be swept"]),
        ({"keys": {"seed": [1, 2]}}, ["seed", "cannot be swept"]),
        ({"keys": {"metric": ["mcc"]}}, ["metric", "cannot be swept"]),
        ({"keys": {"students.1.beta": [1]}}, ["students.1.beta", "cannot be swept"]),
        ({"keys": {"name": ["a"]}}, ["name", "swept"]),
        ({"keys": {"training.device": ["cpu"]}}, ["cannot be swept"]),
        ({"keys": {"betta": [1, 2]}}, ["betta", "not known", "did you mean sweep.keys.beta?"]),
        ({"keys": {"alpha": [0.5, 70]}}, ["sweep.keys.alpha.1", "at most 1"]),
        ({"keys": {"alpha": [0.5, 0.5]}}, ["same value"]),
        ({"keys": {"temperature": [2, 10, 2.0]}}, ["same value"]),
        ({"keys": {"data.max_lenght": [1]}}, ["cannot be swept"]),
        ({"keys": {"alpha": 0.5}}, ["give a list of values, or a range"]),
        ({"keys": {"alpha": []}}, ["give a list of values"]),
        ({"keys": {"alpha": {"low": 0.5, "hihg": 1}}}, ["hihg", "high is missing"]),
        ({"keys": {"alpha": {"low": 0.5, "high": 0.1}}}, ["low must be below high"]),
        ({"keys": {"alpha": {"low": 0, "high": 1, "log": True}}}, ["must begin above 0"]),
        ({"keys": {"alpha": {"low": 0.5, "high": 1.5}}, "samples": 100}, ["at which students.0.alpha", "at most 1"]),
        ({"keys": {"start": {"low": 1, "high": 2}}}, ["is no number"]),
        ({"keys": {"beta": [1], "students.0.beta": [2]}}, ["same key as beta"]),
        ({"keys": {"method": ["kd", "pkd"], "alpha": [0.0, 0.5]}}, ["holds the point method kd, alpha 0"]),
        ({"grid": "publihsed"}, ["published"]),
        ({"grid": "published", "best_seeds": 1}, ["at least 2"]),
        ({"grid": "published", "gpus_per_trial": -1}, ["at least 0"]),
    ],
)
def test_what_cannot_be_swept_is_told(sweep: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as told:
        recipe_with(sweep)
    for word in words:
        assert word in str(told.value), told.value


@pytest.mark.parametrize(
    ("students", "words"),
    [
        ([{"layers": 2}, {"layers": 3}], "exactly one student"),
        ([{"start": ["spread", "first"]}], "names several starts"),
        ([{"start": "auto"}], "a race of several starts"),
        ([{"training": {"learning_rate": 1e-4}}], "would change nothing"),
    ],
)
def test_a_sweep_is_of_one_student(students: list[dict[str, Any]], words: str) -> None:
    data = {"eval": "dev.csv"}
    with pytest.raises(RecipeError, match=words):
        recipe_with({"keys": {"learning_rate": [1e-3, 1e-4]}}, students=students, data=data)


def test_a_point_is_told_by_short_names() -> None:
    assert point_text({"students.0.beta": 500.0, "training.learning_rate": 5e-5, "students.0.normalize": True}) == (
        "beta 500, learning_rate 5e-05, normalize true"
    )
