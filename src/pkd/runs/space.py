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
    path, free = free_space(folder)
    if not fits(bytes_needed, free):
        raise ResourceError(
            f"{what} will need about {readable_bytes(bytes_needed)}, but only {readable_bytes(free)} are free at "
            f"{path}. Free some space or choose another output folder."
        )


def free_space(folder: Path) -> tuple[Path, int]:
    """The place where `folder` is or will be, and the bytes that are free there."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return place, shutil.disk_usage(place).free


def fits(bytes_needed: float, free: int) -> bool:
    """Whether so many bytes may be written where so many are free; a little is left for everything else."""
    return bytes_needed + _RESERVE <= free


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


def rough_bytes(count: float) -> str:
    """A size that was reckoned, with two digits at most.

    >>> rough_bytes(447_300_000), rough_bytes(1_230_000_000), rough_bytes(30_000)
    ('450 MB', '1.2 GB', 'less than 1 MB')
    """
    if count < 1e6:
        return "less than 1 MB"
    value, unit = float(f"{count:.2g}"), "MB"
    value /= 1e6
    if value >= 1000:
        value, unit = value / 1000, "GB"
    return f"{value:g} {unit}"
