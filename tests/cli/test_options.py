"""Flags are made of the recipe's fields, and only what was given goes on."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from pkd.cli.main import main
from pkd.cli.options import BUDGET, DATA, RUN, STUDENT, TRAINING, TRANSFER, layer_map, start, with_flags
from pkd.errors import RecipeError
from pkd.recipe.keywords import place_keywords
from pkd.recipe.naming import leaves
from pkd.recipe.reading import recipe_from


def keys_of(*arguments: str) -> dict[str, Any]:
    """What a command with all flags is called with."""
    seen: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @with_flags(DATA, TRANSFER, STUDENT, TRAINING, RUN)
    def command(teacher: Annotated[str, typer.Option("--teacher")] = "", **keys: Any) -> None:
        """Take everything."""
        seen.update(keys)

    result = CliRunner().invoke(app, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return seen


def test_what_is_not_given_does_not_go_on() -> None:
    assert keys_of() == {}
    assert keys_of("--teacher", "t") == {}


def test_flags_become_keywords_of_the_recipe() -> None:
    given = ["--alpha", "0.2", "--layers", "3", "--layer-map", "1:2,2:4", "--start", "1,3,5", "--no-controls"]
    given += ["--unlabelled", "a.txt", "--unlabelled", "b.txt", "--text-columns", "a,b", "--seed", "7"]
    given += ["--set", "warmup_steps=10", "--set", "annotation.states_dtype=float32"]
    keys = keys_of(*given)
    recipe = recipe_from(place_keywords(keys), where="flags", required=())
    student = recipe.students[0]
    assert (student.alpha, student.layers, student.layer_map, student.start) == (0.2, 3, [(1, 2), (2, 4)], [1, 3, 5])
    assert recipe.controls is False
    assert recipe.data.unlabelled == ["a.txt", "b.txt"]
    assert recipe.data.text_columns == ["a", "b"]
    assert (recipe.seed, recipe.training.warmup_steps, recipe.annotation.states_dtype) == (7, 10, "float32")


def test_every_common_field_has_a_flag_and_no_other_has() -> None:
    fields = {field.name for panel in (DATA, TRANSFER, STUDENT, TRAINING, RUN, BUDGET) for field in panel.fields()}
    assert fields == {field.name for path, field in leaves() if field.metadata.get("common")}


def test_the_same_key_by_flag_and_by_set_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="given twice"):
        keys_of("--beta", "3", "--set", "beta=4")


@pytest.mark.parametrize(
    ("command", "key", "flag"),
    [("distill", "train", "--train"), ("finetune", "model", "--model"), ("annotate", "output", "--output"),
     ("evaluate", "test", "--test"), ("export", "eval", "--eval"), ("evaluate", "models", "MODEL")],
)  # fmt: skip
def test_set_refuses_the_keys_that_a_command_has_as_its_own(
    command: str, key: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"distill": ["--teacher", "t"], "finetune": ["--model", "m"], "annotate": ["--teacher", "t"]}
    output = [] if command == "evaluate" else ["--output", "o"]
    more = given.get(command, ["m"])
    assert main([command, *more, *output, "--set", f"{key}=x"]) == 2
    assert f"{key} is no key for --set here: this command has it as {flag}" in capsys.readouterr().err


def test_a_number_of_endless_digits_is_no_layer_and_no_place_in_a_list() -> None:
    with pytest.raises(typer.BadParameter, match="no list of layers"):
        start(["9" * 5000])
    with pytest.raises(RecipeError, match="it must be a list"):
        recipe_from(place_keywords(keys_of("--set", f"students.{'9' * 5000}.beta=1")), where="test", required=())


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["spread"], "spread"),
        (["1,3,5"], [1, 3, 5]),
        (["spread,first"], ["spread", "first"]),
        (["first", "1, 3, 5"], ["first", [1, 3, 5]]),
    ],
)
def test_starts_are_read_as_the_recipe_writes_them(texts: list[str], expected: object) -> None:
    assert start(texts) == expected


def test_layer_maps_are_read_as_the_recipe_writes_them() -> None:
    assert layer_map("last") == "last"
    assert layer_map("1:4,2:8") == [[1, 4], [2, 8]]
    with pytest.raises(typer.BadParameter):
        layer_map("1:4:5x")
