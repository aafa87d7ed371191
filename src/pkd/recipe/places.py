"""Names of files and folders as they are given: `~` is the home folder, and an output is a folder on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pkd.errors import RecipeError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of one slash too, which is what `Path` leaves; a drive has one letter


def is_url(name: str) -> bool:
    """Whether `name` is an address and no path.

    >>> is_url("s3://bucket/x"), is_url("C:/data"), is_url("owner/name:train")
    (True, False, False)
    """
    return _URL.match(name) is not None


def local_path(name: str | Path) -> Path:
    """The path of a name; that of an unknown user (`~nobody/x`) stays as it is."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def output_fault(name: str | Path) -> str | None:
    """What is wrong with a name for an output, to go on after the name of its key; None for nothing."""
    if not str(name):
        return "is empty; name a folder"
    if is_url(str(name)):
        return f"is {name}, a URL; outputs are written to folders of this machine: name one, and copy it there later"
    if not Path(os.path.abspath(local_path(name))).name:  # noqa: PTH100 - `Path.resolve` would follow links
        return f"is {name}, the root of the file system; name a folder"
    return None


def output_folder(name: str | Path, key: str = "output") -> Path:
    """The folder that an output is written to; one that is named without a name of its own, as `.`, by its whole path.

    Raises:
        RecipeError: if it cannot be one; `key` is what it is called there.
    """
    if not isinstance(name, str | Path):
        raise RecipeError(f"{key} is {name!r}; it must be the name of a folder.")
    if fault := output_fault(name):
        raise RecipeError(f"{key} {fault}.")
    path = local_path(name)
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))  # noqa: PTH100
