"""Paths as the user gives them: `~` is expanded, and an output must be a folder on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, overload

from pkd.errors import RecipeError
from pkd.recipe.spelling import named

AnyPath: TypeAlias = str | os.PathLike[str]  # a file or folder; for models and examples also a hub name
AnyPaths: TypeAlias = AnyPath | Sequence[AnyPath]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one slash suffices, as `Path` keeps only one; a drive has one letter


@overload
def path_text(given: AnyPath, key: str) -> str: ...
@overload
def path_text(given: AnyPath | None, key: str) -> str | None: ...
def path_text(given: AnyPath | None, key: str) -> str | None:
    """A path or hub name as text, with `~` expanded; None stays None.

    Every public function first passes each of its paths through this, `path_texts` or `output_folder`.

    Args:
        given: as the caller gave it.
        key: the parameter's name.

    Raises:
        RecipeError: if it is not a path.
    """
    return None if given is None else path_texts([given], key)[0]


def path_texts(given: AnyPaths, key: str) -> list[str]:
    """One path or hub name, or several, as `path_text` reads each."""
    several = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    for each in several:
        if not isinstance(each, str | os.PathLike):
            raise RecipeError(
                f"{named(key)} is {each!r}; it must be the name of a file or folder, as text or as a path."
            )
    texts = [os.fsdecode(each) for each in several]
    return [str(local_path(text)) if text.startswith("~") else text for text in texts]


def is_url(name: str) -> bool:
    """Whether `name` is a URL and not a path.

    >>> is_url("s3://bucket/x"), is_url("C:/data"), is_url("owner/name:train")
    (True, False, False)
    """
    return _URL.match(name) is not None


def local_path(name: AnyPath) -> Path:
    """The path of a name, `~` expanded unless the user is unknown (`~nobody/x`)."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def output_fault(name: AnyPath | None) -> str | None:
    """The fault of an output's name, to follow the name of its key; None if valid."""
    if name is None or not str(name):
        return "is empty; name a folder"
    if is_url(str(name)):
        return f"is {name}, a URL; outputs are written to folders of this machine: name one, and copy it there later"
    if not Path(os.path.abspath(local_path(name))).name:  # noqa: PTH100 - `Path.resolve` would follow links
        return f"is {name}, the root of the file system; name a folder"
    return None


def output_folder(name: AnyPath, key: str = "output") -> Path:
    """The folder of an output; `.` and the like become absolute.

    Raises:
        RecipeError: if it cannot be one; the message calls it `key`.
    """
    if not isinstance(name, str | os.PathLike):
        raise RecipeError(f"{named(key)} is {name!r}; it must be the name of a folder.")
    name = os.fsdecode(name)
    if fault := output_fault(name):
        raise RecipeError(f"{named(key)} {fault}.")
    path = local_path(name)
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))  # noqa: PTH100
