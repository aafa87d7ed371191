"""Allow one writer per folder: a second command on it raises an error that names the holder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pkd import ranks
from pkd.errors import RecipeError, ResourceError
from pkd.runs.space import is_full


@contextlib.contextmanager
def one_writer(folder: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Lock `folder` for writing; the operating system releases the lock when the process ends, however it ends.

    In a job with several processes rank 0 holds the lock. The lock file is .NAME.lock beside the folder, because the
    folder is renamed when complete; links are resolved, so that all names of a folder share one lock. On exit the lock
    file is removed, with the parent folders that were created for it and are still empty, so that a refused job leaves
    nothing. `wait_seconds` is for a holder that is about to end; with it the lock file stays, because another waiting
    process may have it open on another machine.

    Raises:
        RecipeError: if another process holds it, or the folder cannot be written.
        ResourceError: if the disk is full.
    """
    if folder.is_symlink() and not folder.exists():
        raise RecipeError(f"{folder} is a broken link. Choose another output.")
    target = Path(os.path.realpath(folder))  # `Path.resolve` raises on circular links
    if not target.name:
        raise RecipeError(f"{folder} is the root of the file system. Choose another output.")
    path = target.with_name(f".{target.name}.lock")
    holder_file = path.with_suffix(".lock.json")
    lock = FileLock(path)
    missing = [each for each in (target, *target.parents) if not os.path.exists(each)]  # noqa: PTH110 - raises nothing
    try:
        ranks.on_first(lambda: _acquire(lock, folder, holder_file, wait_seconds))
        yield
    finally:
        if lock.is_locked:
            holder_file.unlink(missing_ok=True)
            if not wait_seconds:
                with contextlib.suppress(OSError):  # Windows cannot remove an open file
                    path.unlink()
            lock.release()
        for made in missing if ranks.is_first() else []:  # the innermost first
            with contextlib.suppress(OSError):  # not empty, or never created
                made.rmdir()


def _acquire(lock: FileLock, folder: Path, holder_file: Path, wait_seconds: float) -> None:
    try:
        holder_file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait_seconds)
        since = datetime.now(UTC).isoformat("T", "seconds")
        holder = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
        holder_file.write_text(json.dumps(holder), encoding="utf-8")
    except Timeout:
        if not Path(lock.lock_file).exists():  # filelock reports an unwritable file system as a held lock
            raise RecipeError(
                f"{folder} cannot be written: no file can be created there. Choose another output."
            ) from None
        raise RecipeError(
            f"{folder} is being written by another pkd ({_holder(holder_file)}). Wait for it, stop it, or choose "
            "another output folder."
        ) from None
    except OSError as error:
        if is_full(error):
            raise ResourceError(f"The disk is full: {holder_file} cannot be written. Free some space.") from error
        raise RecipeError(f"{folder} cannot be written: {error.strerror or error}. Choose another output.") from error


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "which one is unknown"
