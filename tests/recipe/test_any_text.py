"""Whatever text a recipe or an override is, it becomes a recipe or a `RecipeError`; what a fuzzer found is kept here."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkd.errors import RecipeError
from pkd.recipe.reading import read_recipe, recipe_from
from pkd.recipe.schema import Recipe

GOOD = "teacher: {model: t}\ndata: {train: a.csv, eval: b.csv}\nstudents: [{layers: 2}]\n"
PIECES = st.sampled_from(
    ["teacher: ", "data: ", "students: ", "training: ", "sweep: ", "model: t\n", "{", "}", "[", "]", ", ", ": ", "\n", "\n  ",
     "- ", "&a ", "*a", "<<: ", "!!int ", "!!binary ", "!!timestamp ", "!!python/object:os.system ", "? ", "| ", "> ", "'", '"',
     "#", "%YAML 1.1\n", "---\n", "...\n", "\t", "\0", "\u202e", "é", "👩‍🚀", "1e999", ".nan", "0x", "1_0", "2001-01-01", "null",
     "layers: 6\n", "beta: -1\n", "name: ../x\n", "seeds: 3\n", "grid: published\n", "start: [[1, 2], spread]\n"]
)  # fmt: skip
ANY_TEXT = st.one_of(st.text(max_size=120), st.lists(PIECES, max_size=25).map("".join))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
EXAMPLES = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(text=ANY_TEXT)
@EXAMPLES
def test_any_text_is_a_recipe_or_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(RecipeError):
        assert isinstance(read_recipe(path), Recipe)


@given(
    key=st.sampled_from(
        ["students.0.beta", "students.0", "sweep", "data", "training.learning_rate", "a.b", "seeds", "students.9"]
    ),
    text=ANY_TEXT,
)
@EXAMPLES
def test_any_override_is_taken_or_told(tmp_path: Path, key: str, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD)
    with contextlib.suppress(RecipeError):
        assert isinstance(read_recipe(path, [f"{key}={text}"]), Recipe)


@given(
    part=st.sampled_from(
        ["teacher", "data", "students", "training", "annotation", "evaluation", "sweep", "seed", "name", "x"]
    ),
    value=VALUES,
)
@EXAMPLES
def test_any_values_are_a_recipe_or_told(part: str, value: object) -> None:
    with contextlib.suppress(RecipeError):
        given = {"teacher": {"model": "t"}, "data": {"train": "a.csv", "eval": "b.csv"}, part: value}
        assert isinstance(recipe_from(given, where="here"), Recipe)


def test_deep_nesting_is_told() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RecipeError, match="holds itself or far too much"):
        recipe_from({"data": deep}, where="here")


@pytest.mark.parametrize(
    "text", ["c: !!int\n", "a: 1\nb: !!int ''\n", "a: " + "[" * 1000, "a: !!float\n", "a: !!bool x\n"]
)
def test_what_the_fuzzer_found_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError):
        read_recipe(path)
