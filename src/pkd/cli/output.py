"""Print results of commands to standard output, as text for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from pkd import ranks


def show(text: str, *, also_json: bool = False) -> None:
    """Print a line for people; with `--json` on standard error, so that the JSON stays valid."""
    if ranks.is_first():
        typer.echo(text, err=also_json)


def show_json(value: Any) -> None:
    """Print one JSON value in one line."""
    if ranks.is_first():
        typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def show_records(records: Sequence[Any], *, as_json: bool) -> None:
    """Print the records of a run: as tables, or as JSON lines like those of results.jsonl."""
    if not ranks.is_first():
        return
    if as_json:
        for record in records:
            typer.echo(record.model_dump_json())
        return
    from rich.console import Console

    from pkd.reporting.terminal import print_results

    print_results(records, Console())


def show_front(found: Any, *, as_json: bool) -> None:
    """Print what a search within a budget found: as a table, or as one JSON line like front.json."""
    if not ranks.is_first():
        return
    if as_json:
        typer.echo(found.model_dump_json())
        return
    from rich.console import Console

    from pkd.reporting.terminal import print_front

    print_front(found, Console())


def show_paper(result: Any, *, as_json: bool) -> None:
    """Print a table of the paper: as a table, or as one JSON line per row."""
    if result.speeds:
        show_speeds(result.speeds, as_json=as_json, depths=result.depths)
        return
    if not ranks.is_first():
        return
    if as_json:
        for row in result.rows:
            show_json(row.to_dict())
        return
    from rich.console import Console

    from pkd.reporting.terminal import print_paper_table

    print_paper_table(result.title, result.results, Console())


def show_estimates(estimates: Sequence[Any], *, as_json: bool) -> None:
    """Print what would run and for how long: one sentence per task and the sum, or JSON lines."""
    from pkd.jobs.forecast import roughly

    for one in estimates:
        if as_json:
            show_json(one.to_dict())
        else:
            show(f"{one.sentence()}; about {roughly(one.seconds)}")
    if not as_json:
        passes, trainings = (sum(getattr(one, name) for one in estimates) for name in ("teacher_passes", "trainings"))
        show(
            f"In all: {len(estimates)} teachers fine-tuned, {passes} teacher passes, {trainings} trainings of "
            f"students, about {roughly(sum(one.seconds for one in estimates))} on this machine by the pilot."
        )


def show_speeds(records: Sequence[Any], *, as_json: bool, depths: Sequence[int] = ()) -> None:
    """Print sizes and speeds: as a table, or as JSON lines."""
    if not ranks.is_first():
        return
    if as_json:
        for record in records:
            typer.echo(record.model_dump_json())
        from pkd.reporting.speeds import speed_doubts

        for doubt in speed_doubts(records):
            show(f"warning: {doubt}", also_json=True)
        return
    from rich.console import Console

    from pkd.reporting.terminal import print_speeds

    print_speeds(records, Console(), depths)


def show_sweep(trials: Sequence[Any], sentences: Sequence[str], *, as_json: bool) -> None:
    """Print a sweep's points, the best first: as a leaderboard, or as JSON lines like those of sweep.jsonl."""
    if not ranks.is_first():
        return
    if as_json:
        for trial in trials:
            typer.echo(trial.model_dump_json())
        return
    from rich.console import Console

    from pkd.reporting.terminal import print_leaderboard

    print_leaderboard(trials, sentences, Console())
    typer.echo()
