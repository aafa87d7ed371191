"""Messages name no flag that the command which raises them might not have: keys are spelled by `named` and `set_to`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import typer

import pkd
from pkd.cli.main import app
from pkd.recipe.naming import dotted, leaves

SOURCE = Path(pkd.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
ADVICE = re.compile(r"`pkd ([a-z]+)([^`]*)`")
KEYS = {dotted(path) for path, _ in leaves()}
KEY = re.compile(
    r"(?<![\w./{`])(?:"
    + "|".join(re.escape(key) for key in sorted(KEYS, key=len, reverse=True) if "." in key)
    + r")(?![\w.])"
)
OTHERS = re.compile(r"`[^`]*`|pip install [^.]*")  # commands of other programs
NOT_MESSAGES = {
    "recipe/spelling.py", "recipe/reading.py", "recipe/yaml_text.py",  # which spell keys, and read what is spelled
    "recipe/suggestions.py",  # whose keys are templates
    "recipe/sweeping.py", "recipe/writing.py",  # about what stands in a recipe file, and such a file
    "reporting/evaluated_rows.py",  # pages are read away from the command that wrote them: they name both ways
    "reporting/front_words.py",  # a page's words too: how a point is taken later, by anyone
    "reporting/wording.py",  # of one seed: all commands that judge methods have --seeds, but a sweep, which has several
    "reporting/terminal.py",  # a view of the command line
}  # fmt: skip


def flags() -> dict[str, set[str]]:
    root = typer.main.get_command(app)
    return {
        name: {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in root.commands.items()  # type: ignore[attr-defined]
    }


def messages() -> Iterator[tuple[str, str]]:
    """Every text of the library that is no docstring, by file and line; of an f-string its fixed parts."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("cli/"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        calls = {
            id(argument)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("named", "set_to", "offers")
            for argument in node.args
        }
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
            if is_text and id(node) not in docstrings | calls:
                yield f"{name}:{node.lineno}", str(node.value)


def test_a_command_that_is_named_with_a_flag_has_it() -> None:
    known = flags()
    told = [(where, command, given) for where, text in messages() for command, given in ADVICE.findall(text)]
    assert len(told) > 20
    wrong = [
        f"{where}: pkd {command}{given}"
        for where, command, given in told
        if command not in known or not set(FLAG.findall(given)) <= known[command]
    ]
    assert wrong == []


def test_no_message_writes_down_a_flag_or_a_key_of_the_recipe() -> None:
    found = []
    for where, text in messages():
        rest = OTHERS.sub("", text)
        if where.partition(":")[0] not in NOT_MESSAGES and (FLAG.search(rest) or KEY.search(rest)):
            found.append(f"{where}: {text}")
    assert found == []
