"""An effort stands for values of other keys; what is given wins, and a sweep's points are as their recipe writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkd.cli.main import main
from pkd.errors import RecipeError
from pkd.recipe.reading import read_file, read_recipe, read_values
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import Effort
from pkd.recipe.writing import recipe_values

NAMED = {"teacher": {"model": "teacher"}, "data": {"train": "train.csv"}}


def read(**values: Any) -> Recipe:
    return read_values({**NAMED, **values}, where="a test", spends=True).checked()


def test_without_a_word_a_recipe_spends_what_is_normal() -> None:
    assert recipe_values(read()) == recipe_values(read(effort="normal"))
    assert read().effort == "normal"


def test_what_is_normal_is_what_the_study_found_worth_its_time() -> None:
    assert (read().transfer.augment, read().students[0].temperature, read().seeds) == ("auto", "auto", 1)
    assert read(transfer={"augment": 3}).transfer.variants == 3


def test_quick_is_what_the_settings_say_themselves() -> None:
    quick = read_values({**NAMED, "effort": "quick"}, where="a test").checked()
    assert recipe_values(read(effort="quick")) == recipe_values(quick)


@pytest.mark.parametrize("effort", get_args(Effort))
@given(
    rate=st.none() | st.floats(1e-6, 1e-2), epochs=st.none() | st.floats(0.5, 9), seeds=st.none() | st.integers(1, 9)
)
def test_a_key_that_is_given_wins(effort: Effort, rate: float | None, epochs: float | None, seeds: int | None) -> None:
    training = {"learning_rate": rate, "num_train_epochs": epochs}
    given = {"training": {key: value for key, value in training.items() if value is not None}}
    asked = read(effort=effort, **given, **({} if seeds is None else {"seeds": seeds}))
    alone = read(effort=effort)
    assert asked.training.learning_rate == (alone.training.learning_rate if rate is None else rate)
    assert asked.training.num_train_epochs == (alone.training.num_train_epochs if epochs is None else epochs)
    assert asked.seeds == (alone.seeds if seeds is None else seeds)


def test_every_student_spends_it_and_keeps_what_it_says() -> None:
    first, second = read(students=[{"name": "a"}, {"name": "b", "temperature": 7.0}]).students
    assert (first.temperature, second.temperature) == ("auto", 7.0)


def test_the_points_of_a_sweep_are_what_its_recipe_writes() -> None:
    swept = {"sweep": {"keys": {"students.0.alpha": [0.2, 0.7]}}, "data": {"train": "a.csv", "eval": "b.csv"}}
    assert read(**swept).effort == "quick"
    assert read(**swept).training.learning_rate == read(effort="quick").training.learning_rate
    assert read(**swept, effort="best").seeds == 3


def test_a_recipe_that_ran_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    from pkd.recipe.writing import write_recipe

    for effort in get_args(Effort):
        write_recipe(read(effort=effort), tmp_path / "recipe.yaml")
        assert recipe_values(read_recipe(tmp_path / "recipe.yaml")) == recipe_values(read(effort=effort))


@pytest.mark.parametrize("effort", get_args(Effort))
def test_a_printed_recipe_has_the_values_of_its_effort(
    effort: Effort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipe", "--effort", effort]) == 0
    (tmp_path / "recipe.yaml").write_text(capsys.readouterr().out)
    printed = read_recipe(tmp_path / "recipe.yaml", ["teacher.model=teacher", "data.train=train.csv"])
    assert recipe_values(printed) | {"name": None} == recipe_values(read(effort=effort)) | {"name": None}


def test_another_word_is_refused_with_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match="effort"):
        read(effort="much")
    assert main(["recipe", "--effort", "much"]) == 2
    assert "choose quick, normal or best" in " ".join(capsys.readouterr().err.split())


def test_the_flag_of_a_command_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("effort: best\nteacher: {model: t}\ndata: {train: a.csv}\n")
    assert read_file(tmp_path / "r.yaml").checked().seeds == 3
    assert read_file(tmp_path / "r.yaml", flags={"effort": "quick"}).checked().seeds == 1


def test_the_most_effort_races_the_starts_of_students_that_have_several() -> None:
    students = [{"name": "a"}, {"name": "b", "start": "first"}, {"name": "c", "student": "encoder", "method": "kd"}]
    assert [student.start for student in read(effort="best", students=students).students] == ["auto", "first", "spread"]
    assert [read(effort=effort).students[0].start for effort in ("quick", "normal")] == ["spread", "spread"]
    swept = {"sweep": {"keys": {"students.0.alpha": [0.2, 0.7]}}, "data": {"train": "a.csv", "eval": "b.csv"}}
    assert read(**swept, effort="best").students[0].start == "spread"
