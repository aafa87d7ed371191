"""Will it fit on the disk: asked before a stage begins, not found out when it is nearly done."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from pkd.errors import ResourceError

_RESERVE = 64 << 20  # bytes left free for everything else


def require_space(folder: Path, bytes_needed: int, what: str) -> None:
    """Check that `what` of `bytes_needed` bytes fits where `folder` is or will be.

    Raises:
        ResourceError: if it does not.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if bytes_needed + _RESERVE > free:
        raise ResourceError(
            f"{what} will need about {readable_bytes(bytes_needed)}, but only {readable_bytes(free)} are free at "
            f"{place}. Free some space or choose another output folder."
        )


def is_full(error: OSError) -> bool:
    """Whether the system refused to write for want of space: the disk's, the user's quota, or the limit of a file."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def readable_bytes(count: float) -> str:
    """A size as people read it.

    >>> readable_bytes(1_500_000)
    '1.5 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
