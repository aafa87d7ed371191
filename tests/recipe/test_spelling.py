"""A key is spelled as the user gave it: by its flag, with its line, or as a keyword."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkd.distillation.plan import plan_students
from pkd.errors import RecipeError
from pkd.recipe.keywords import place_keywords
from pkd.recipe.reading import read_file, read_recipe, recipe_from
from pkd.recipe.spelling import AsFlags, call_of, named, offers, set_to, spelled_as

FLAGS = AsFlags(
    {
        ("data", "eval"): "--eval",
        ("students", 0, "alpha"): "--alpha",
        ("budget", "max_drop"): "--max-drop",  # a command's own parameter has the flag of the key of its name too
        ("int8",): "--int8",
        ("data", "text_columns"): "--text-columns",
    },
    {("students", 0, "beta"): "--set beta"},
)


def test_in_python_keys_are_keywords() -> None:
    assert [named(key) for key in ("data.eval", "students.0.beta", "teacher.model", "evaluation.metric")] == [
        "eval", "beta", "teacher", "metric",
    ]  # fmt: skip
    assert [named(key) for key in ("students.1.beta", "teacher.finetune.learning_rate", "max_drop")] == [
        "students.1.beta", "teacher.finetune.learning_rate", "max_drop",
    ]  # fmt: skip
    assert set_to("data.sep", ";") == "sep=';'"
    assert set_to("data.encoding") == "encoding"
    assert offers("data.unlabelled")


def test_on_the_command_line_keys_are_flags() -> None:
    with spelled_as(FLAGS):
        assert [named(key) for key in ("data.eval", "max_drop", "students.0.beta", "data.sep")] == [
            "--eval", "--max-drop", "--set beta", "--set data.sep",
        ]  # fmt: skip
        assert set_to("data.sep", ";") == "--set data.sep=';'"
        assert set_to("data.label_names", ["a b", "c"]) == "--set data.label_names='[a b, c]'"
        assert set_to("data.text_columns", ["a", "b"]) == "--text-columns a,b"
        assert set_to("data.label_ids_are_teacher_ids", True) == "--set data.label_ids_are_teacher_ids=true"
        assert set_to("students.0.alpha", 0.7) == "--alpha 0.7"
        assert set_to("data.encoding") == "--set data.encoding=..."
        assert set_to("data.eval") == "--eval"
        assert set_to("int8", True) == "--int8"
        assert call_of("export", {"int8": True, "max_drop": 0.1}) == "pkd export --int8 --max-drop 0.1"
        assert offers("data.eval")
        assert not offers("data.unlabelled")  # --set takes the key, but the command does not look at it
    assert named("data.eval") == "eval"


def test_faults_of_keywords_name_the_flags_while_a_command_runs() -> None:
    with spelled_as(FLAGS), pytest.raises(RecipeError) as caught:
        recipe_from(
            place_keywords({"alpha": 70, "beta": -1, "bta": 3}),
            where="distill",
            required=("data.train",),
        )
    told = str(caught.value).splitlines()[1:]
    assert [line.split(" is ")[0].split(" names ")[0] for line in told] == [
        "--set bta", "--alpha", "--set beta", "--set data.train",
    ]  # fmt: skip
    assert "did you mean --set beta?" in told[0]


def test_in_a_recipe_file_keys_have_their_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("teacher: {model: t}\ndata:\n  train: a.csv\n  sep: ';'\ntraining: {device: cpu}\n")
    reading = read_file(path, ["students.0.beta=5"])
    assert reading.checked().students[0].beta == 5
    with spelled_as(reading.spelling):
        assert named("data.sep") == "data.sep (recipe.yaml:4)"
        assert named("data.eval") == "data.eval"
        assert named("device") == "training.device (recipe.yaml:5)"  # where it once stood
        assert named("students.0.beta") == "--set students.0.beta"
        assert set_to("data.sep", ",") == "data.sep: ','"
        assert set_to("data.on_empty", "drop") == "data.on_empty: drop"
        assert set_to("data.label_names", ["a", "b"]) == "data.label_names: [a, b]"
        assert set_to("overwrite", True) == "overwrite=True"  # a job's own, and no key of a recipe
    assert named("data.sep") == "sep"


def test_a_students_keys_are_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("teacher: {model: t}\ndata: {train: a.csv}\nstudents:\n  - beta: 1\n  - layers: 9\n")
    reading = read_file(path)
    with spelled_as(reading.spelling), pytest.raises(RecipeError) as caught:
        plan_students(reading.checked(), teacher_layers=4)
    assert str(caught.value).startswith(
        "students.1.layers (recipe.yaml:5) is 9: a student of 9 layers cannot come from"
    )


def test_a_recipe_that_is_read_beside_a_command_keeps_its_own_lines(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("teacher: {model: t}\ndata: {train: a.csv}\nstudents: [{alpha: 7}]\n")
    with spelled_as(FLAGS), pytest.raises(RecipeError, match=r"recipe\.yaml:3: students\.0\.alpha is 7;"):
        read_recipe(path)
