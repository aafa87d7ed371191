"""Rules of the house that no linter holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pkd

SOURCE = Path(pkd.__file__).parent
MOST = 8  # parameters; what needs more of them lacks an object


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def test_a_function_takes_at_most_eight_parameters_unless_a_user_calls_it() -> None:
    """The commands have a parameter a flag, and so have the public verbs and what asks on their behalf."""
    too_many = set()
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if place.startswith("cli/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(parameters_of(node)) <= MOST:
                continue
            is_verb = place.startswith(("jobs/", "search/")) and node.name in pkd.__all__
            if not is_verb:
                too_many.add(f"{place} {node.name}")
    assert not too_many
