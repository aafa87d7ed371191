"""How the development rows chose a student's start, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pkd.reporting.amounts import NONE, amount, is_share, metric_title
from pkd.reporting.results import ModelRecord, Race, Record


def start_lines(records: Sequence[Record]) -> list[str]:
    """For each student whose start was chosen: what was tried, its scores, and what was kept; seeds share it."""
    return [line for model in _chosen(records) if (line := start_sentence(model))]


def start_sentence(model: ModelRecord) -> str:
    """How this student's start was chosen; empty if it was given."""
    metric = str(model.selection.get("metric", ""))
    by = f"by {metric_title(metric)}{' in %' if is_share(metric) else ''} on the development rows"
    if model.race is not None:
        rounds = "; ".join(f"after {_epochs(heat.epochs)} {_scores(metric, heat.scores)}" for heat in model.race.heats)
        return f"{model.name}: its start, {model.start}, won a race {by}: {rounds}."
    if model.starts_tried:
        return f"{model.name}: its start, {model.start}, was chosen {by}: {_scores(metric, model.starts_tried)}."
    return ""


def race_tables(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each race as a table: a line per start with its teacher layers' origin and its score after each heat."""
    return [_table(model, model.race) for model in _chosen(records) if model.race is not None]


def _table(model: ModelRecord, race: Race) -> dict[str, Any]:
    metric = str(model.selection.get("metric", ""))
    rows = []
    for start, made in race.starts.items():
        cells = [
            (_score(metric, heat.scores[start]) if start in heat.scores else NONE, start in heat.kept)
            for heat in race.heats
        ]
        rows.append({"start": start, "made": made, "cells": cells, "is_kept": start == model.start})
    return {
        "name": model.name,
        "seed": race.seed,
        "metric": metric_title(metric, unit=True),
        "heats": [f"after {_epochs(heat.epochs)}" for heat in race.heats],
        "rows": rows,
    }


def _chosen(records: Sequence[Record]) -> Iterator[ModelRecord]:
    """The first seed's record of each student whose start was chosen."""
    students: dict[str, ModelRecord] = {}
    for record in records:
        if isinstance(record, ModelRecord) and (record.race or record.starts_tried):
            students.setdefault(record.name, record)
    yield from students.values()


def _scores(metric: str, scores: Mapping[str, float | None]) -> str:
    return ", ".join(f"{start} {_score(metric, score)}" for start, score in scores.items())


def _score(metric: str, score: float | None) -> str:
    return "diverged" if score is None else amount(metric, score)


def _epochs(epochs: float) -> str:
    return f"{epochs:.3g} epoch{'s' * (epochs != 1)}"
