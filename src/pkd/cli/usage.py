"""Faults of a command line in words: an unknown flag with where it belongs, and all that is missing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from pkd.recipe.keywords import path_of_keyword
from pkd.recipe.naming import dotted
from pkd.recipe.suggestions import RENAMED, gone

_WORDS = {  # pydantic's → ours
    "Input should be": "it must be",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


def usage_sentence(error: typer.TyperException) -> str:
    """Typer's error about the command line of `pkd`, in a sentence or two."""
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoSuchOption":
        return unknown_flag_sentence(str(getattr(error, "option_name", "")), context)
    message = error.format_message().strip()
    message = message if message.endswith((".", "?", "!")) else f"{message}."
    return f"{message} `{context.command_path if context is not None else 'pkd'} --help` lists what there is."


def missing_sentence(parameter: Any) -> str:
    """That a flag or an argument is missing, and what it is for."""
    return f"{name_of(parameter)} is missing ({parameter.help})"


def value_sentence(name: str, given: Any, error: typer.TyperException) -> str:
    """The fault of a flag's value, in Typer's words, which are pydantic's, or those of our own check."""
    message = str(getattr(error, "message", error)).strip().removesuffix(".")
    if message.startswith(name):
        return message
    if message.startswith(str(given)):
        return f"{name}: {message}"
    must = message.partition(", unable to")[0]
    for theirs, ours in _WORDS.items():
        must = must.replace(theirs, ours)
    return f"{name} is {given}; {must}"


def name_of(parameter: Any) -> str:
    """The name of a command's parameter: its flag, or its metavar, such as MODEL."""
    flag = str(parameter.opts[0])
    return flag if flag.startswith("-") else str(parameter.metavar or parameter.name).rstrip(".")


def unknown_flag_sentence(flag: str, context: Any) -> str:
    """Which command has the flag, or its name here."""
    command, told = context.command, f"`{context.command_path}` has no {flag}"
    own = list(_flags(command))
    name = flag.lstrip("-").replace("-", "_").lower()
    today = RENAMED.get(name, name)
    if (said := gone(name)) is not None:
        return f"{told}; {said}"
    if (here := "--" + today.replace("_", "-")) in own:
        return f"{told}; write {here}"
    path = path_of_keyword(today)
    takes = {parameter.name for parameter in command.params}
    if path is not None and "recipe" in takes:
        return f"{told}; keys of the recipe are given as --set {dotted(path)}=..."
    root = context.parent.command if context.parent is not None else None
    others = [other for other, each in getattr(root, "commands", {}).items() if here in _flags(each)]
    if near := difflib.get_close_matches(flag, own, n=1, cutoff=0.8 if others else 0.6):
        return f"{told}; did you mean {near[0]}?"
    if others:
        return f"{told}; {_listed([f'`pkd {other}`' for other in others])} {'has' if len(others) == 1 else 'have'}"
    if path is not None and "set" in takes:
        return f"{told}; write --set {dotted(path)}=..."
    return f"{told}. `{context.command_path} --help` lists what there is"


def _flags(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--"))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
