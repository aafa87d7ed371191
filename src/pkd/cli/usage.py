"""What is wrong with how a command was written: an unknown flag with where it belongs, and all that is missing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from pkd.recipe.keywords import path_of_keyword
from pkd.recipe.naming import dotted
from pkd.recipe.suggestions import RENAMED, gone


def usage_sentence(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """The error in a sentence or two.

    Args:
        error: as Typer raised it.
        arguments: the command line, without `pkd`.
    """
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoSuchOption":
        message = _unknown_flag(str(getattr(error, "option_name", "")), context)
    elif context is not None and type(error).__name__ == "MissingParameter":
        message = _missing(context, arguments) or error.format_message()
    else:
        message = error.format_message().replace("Input should be", "it must be")
    message = message.strip()
    message = message if message.endswith((".", "?", "!")) else f"{message}."
    return f"{message} `{context.command_path if context is not None else 'pkd'} --help` lists what there is."


def _unknown_flag(flag: str, context: Any) -> str:
    """Who has the flag, or what it is called here."""
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
    return told


def _missing(context: Any, arguments: Sequence[str]) -> str | None:
    """All required flags that are not there; None where none is known."""
    given = {argument.partition("=")[0] for argument in arguments}
    required = [one for one in context.command.params if one.required and one.opts[0].startswith("-")]
    missing = [one.opts[0] for one in required if not given & set(one.opts)]
    if not missing:
        return None
    return f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"


def _flags(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--"))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
