"""The results in a terminal: a table and the verdicts, within 100 columns, readable in a log file too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from pkd.evaluation.metric_facts import METRICS
from pkd.recipe.faults import value_text
from pkd.recipe.sweeping import short_name
from pkd.reporting.amounts import NONE, amount, metric_title
from pkd.reporting.blind_spots import blind_sentences
from pkd.reporting.classes import MEASURES, TITLES, class_rows, losses_heading, losses_sentence, nouns_of
from pkd.reporting.front import Compressed
from pkd.reporting.front_gains import gain_sentences
from pkd.reporting.front_tables import other_rows, point_rows
from pkd.reporting.front_words import headline_sentences as front_sentences
from pkd.reporting.front_words import search_sentences, word_count_sentence
from pkd.reporting.grid import grid
from pkd.reporting.paper import TaskResult, paper_notes, paper_rows, rows_by_task, task_title
from pkd.reporting.results import ComparisonRecord, ModelRecord, Record
from pkd.reporting.speeds import SpeedRecord, serving_table, speed_doubts, speed_notes, speed_rows, speed_title
from pkd.reporting.start_race import start_lines
from pkd.reporting.teacher_level import teacher_sentences
from pkd.reporting.trials import TrialRecord, effect_sentences, leaderboard, swept
from pkd.reporting.wording import (
    Row,
    comparison_sentence,
    comparisons_of,
    confidence_of,
    device_sentence,
    featured,
    headline_sentences,
    main_metric,
    metric_columns,
    table,
    warning_of_rows,
)

_WIDTH = 100
_CLASSES = 5  # those that lost most
_STYLES = {"HELPS": "green", "DOES NOT": "red", "UNCLEAR": "yellow"}


def print_results(records: Sequence[Record], console: Console) -> None:
    """Print the headline, the results table and what helped.

    Names are printed as they are, never read as rich's markup. Where the console is no terminal there are neither
    colours nor boxes, and lines are 100 columns long (rich would guess 80).
    """
    with _width(console):
        for block in _blocks(records, console):
            console.print(block)


def print_speeds(records: Sequence[SpeedRecord], console: Console, depths: Sequence[int] = ()) -> None:
    """Print the table of sizes and speeds; `depths` select the published models to show beside ours."""
    columns = {  # the head's parameters, and the ratio of each round, stand in the JSON and on the page
        "embeddings": "embeddings",
        "layer_parameters": "in layers",
        "parameters": "total",
        "smaller": "smaller",
        "seconds": "seconds",
        "faster": "faster",
    }
    rows = [[row.name, *(getattr(row, name) for name in columns)] for row in speed_rows(records, depths)]
    served = serving_table(records)
    with _width(console):
        console.print(grid(["model", *columns.values()], rows, console))
        console.print(Text(speed_title(records)))
        for doubt in speed_doubts(records):
            console.print(Text(doubt, style="yellow"))
        console.print()
        console.print(grid(served.headings, served.rows, console))
        console.print(Text(served.note))
        for note in speed_notes(records, depths):
            console.print(Text(note))


def print_paper_table(title: str, results: Sequence[TaskResult], console: Console) -> None:
    """Print a table of the paper: task by task, our scores beside the published ones with the difference."""
    with _width(console):
        console.print(Text(title, style="bold"))
        for rows in rows_by_task(paper_rows(results)):
            cells = [
                [row.model, str(row.layers), row.ours_text, row.published_text, row.difference_text] for row in rows
            ]
            styles = ["dim" if row.model == "teacher" else "" for row in rows]
            console.print(Text(f"\n{task_title(rows)}", style="bold"))
            console.print(grid(["model", "layers", "ours", "published", "difference"], cells, console, styles))
        console.print()
        for note in paper_notes(results):
            console.print(Text(f"- {note}"))


def print_front(found: Compressed, console: Console) -> None:
    """Print what a search found: the chosen student, the table to choose from, and what a little more would buy."""
    metric = metric_title(found.metric, unit=True)
    tested = found.teacher.test is not None
    headings = ["student", "one text, ms", "p95", "speed", "size", metric, "below the teacher", *(["test"] * tested)]
    points = point_rows(found)
    rows = [
        [
            *(f"{row.number} {row.name}", row.latency, row.p95, row.speed_up, row.size),
            *(row.score, _with(row.drop, row.drop_interval), *([row.test] * tested)),
        ]
        for row in points
    ]
    rows += [
        [
            *(row.name, row.latency, NONE, row.speed_up, row.size),
            *(row.score, row.drop, *([row.test] * tested)),
        ]
        for row in other_rows(found)
    ]
    styles = ["bold" if row.chosen else "" for row in points]
    notes = [f"{row.number}: {'; '.join(row.notes)}" for row in points if row.notes]
    with _width(console):
        for sentence in front_sentences(found):
            console.print(Text(sentence))
        console.print()
        if found.points:
            console.print(grid(headings, rows, console, styles + ["dim"] * (len(rows) - len(styles))))
        for line in notes:
            console.print(Text(line))
        for title, lines in (
            ("What a little more would buy", gain_sentences(found)),
            ("How the search went", [*search_sentences(found), word_count_sentence(found)]),
        ):
            if lines:
                console.print()
                console.print(Text(title, style="bold"))
            for line in filter(None, lines):
                console.print(Text(f"- {line}"))


def _with(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


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
    """Print the best points of a sweep, the effect of each hyper-parameter, and the best point's fresh score."""
    keys = swept(trials)
    score = metric_title(trials[0].metric, unit=True)
    headings = ["rank", score, *map(short_name, keys), "epochs", "seconds", "status"]
    rows = []
    for rank, trial in enumerate(leaderboard(trials)[:most], start=1):
        values = (value_text(trial.point[key]) for key in keys)
        seconds = NONE if trial.seconds is None else f"{trial.seconds:,.0f}"
        told = NONE if trial.score is None else amount(trial.metric, trial.score)
        rows.append([str(rank), told, *values, str(len(trial.epochs)), seconds, trial.status_text])
    with _width(console):
        console.print(Text(f"The best of {len(trials)} points on the development rows", style="bold"))
        console.print(grid(headings, rows, console, ["bold", *[""] * (len(rows) - 1)]))
    for title, lines in (("What each hyper-parameter did", effect_sentences(trials)), ("Is it luck?", sentences)):
        if lines:
            console.print()
            console.print(Text(title, style="bold"))
            for line in lines:
                console.print(Text("- " + line), soft_wrap=True)


