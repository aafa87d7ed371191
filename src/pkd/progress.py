"""How a long job tells how far it is, and hears that it should stop.

Jobs call `plan`, `stage` and `note`; whoever watches installs a `Watcher` with `watch`. Nobody watches by default, so
the library is silent; only the command line draws. The way back is `request_stop`: inside `saves_on_stop` the job
finishes the step it is in, saves, and raises `Stopped`; anywhere else there is nothing to save, and `Stopped` is raised
at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pkd.errors import Stopped


@dataclass
class Stage:
    """One stage of a job as it runs: `done` of `total` in `unit`; `total` 0 where the length is not known."""

    name: str
    total: int = 0
    unit: str = ""
    done: int = 0
    detail: str = ""
    failed: bool = False  # ended by an exception
    started: float = field(default_factory=time.monotonic)

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Say that `amount` more units are done."""
        self.reach(self.done + amount, detail)

    def reach(self, done: int, detail: str = "") -> None:
        """Say that `done` units are done in all."""
        self.done = done
        if detail:
            self.detail = detail
        _watcher.stage_moved(self)

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self.started


class Watcher(Protocol):
    """What draws progress; every method may be called from the job's own thread only.

    One that shows warnings alone says so with an attribute, `shows_notes = False`: nothing is measured for it.
    """

    def planned(self, stages: Sequence[tuple[str, float]]) -> None:
        """Take the names of the stages to come, in order, each with its relative cost."""

    def stage_began(self, stage: Stage) -> None:
        """Take a stage that begins."""

    def stage_moved(self, stage: Stage) -> None:
        """Take a stage that is further than it was."""

    def stage_ended(self, stage: Stage) -> None:
        """Take a stage that is over."""

    def noted(self, message: str, level: str) -> None:
        """Take a sentence for the user; `level` is "info" or "warning"."""


class _Nobody:
    shows_notes = False

    def planned(self, stages: Sequence[tuple[str, float]]) -> None: ...
    def stage_began(self, stage: Stage) -> None: ...
    def stage_moved(self, stage: Stage) -> None: ...
    def stage_ended(self, stage: Stage) -> None: ...
    def noted(self, message: str, level: str) -> None: ...


_watcher: Watcher = _Nobody()
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
    """Let nobody hear of what is said inside the block."""
    return watch(_Nobody())


def shows_notes() -> bool:
    """Whether anybody is shown what `note` says, so that it is worth finding out."""
    return bool(getattr(_watcher, "shows_notes", True))


def plan(stages: Sequence[tuple[str, float]]) -> None:
    """Announce the stages to come with their relative costs, so that the whole job's end can be told."""
    _watcher.planned(stages)


@contextlib.contextmanager
def stage(name: str, total: int = 0, unit: str = "") -> Iterator[Stage]:
    """Run one stage: `with stage("annotate train", total=6400, unit="rows") as s: s.advance(32)`.

    Raises:
        Stopped: if a stop was asked for, and some library kept it from ending the job where it was.
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
    """Tell the user something that is worth knowing."""
    _watcher.noted(message, "info")


def warn(message: str) -> None:
    """Tell the user something that may be wrong with what was asked."""
    _watcher.noted(message, "warning")


def saved() -> None:
    """Say that something is on the disk now from which the same command goes on."""
    global _something_is_saved
    _something_is_saved = True


def what_is_saved() -> str:
    """What becomes of a job that ends here, in words: nobody is promised what no job has saved."""
    if _something_is_saved:
        return "what was finished is saved. The same command again goes on from there."
    return "nothing was finished that could be kept. The same command begins anew."


def request_stop(exit_code: int) -> None:
    """Ask the running job to save and stop; `exit_code` is 130 for an interrupt, 75 for a termination.

    Raises:
        Stopped: at once where the running code does not save on a stop.
    """
    global _stop_exit_code
    _stop_exit_code = exit_code
    if not _saving_blocks:
        stop_if_requested()


@contextlib.contextmanager
def saves_on_stop() -> Iterator[None]:
    """Mark code that looks at `stop_requested` between its steps, so that a stop lets it save first.

    Raises:
        Stopped: at the end of the block, if a stop was asked for in it and the code inside went on to its end.
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
    """Whether somebody asked the running job to stop."""
    return _stop_exit_code is not None


def stop_asked_for() -> int:
    """The exit code of the stop that was asked for; 0 where none was."""
    return _stop_exit_code or 0


def stop_if_requested(what: str | None = None) -> None:
    """Raise `Stopped` if a stop was asked for; `what` is saved, e.g. "3 of 7 shards are", where more can be said."""
    if _stop_exit_code is not None:
        told = what_is_saved() if what is None else f"{what} saved. The same command again goes on from there."
        raise Stopped(f"Stopped as asked; {told}", _stop_exit_code)
