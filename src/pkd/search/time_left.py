"""How long a search may still take, and what its trainings will take: `--time` is kept by planning with both.

A training is only begun if it, and all that must follow it, is forecast to fit; what is under way at the end saves and
stops, so that a later call goes on from it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pkd import progress
from pkd.distillation.plan import StudentPlan
from pkd.errors import Stopped
from pkd.jobs.forecast import stage_seconds
from pkd.jobs.pilot import Prices
from pkd.jobs.stages import Ahead, training_student
from pkd.jobs.workload import Job

_TIME_IS_UP = -1  # of a stop that no signal asked for
_LOOK_SECONDS = 0.1
# what follows the trainings, on a machine that builds a shape's two graphs in so many seconds
_BUILD_SECONDS = 8.0
_EXPORT_SECONDS = 20.0  # to trace, prove and convert one student, and to measure what int8 changes
_END_SECONDS = 40.0  # to measure the exports in turns, to compare, and to write the page


@dataclass
class TimeLeft:
    """The clock of a search.

    Attributes:
        job: its amount of work.
        prices: of the pilot; None for so little work that none was measured.
        seconds: that it may take in all; None for as long as it takes.
        began: when it began, by the monotonic clock.
        pace: how much longer trainings take than forecast, by those that ran.
        build_seconds: that the slowest shape took to build, by which what follows the trainings is reckoned.
    """

    job: Job
    prices: Prices | None
    seconds: float | None
    began: float
    pace: float = 1.0
    build_seconds: float = 0.0
    _forecast: float = field(default=0.0, repr=False)
    _took: float = field(default=0.0, repr=False)

    @property
    def left(self) -> float:
        """Seconds that are left; infinite without a limit."""
        return float("inf") if self.seconds is None else self.began + self.seconds - time.monotonic()

    def of(self, stages: Sequence[Ahead]) -> float:
        """Seconds that stages will take, by the pilot."""
        return sum(stage_seconds(stage, self.job, self.prices) for stage in stages)

    def of_training(self, plan: StudentPlan, shares: Sequence[float] = (1.0,)) -> float:
        """Seconds that training a student will take, of each seed the share that is left."""
        return self.pace * sum(shares) * self.of([training_student(self.job, plan, self.job.recipe.seed)])

    def of_ending(self, finalists: int = 1) -> float:
        """Seconds that follow the trainings of so many finalists."""
        return (_END_SECONDS + _EXPORT_SECONDS * finalists) * max(1.0, self.build_seconds / _BUILD_SECONDS)

    @contextlib.contextmanager
    def learning_from(self, plan: StudentPlan) -> Iterator[None]:
        """Learn from a training inside the block what the others will take."""
        began = time.monotonic()
        yield
        self._took += time.monotonic() - began
        self._forecast += self.of([training_student(self.job, plan, self.job.recipe.seed)])
        if self._forecast > 0:
            self.pace = self._took / self._forecast

    @contextlib.contextmanager
    def ends_in_time(self, spare: float, once: Callable[[], bool] | None = None) -> Iterator[None]:
        """Stop what runs inside the block, as a signal would, once no more than `spare` seconds are left.

        Args:
            spare: seconds that must follow.
            once: also wait for this, which is asked several times a second.
        """
        if self.seconds is None:
            yield
            return
        is_over = threading.Event()

        def stop_in_time() -> None:
            if is_over.wait(min(max(0.0, self.left - spare), threading.TIMEOUT_MAX)):
                return
            while once is not None and not once():
                if is_over.wait(_LOOK_SECONDS):
                    return
            _stop()

        timer = threading.Thread(target=stop_in_time, daemon=True)
        timer.start()
        try:
            yield
        finally:
            is_over.set()
            timer.join()
        if progress.stop_asked_for() == _TIME_IS_UP:  # it came as the work ended anyway
            _go_on()


def is_up(stopped: Stopped) -> bool:
    """Whether a stop came because the time was up; the job then goes on with what it has."""
    if stopped.exit_code != _TIME_IS_UP:
        return False
    _go_on()
    return True


def _go_on() -> None:
    progress.clear_stop()
    progress.saved()


def _stop() -> None:
    if progress.stop_requested():
        return  # a user's request ends the whole job
    with contextlib.suppress(Stopped):  # it is the job's thread that ends, at its next step
        progress.request_stop(_TIME_IS_UP)
