"""Display of progress: one live display on a terminal, plain lines elsewhere, only warnings when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from pkd.cli.forecast import Forecast, about
from pkd.progress import Silent, Stage, Watcher, duration

_SECONDS_BETWEEN_LINES = 10.0


class QuietDisplay(Silent):
    """Shows warnings alone."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def noted(self, message: str, level: str) -> None:
        """Show a warning."""
        if level == "warning":
            _print(self.console, f"warning: {message}")


class PlainDisplay(Watcher):
    """Lines for logs and pipes: at a stage's start and end, and periodically between."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._clock = clock
        self._forecast = Forecast(clock)
        self._last_line = 0.0

    def planned(self, stages: Sequence[tuple[str, float]]) -> None:
        """Take the stages to come."""
        self._forecast.plan(stages)

    def stage_began(self, stage: Stage) -> None:
        """Log that a stage begins."""
        self._forecast.begin(stage)
        self._last_line = self._clock()
        _print(self.console, headline(self._forecast, stage))

    def stage_moved(self, stage: Stage) -> None:
        """Log a stage's progress, at most every ten seconds."""
        self._forecast.move(stage)
        if self._clock() - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = self._clock()
        parts = [_how_far(stage)]
        if (left := self._forecast.stage_seconds_left(stage)) is not None:
            parts.append(f"{duration(left)} to go")
        line = f"{headline(self._forecast, stage)}: {', '.join(part for part in parts if part)}"
        if (whole := self._forecast.seconds_left(stage)) is not None and self._forecast.stages > 1:
            line += f"; whole job {about(whole)} to go"
        _print(self.console, line)

    def stage_ended(self, stage: Stage) -> None:
        """Log that a stage is over, and how long it took."""
        line = headline(self._forecast, stage)
        seconds = self._forecast.end(stage)
        _print(self.console, f"{line}: {'stopped' if stage.failed else 'done'} after {duration(seconds)}")

    def noted(self, message: str, level: str) -> None:
        """Show a sentence."""
        _print(self.console, f"warning: {message}" if level == "warning" else message)


class RichDisplay(Watcher):
    """One live display: finished stages above, the current one with its bar, the whole job below."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._forecast = Forecast(clock)
        self._bars = _Bars(console, self._forecast)
        self._tasks: dict[int, TaskID] = {}  # of running stages, by id()

    def planned(self, stages: Sequence[tuple[str, float]]) -> None:
        """Take the stages to come."""
        self._forecast.plan(stages)

    def stage_began(self, stage: Stage) -> None:
        """Draw a stage that begins."""
        self._forecast.begin(stage)
        self._tasks[id(stage)] = self._bars.add_task(stage.name, total=stage.total or None, stage=stage)
        self._bars.start()

    def stage_moved(self, stage: Stage) -> None:
        """Move a stage's bar; it is redrawn four times a second."""
        self._forecast.move(stage)
        if (task := self._tasks.get(id(stage))) is not None:
            self._bars.update(task, total=stage.total or None, completed=stage.done)

    def stage_ended(self, stage: Stage) -> None:
        """Replace a finished stage by a line."""
        seconds = self._forecast.end(stage)
        if (task := self._tasks.pop(id(stage), None)) is not None:
            self._bars.remove_task(task)
        if not self._tasks:
            self._bars.stop()
            self._bars = _Bars(self.console, self._forecast)  # rich's, started again, would erase the lines above it
        mark = Text("✗ ", "red") if stage.failed else Text("✓ ", "green")
        self.console.print(mark + Text(stage.name) + Text(f"  {duration(seconds)}", "dim"))

    def noted(self, message: str, level: str) -> None:
        """Show a sentence above the live lines."""
        text = Text("! ", "yellow") + Text(message) if level == "warning" else Text(f"  {message}", "dim")
        self.console.print(text, soft_wrap=True)


class _Bars(Progress):
    """A line per running stage, the outermost first, and one for the whole job."""

    def __init__(self, console: Console, forecast: Forecast) -> None:
        name = TextColumn("{task.description}", style="bold", markup=False)
        super().__init__(
            name, BarColumn(24), _Facts(forecast), console=console, refresh_per_second=4, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._forecast = forecast

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the lines as they are now."""
        yield from super().get_renderables()
        outermost = self.tasks[0].fields["stage"] if self.tasks else None
        if outermost and (number := self._forecast.number(outermost)) is not None:
            left = self._forecast.seconds_left(outermost)
            whole = f"stage {number} of {self._forecast.stages}"
            yield Text(whole + (f" · {about(left)} left" if left is not None else ""), "dim")


class _Facts(ProgressColumn):
    """How far a stage is, how fast, how long it takes yet, and what it reports.

    The forecast's speed is the mean since the stage first advanced; rich's leaves out the first advance, which here
    may be a tenth of a stage.
    """

    def __init__(self, forecast: Forecast) -> None:
        super().__init__(Column(no_wrap=True))
        self._forecast = forecast

    def render(self, task: Task) -> Text:
        """Return the facts of a stage as one text."""
        stage: Stage = task.fields["stage"]
        facts = [f"{stage.done:,}/{stage.total:,} {stage.unit}".strip()] if stage.total else []
        if (rate := self._forecast.rate(stage)) is not None:
            facts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if (left := self._forecast.stage_seconds_left(stage)) is not None:
            facts.append(f"{duration(left)} to go")
        return Text(" · ".join([*facts, stage.detail] if stage.detail else facts))


def headline(forecast: Forecast, stage: Stage) -> str:
    """The stage's number, their total, and its name."""
    number = forecast.number(stage)
    return f"stage {number} of {forecast.stages} {stage.name}" if number is not None else stage.name


def _how_far(stage: Stage) -> str:
    if not stage.total:
        return f"{stage.done:,} {stage.unit}".strip()
    share = 100 * min(stage.done, stage.total) // stage.total
    return f"{share} % ({stage.done:,} of {stage.total:,} {stage.unit}".rstrip() + ")"


def _print(console: Console, line: str) -> None:
    """Print a line without markup, wrapping or colours."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
