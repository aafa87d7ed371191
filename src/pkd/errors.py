"""The one exception family; each message names what was given, where, what was expected and what to do.

The command line prints the message alone and exits with the class's `exit_code`; 1 is left for bugs.
"""

from __future__ import annotations

MORE_MEMORY = "End other programs, or take a machine with more."
# the last two are all that oneDNN says when it cannot allocate what a layer needs, and the loader of a library's file
_SIGNS_OF_LITTLE_MEMORY = (
    "out of memory", "can't allocate memory", "Cannot allocate memory", "Failed to allocate memory", "std::bad_alloc",
    "could not create a primitive", "failed to map segment from shared object",
)  # fmt: skip


def tells_of_little_memory(error: BaseException) -> bool:
    """Whether a library's error says that it could not have the memory it asked for."""
    text = str(error)  # of a disk that runs nothing the loader says the same, and that it is not permitted
    return any(sign in text for sign in _SIGNS_OF_LITTLE_MEMORY) and "Operation not permitted" not in text


def first_line(error: BaseException) -> str:
    """The message of another library's error, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class PKDError(Exception):
    """A job cannot go on for a reason its user can mend."""

    exit_code = 1


class RecipeError(PKDError, ValueError):
    """The recipe, a flag or a keyword has an invalid value."""

    exit_code = 2


class DataError(PKDError, ValueError):
    """A file or table of examples cannot be used as it is."""

    exit_code = 3


class TeacherError(PKDError, ValueError):
    """A teacher, student or encoder does not suit patient distillation."""

    exit_code = 4


class CacheError(PKDError):
    """A finished stage on the disk is damaged or does not belong to this run."""

    exit_code = 5


class CheckpointError(PKDError):
    """A checkpoint is damaged or belongs to other settings."""

    exit_code = 5


class DivergedError(PKDError):
    """The loss or the gradient is no longer finite."""

    exit_code = 6


class ResourceError(PKDError):
    """Too little disk, memory or device."""

    exit_code = 7


class RankError(PKDError):
    """Another process of the same job failed or is gone."""

    exit_code = 7


class Stopped(BaseException):
    """A signal stopped the job; the message names what is saved."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def refuse_for_memory(error: BaseException, what: str) -> None:
    """Refuse to load `what` if a library's error says that the memory did not suffice for it.

    Raises:
        ResourceError: if it says so.
    """
    if tells_of_little_memory(error):
        raise ResourceError(f"The memory does not suffice to load {what}. {MORE_MEMORY}") from error