def _blocks(records: Sequence[Record], console: Console) -> Iterator[RenderableType]:
    yield from map(Text, headline_sentences(records))
    rows = table(records)
    if not rows:
        return
    yield Text()
    yield _results_table(records, rows, console)
    if on := device_sentence(records):
        yield Text(on, style="dim")
    level, doubt = teacher_sentences(records)
    if level:
        yield Text(level, style="dim")
    if doubt:
        yield Text(doubt, style="yellow")
    yield from (Text(line, style="dim") for line in start_lines(records))
    for sentence in _of_others(records, blind_sentences(records)):
        yield Text(sentence, style="yellow")
    yield from _class_losses(records, console)
    comparisons = comparisons_of(records)
    if comparisons:
        if not console.is_terminal:
            yield Text()
        yield Text("Did it help?", style="bold")
        yield from (_verdict(comparison, confidence_of(records)) for comparison in comparisons)
    if warning := warning_of_rows(records):
        yield Text()
        yield Text(warning, style="yellow")


def _results_table(records: Sequence[Record], rows: Sequence[Row], console: Console) -> RenderableType:
    """The table; a terminal of less than 96 columns gets the main metric alone."""
    main, known = main_metric(records), metric_columns(records)
    named = {metric: facts.short for metric, facts in METRICS.items() if facts.short is not None}
    others = [metric for metric in named if console.width >= 96 and metric in known and metric != main]
    short = [named[metric] for metric in others]
    headings = ["model", "layers", metric_title(main, unit=True), *short, "speed", "parameters"]
    exported = any(isinstance(record, ModelRecord) and record.runtime != "torch" for record in records)
    headings += ["size"] * exported  # elsewhere it is four bytes a parameter
    cells = []
    for row in rows:
        parameters = row.parameters if row.share in ("100 %", NONE) else f"{row.parameters} ({row.share})"
        means = [row.means[metric] for metric in others]
        cells.append([row.name, row.layers, row.scores[main], *means, row.speed, parameters, *[row.size] * exported])
    styles = [{"teacher": "dim", "student": "bold"}.get(row.role, "") for row in rows]
    return grid(headings, cells, console, styles)


def _of_others(records: Sequence[Record], sentences: Mapping[str, str]) -> Iterator[str]:
    """The sentences about models that the headline is not about."""
    model = featured(records)
    yield from (sentence for name, sentence in sentences.items() if model is None or name != model.name)


def _class_losses(records: Sequence[Record], console: Console) -> Iterator[RenderableType]:
    """The classes that lost most: of the featured student in a table, of the other students in a sentence."""
    model = featured(records)
    rows = class_rows(records, model.name) if model is not None else []
    if model is None or not rows:
        return
    if not console.is_terminal:
        yield Text()
    yield Text(losses_heading(records, model.name), style="bold")
    measures = MEASURES if console.width >= 96 else ("f1",)
    compared = bool(rows[0].teacher)
    nouns = nouns_of(records, model.name)
    headings = [nouns.one, nouns.counted, *(TITLES[measure] for measure in measures), *(["change"] if compared else [])]
    cells = [
        [" ".join(row.label.split()), f"{row.rows:,}", *map(row.text, measures), *([row.change] if compared else [])]
        for row in rows[:_CLASSES]
    ]
    yield grid(headings, cells, console)
    names = [row.name for row in table(records) if row.role == "student" and row.name != model.name]
    told = [sentence for name in names if (sentence := losses_sentence(records, name))]
    if len(rows) > _CLASSES:
        told.append(f"The page of the run and --json have all {len(rows)} {nouns.several}.")
    for sentence in told:
        yield Text(sentence)
    if told and console.is_terminal:
        yield Text()


def _verdict(comparison: ComparisonRecord, confidence: float) -> Text:
    text = Text("- " + comparison_sentence(comparison, confidence))
    for word in ("DOES NOT HELP", "HELPS", "UNCLEAR", "ABOVE", "BELOW"):
        text.highlight_words([word], style=f"bold {_STYLES[comparison.verdict]}")
    return text
