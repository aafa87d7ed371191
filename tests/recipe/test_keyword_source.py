"""Editors and type checkers know the keywords of the public verbs: the committed file is what the recipe gives."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import pkd
from pkd.recipe import keyword_types
from pkd.recipe.keyword_source import keyword_types_source
from pkd.recipe.keywords import place_keywords

VERBS = ("distill", "finetune", "annotate", "augment", "evaluate", "export")


def test_the_committed_keywords_are_those_of_the_recipe() -> None:
    committed = Path(keyword_types.__file__).read_text(encoding="utf-8")
    assert committed == keyword_types_source(), "python -m pkd.recipe.keyword_source > src/pkd/recipe/keyword_types.py"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_takes_its_keywords_and_none_twice(verb: str) -> None:
    function = getattr(pkd, verb)
    keys = typing.get_type_hints(getattr(keyword_types, f"{verb.capitalize()}Keywords"))
    parameters = inspect.signature(function).parameters
    assert f"{verb.capitalize()}Keywords" in str(parameters["keys"].annotation)
    assert not keys.keys() & parameters.keys()
    assert not place_keywords(dict.fromkeys(keys, None)).faults
    assert {"text_columns", "max_length"} <= keys.keys()


def test_a_misspelt_keyword_is_a_type_error(tmp_path: Path) -> None:
    module = tmp_path / "uses.py"
    module.write_text(
        'import pkd\n'
        'pkd.distill(teacher="t", train="a.csv", output="o", layers=3, beta=50.0, unlabelled=["more.txt"])\n'
        'pkd.distill(teacher="t", train="a.csv", output="o", layrs=3)\n'
        'pkd.finetune(model="m", train="a.csv", output="o", learning_rate="fast")\n',
        encoding="utf-8",
    )  # fmt: skip
    settings = tmp_path / "mypy.ini"  # the types of other libraries take a minute to read, and matter to none of this
    others = ",".join(f"{name}.*" for name in sorted(packages_distributions()) if name.isidentifier() and name != "pkd")
    settings.write_text(
        f"[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n[mypy-{others}]\nfollow_imports = skip\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(settings), "--cache-dir", str(tmp_path / "cache"), str(module)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    faults = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(faults) == 2, done.stdout
    assert "uses.py:3" in faults[0]
    assert "layrs" in faults[0]
    assert "uses.py:4" in faults[1]
