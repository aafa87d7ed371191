"""One writer a folder: a second command on the same folder says who holds it, instead of mixing their work."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pkd.errors import RecipeError


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold `folder` for writing; the operating system lets go of it when the process ends, however it ends.

    Raises:
        RecipeError: if another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ".lock"
        lock = FileLock(path)
        lock.acquire(timeout=0)
    except Timeout:
        raise RecipeError(
            f"{folder} is being written by another pkd ({_holder(folder)}). Wait for it, stop it, or choose another "
            "output folder."
        ) from None
    except OSError as error:
        raise RecipeError(f"{folder} cannot be written: {error.strerror or error}. Choose another output.") from error
    try:
        holder = {"process": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}
        (folder / ".lock.json").write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        (folder / ".lock.json").unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / ".lock.json").read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "it does not say which"
