"""How commands print their results: to standard output, as text for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from pkd import ranks


def show(text: str, *, also_json: bool = False) -> None:
    """Print a line for people; beside JSON it goes to standard error, so that the JSON stays whole."""
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
