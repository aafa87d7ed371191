"""The results in a terminal: a table and the verdicts, within 100 columns, readable in a log file too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pkd.recipe.sweeping import short_name, value_text
from pkd.reporting.paper import TaskResult, paper_notes, paper_rows, rows_by_task, task_title
from pkd.reporting.results import ComparisonRecord, Record
from pkd.reporting.speeds import SpeedRecord, serving_table, speed_notes, speed_rows, speed_title
from pkd.reporting.trials import TrialRecord, effect_sentences, leaderboard, swept
from pkd.reporting.wording import (
    NONE,
    SELECTED_ON_THE_SAME_ROWS,
    Row,
    amount,
    comparison_sentence,
    comparisons_of,
    confidence_of,
    headline,
    main_metric,
    metric_columns,
    metric_title,
    run_of,
    table,
)

_WIDTH = 100
_SHORT = {"macro_f1": "macro F1", "agreement": "agreement"}
_STYLES = {"HELPS": "green", "DOES NOT": "red", "UNCLEAR": "yellow"}


def print_results(records: Sequence[Record], console: Console) -> None:
    """Print the headline, the results table and what helped.

    Names are printed as they are, never read as rich's markup. Where the console is no terminal there are neither
    colours nor boxes, and lines are 100 columns long (rich would guess 80).
    """
    with _width(console):
        for block in _blocks(records, console.width, plain=not console.is_terminal):
            console.print(block)


def print_speeds(records: Sequence[SpeedRecord], console: Console, depths: Sequence[int] = ()) -> None:
    """Print the table of sizes and speeds; `depths` name the published models that stand beside ours."""
    plain = not console.is_terminal
    grid = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0) if plain else (0, 1))
    grid.add_column("model", overflow="fold", min_width=12)
    columns = {  # the head's parameters, and the ratio of each round, stand in the JSON and on the page
        "embeddings": "embeddings",
        "layer_parameters": "in layers",
        "parameters": "total",
        "smaller": "smaller",
        "seconds": "seconds",
        "faster": "faster",
    }
    for title in columns.values():
        grid.add_column(title, justify="right", no_wrap=True)
    for row in speed_rows(records, depths):
        grid.add_row(Text(row.name), *(Text(getattr(row, name)) for name in columns))
    served = serving_table(records)
    costs = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0) if plain else (0, 1))
    for number, heading in enumerate(served.headings):
        costs.add_column(heading, justify="right" if number else "left", overflow="fold", min_width=5)
    for cells in served.rows:
        costs.add_row(*map(Text, cells))
    with _width(console):
        console.print(grid)
        console.print(Text(speed_title(records)))
        console.print()
        console.print(costs)
        console.print(Text(served.note))
        for note in speed_notes(records, depths):
            console.print(Text(note))


def print_paper_table(title: str, results: Sequence[TaskResult], console: Console) -> None:
    """Print a table of the paper: task by task, our scores beside the published ones with the difference."""
    plain = not console.is_terminal
    with _width(console):
        console.print(Text(title, style="bold"))
        for rows in rows_by_task(paper_rows(results)):
            grid = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
            grid.add_column("model", no_wrap=True)
            for heading in ("layers", "ours", "published", "difference"):
                grid.add_column(heading, justify="right", no_wrap=True)
            for row in rows:
                cells = (row.model, str(row.layers), row.ours_text, row.published_text, row.difference_text)
                grid.add_row(*(Text(cell) for cell in cells), style="dim" if row.model == "teacher" else "")
            console.print(Text(f"\n{task_title(rows)}", style="bold"))
            console.print(grid)
        console.print()
        for note in paper_notes(results):
            console.print(Text(f"- {note}"))


@contextlib.contextmanager
def _width(console: Console) -> Iterator[None]:
    """Lines of at most 100 columns, and of exactly so many where there is no terminal."""
    before = console.width
    console.width = min(_WIDTH, before) if console.is_terminal else _WIDTH
    try:
        yield
    finally:
        console.width = before


def print_leaderboard(
    trials: Sequence[TrialRecord], sentences: Sequence[str], console: Console, most: int = 10
) -> None:
    """Print the best points of a sweep, what each hyper-parameter did, and what the best point is worth."""
    keys = swept(trials)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in (
        "rank",
        metric_title(trials[0].metric, unit=True),
        *map(short_name, keys),
        "epochs",
        "seconds",
        "status",
    ):
        grid.add_column(title, justify="left" if title == "status" else "right", no_wrap=True)
    for rank, trial in enumerate(leaderboard(trials)[:most], start=1):
        score = NONE if trial.score is None else amount(trial.metric, trial.score)
        seconds = NONE if trial.seconds is None else f"{trial.seconds:,.0f}"
        values = (value_text(trial.point[key]) for key in keys)
        cells = (str(rank), score, *values, str(len(trial.epochs)), seconds, trial.status)
        grid.add_row(*map(Text, cells), style="bold" if rank == 1 else "")
    console.print(Text(f"The best of {len(trials)} points on the development rows", style="bold"))
    console.print(grid)
    for title, lines in (("What each hyper-parameter did", effect_sentences(trials)), ("Is it luck?", sentences)):
        if lines:
            console.print()
            console.print(Text(title, style="bold"))
            for line in lines:
                console.print(Text("- " + line), soft_wrap=True)


def _blocks(records: Sequence[Record], width: int, *, plain: bool) -> Iterator[Text | Table]:
    yield Text(headline(records))
    rows = table(records)
    if not rows:
        return
    yield Text()
    yield _results_table(records, rows, width, plain=plain)
    comparisons = comparisons_of(records)
    if comparisons:
        if plain:
            yield Text()
        yield Text("Did it help?", style="bold")
        yield from (_verdict(comparison, confidence_of(records)) for comparison in comparisons)
    run = run_of(records)
    if run is not None and run.evaluated_on == "eval":
        yield Text()
        yield Text(SELECTED_ON_THE_SAME_ROWS, style="yellow")


def _results_table(records: Sequence[Record], rows: Sequence[Row], width: int, *, plain: bool) -> Table:
    """The table; a terminal of less than 96 columns gets the main metric alone."""
    main, known = main_metric(records), metric_columns(records)
    others = [metric for metric in _SHORT if width >= 96 and metric in known and metric != main]
    grid = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0) if plain else (0, 1))
    # A long name is folded, never cut: a log must name every model.
    grid.add_column("model", overflow="fold", min_width=min(24, max(len(row.name) for row in rows), width // 4))
    for title in ("layers", metric_title(main, unit=True), *(_SHORT[metric] for metric in others), "speed"):
        grid.add_column(title, justify="right", no_wrap=True)
    grid.add_column("parameters", justify="right", no_wrap=True)
    for row in rows:
        parameters = row.parameters if row.share in ("100 %", NONE) else f"{row.parameters} ({row.share})"
        cells = [row.name, row.layers, row.scores[main], *(row.means[metric] for metric in others), row.speed]
        style = {"teacher": "dim", "student": "bold"}.get(row.role, "")
        grid.add_row(*(Text(cell) for cell in (*cells, parameters)), style=style)
    return grid


def _verdict(comparison: ComparisonRecord, confidence: float) -> Text:
    text = Text("- " + comparison_sentence(comparison, confidence))
    for word in ("DOES NOT HELP", "HELPS", "UNCLEAR", "ABOVE", "BELOW"):
        text.highlight_words([word], style=f"bold {_STYLES[comparison.verdict]}")
    return text
