"""How commands print their results: to standard output, as text for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from pkd.cli.session import is_first_rank


def show(text: str, *, also_json: bool = False) -> None:
    """Print a line for people; beside JSON it goes to standard error, so that the JSON stays whole."""
    if is_first_rank():
        typer.echo(text, err=also_json)


def show_json(value: Any) -> None:
    """Print one JSON value in one line."""
    if is_first_rank():
        typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def show_records(records: Sequence[Any], *, as_json: bool) -> None:
    """Print the records of a run: as tables, or as JSON lines like those of results.jsonl."""
    if not is_first_rank():
        return
    if as_json:
        for record in records:
            typer.echo(record.model_dump_json())
        return
    from rich.console import Console

    from pkd.reporting.terminal import print_results

    print_results(records, Console())


def show_sweep(trials: Sequence[Any], sentences: Sequence[str], *, as_json: bool) -> None:
    """Print a sweep's points, the best first: as a leaderboard, or as JSON lines like those of sweep.jsonl."""
    if not is_first_rank():
        return
    if as_json:
        for trial in trials:
            typer.echo(trial.model_dump_json())
        return
    from rich.console import Console

    from pkd.reporting.terminal import print_leaderboard

    print_leaderboard(trials, sentences, Console())
    typer.echo()
