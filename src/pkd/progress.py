"""Progress of a long job, and requests to stop it.

Jobs call `plan`, `stage` and `note`; `watch` installs a `Watcher` that receives them. There is none by default, so
the library is silent; only the command line draws. `request_stop` goes the other way: inside `saves_on_stop` the job
finishes its step, saves, and raises `Stopped`; anywhere else there is nothing to save, and `Stopped` is raised at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pkd.errors import Stopped


@dataclass
class Stage:
    """A running stage of a job: `done` of `total` in `unit`; `total` is 0 if unknown."""

    name: str
    total: int = 0
    unit: str = ""
    done: int = 0
    detail: str = ""
    failed: bool = False  # ended by an exception
    started: float = field(default_factory=time.monotonic)

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Count `amount` more units as done."""
        self.reach(self.done + amount, detail)

    def reach(self, done: int, detail: str = "") -> None:
        """Set the number of done units."""
        self.done = done
        if detail:
            self.detail = detail
        _watcher.stage_moved(self)

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self.started


class Watcher:
    """Receives the progress of jobs, from the job's own thread only; a subclass draws what it overrides."""

    shows_notes = True  # False if only warnings are shown: nothing is measured for notes alone

    def planned(self, stages: Sequence[tuple[str, float]]) -> None:
        """Receive the names of the stages to come, in order, each with its relative cost."""

    def stage_began(self, stage: Stage) -> None:
        """A stage began."""

    def stage_moved(self, stage: Stage) -> None:
        """A stage advanced."""

    def stage_ended(self, stage: Stage) -> None:
        """A stage ended."""

    def noted(self, message: str, level: str) -> None:
        """Show the user a sentence; `level` is "info" or "warning"."""


class Silent(Watcher):
    """Draws nothing."""

    shows_notes = False


_watcher: Watcher = Silent()
_stop_exit_code: int | None = None
_saving_blocks = 0
_something_is_saved = False


@contextlib.contextmanager
def watch(watcher: Watcher) -> Iterator[None]:
    """Let `watcher` draw the progress of every job inside the block."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before


def unheard() -> contextlib.AbstractContextManager[None]:
    """Silence progress and notes inside the block."""
    return watch(Silent())


def shows_notes() -> bool:
    """Whether notes are shown, so that they are worth computing."""
    return _watcher.shows_notes


def plan(stages: Sequence[tuple[str, float]]) -> None:
    """Announce the stages to come with their relative costs, to estimate the end of the job."""
    _watcher.planned(stages)


@contextlib.contextmanager
def stage(name: str, total: int = 0, unit: str = "") -> Iterator[Stage]:
    """Run one stage: `with stage("annotate train", total=6400, unit="rows") as s: s.advance(32)`.

    Raises:
        Stopped: if a stop was requested, and a library swallowed the exception that should have ended the job.
    """
    if not _saving_blocks:
        stop_if_requested()
    current = Stage(name=name, total=total, unit=unit)
    try:
        _watcher.stage_began(current)
        yield current
    except BaseException:
        current.failed = True
        raise
    finally:
        _watcher.stage_ended(current)


def note(message: str) -> None:
    """Show the user a note."""
    _watcher.noted(message, "info")


def warn(message: str) -> None:
    """Warn the user."""
    _watcher.noted(message, "warning")


def saved() -> None:
    """Record that the same command can now resume from the disk."""
    global _something_is_saved
    _something_is_saved = True


def what_is_saved() -> str:
    """What a job that ends here leaves, in words; it claims only what was saved."""
    if _something_is_saved:
        return "what was finished is saved. The same command again goes on from there."
    return "nothing was finished that could be kept. The same command begins anew."


def request_stop(exit_code: int) -> None:
    """Request the running job to save and stop; `exit_code` is 130 for an interrupt, 75 for a termination.

    Raises:
        Stopped: at once where the running code does not save on a stop.
    """
    global _stop_exit_code
    _stop_exit_code = exit_code
    if not _saving_blocks:
        stop_if_requested()


@contextlib.contextmanager
def saves_on_stop() -> Iterator[None]:
    """Mark code that checks `stop_requested` between its steps, so that a stop lets it save first.

    Raises:
        Stopped: at the end of the block, if a stop was requested in it and the code inside ran to its end.
    """
    global _saving_blocks
    ends_already = stop_requested()  # and this block is a part of it
    _saving_blocks += 1
    try:
        yield
    finally:
        _saving_blocks -= 1
    if not _saving_blocks and not ends_already:
        stop_if_requested()


def clear_stop() -> None:
    """Forget a request to stop, and what was saved, so that the next job in this process runs."""
    global _stop_exit_code, _something_is_saved
    _stop_exit_code, _something_is_saved = None, False


def stop_requested() -> bool:
    """Whether a stop was requested."""
    return _stop_exit_code is not None


def stop_asked_for() -> int:
    """The exit code of the requested stop; 0 if none was."""
    return _stop_exit_code or 0


def stop_if_requested(what: str | None = None) -> None:
    """Raise `Stopped` if a stop was requested; `what` names what is saved, e.g. "3 of 7 shards are"."""
    if _stop_exit_code is not None:
        told = what_is_saved() if what is None else f"{what} saved. The same command again goes on from there."
        raise Stopped(f"Stopped as asked; {told}", _stop_exit_code)


def duration(seconds: float) -> str:
    """Seconds in words: 8 s, 1 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
