"""Check disk space before a stage begins."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from pkd.errors import ResourceError

_RESERVE = 64 << 20  # bytes to leave free


def require_space(folder: Path, bytes_needed: int, what: str) -> None:
    """Check that `what`, of `bytes_needed` bytes, fits on the disk of `folder`, which need not exist yet.

    Raises:
        ResourceError: if it does not.
    """
    path = folder.absolute()
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    if bytes_needed + _RESERVE > free:
        raise ResourceError(
            f"{what} will need about {readable_bytes(bytes_needed)}, but only {readable_bytes(free)} are free at "
            f"{path}. Free some space or choose another output folder."
        )


def is_full(error: OSError) -> bool:
    """Whether a write failed for lack of space: on the disk, in the user's quota, or under the file size limit."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def readable_bytes(count: float) -> str:
    """A size in readable units.

    >>> readable_bytes(1_500_000)
    '1.5 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
