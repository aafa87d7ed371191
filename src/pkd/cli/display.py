"""Display of progress: one live display on a terminal, plain lines elsewhere, only warnings when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pkd.cli.forecast import Forecast, about, duration
from pkd.progress import Stage

_SECONDS_BETWEEN_LINES = 10.0


class QuietDisplay:
    """Shows warnings alone."""

    shows_notes = False

    def __init__(self, console: Console) -> None:
        self.console = console

    def planned(self, stages: Sequence[tuple[str, float]]) -> None:
        """Show nothing."""

    def stage_began(self, stage: Stage) -> None:
        """Show nothing."""

    def stage_moved(self, stage: Stage) -> None:
        """Show nothing."""

    def stage_ended(self, stage: Stage) -> None:
        """Show nothing."""

    def noted(self, message: str, level: str) -> None:
        """Show a warning."""
        if level == "warning":
            _print(self.console, f"warning: {message}")


class PlainDisplay:
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


class RichDisplay:
    """One live display: finished stages above, the current one with its bar, the whole job below."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._forecast = Forecast(clock)
        self._stages: list[Stage] = []  # running ones, the outermost first
        self._live: Live | None = None

    def planned(self, stages: Sequence[tuple[str, float]]) -> None:
        """Take the stages to come."""
        self._forecast.plan(stages)

    def stage_began(self, stage: Stage) -> None:
        """Draw a stage that begins."""
        self._forecast.begin(stage)
        self._stages.append(stage)
        if self._live is None:
            self._live = Live(
                console=self.console, get_renderable=self.render, refresh_per_second=4, transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._live.start()

    def stage_moved(self, stage: Stage) -> None:
        """Do nothing: the display redraws itself four times a second."""
        self._forecast.move(stage)

    def stage_ended(self, stage: Stage) -> None:
        """Replace a finished stage by a line."""
        seconds = self._forecast.end(stage)
        self._stages = [one for one in self._stages if one is not stage]
        if not self._stages and self._live is not None:
            self._live.stop()
            self._live = None
        mark = Text("✗ ", "red") if stage.failed else Text("✓ ", "green")
        self.console.print(mark + Text(stage.name) + Text(f"  {duration(seconds)}", "dim"))

    def noted(self, message: str, level: str) -> None:
        """Show a sentence above the live lines."""
        text = Text("! ", "yellow") + Text(message) if level == "warning" else Text(f"  {message}", "dim")
        self.console.print(text, soft_wrap=True)

    def render(self) -> RenderableType:
        """The live lines as they are now."""
        lines: list[RenderableType] = [self._line(stage) for stage in self._stages]
        if self._stages and (number := self._forecast.number(self._stages[0])) is not None:
            left = self._forecast.seconds_left(self._stages[0])
            whole = f"stage {number} of {self._forecast.stages}"
            lines.append(Text(whole + (f" · {about(left)} left" if left is not None else ""), "dim"))
        return Group(*lines)

    def _line(self, stage: Stage) -> RenderableType:
        row = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [Text(stage.name, "bold", overflow="ellipsis", no_wrap=True)]
        if stage.total:
            cells.append(ProgressBar(total=stage.total, completed=stage.done, width=24))
        else:
            cells.append(Text("…"))
        facts = [f"{stage.done:,}/{stage.total:,} {stage.unit}".strip()] if stage.total else []
        if (rate := self._forecast.rate(stage)) is not None:
            facts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if (left := self._forecast.stage_seconds_left(stage)) is not None:
            facts.append(f"{duration(left)} to go")
        if stage.detail:
            facts.append(stage.detail)
        row.add_row(*cells, Text(" · ".join(facts), no_wrap=True, overflow="ellipsis"))
        return row


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
