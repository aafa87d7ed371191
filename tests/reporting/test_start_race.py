"""The race of a student's starts, in the page, the card and the terminal; numbers are those of the record."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.console import Console

from pkd.reporting.card import model_card
from pkd.reporting.html import report_page
from pkd.reporting.results import ModelRecord, Race, RaceHeat, Record
from pkd.reporting.start_race import race_tables, start_lines
from pkd.reporting.terminal import print_results

RACE = Race(
    seed=42,
    starts={"first": "the first layers", "spread": "spread", "1.5.6": "greedy dropping"},
    heats=[
        RaceHeat(epochs=1.0, scores={"first": 0.701, "spread": 0.744, "1.5.6": 0.738}, kept=["spread", "1.5.6"]),
        RaceHeat(epochs=2.5, scores={"spread": 0.801, "1.5.6": 0.799}, kept=["spread"]),
    ],
)
LINE = (
    "pkd-skip-L3-spread: its start, spread, won a race by accuracy in % on the development rows: after 1 epoch first "
    "70.1, spread 74.4, 1.5.6 73.8; after 2.5 epochs spread 80.1, 1.5.6 79.9."
)


@pytest.fixture
def raced(records: Sequence[Record]) -> list[Record]:
    """The run's records, of which one student's start won a race."""
    return [
        record.model_copy(update={"starts_tried": {}, "race": RACE if record.name == "pkd-skip-L3-spread" else None})
        if isinstance(record, ModelRecord)
        else record
        for record in records
    ]


def test_the_race_is_one_line_for_all_seeds(raced: Sequence[Record]) -> None:
    assert start_lines(raced) == [LINE]


def test_starts_that_were_all_trained_in_full_are_named_too(records: Sequence[Record]) -> None:
    assert start_lines(records)[0] == (
        "pkd-skip-L3-spread: its start, spread, was chosen by accuracy in % on the development rows: spread 84.0, "
        "first 81.0."
    )


def test_the_page_shows_who_was_in_and_who_went_on(raced: Sequence[Record]) -> None:
    page = report_page(raced)
    assert "How the start was chosen" in page
    assert LINE in page
    assert '<tr class="featured"><th scope="row">spread' in page
    assert "<td><b>74.4</b></td><td><b>80.1</b></td>" in page
    assert '<th scope="row">first<span class="sub">the first layers</span></th><td>70.1</td><td>–</td>' in page
    assert "greedy dropping" in page
    [table] = race_tables(raced)
    assert table["heats"] == ["after 1 epoch", "after 2.5 epochs"]


def test_the_card_and_the_terminal_name_it(raced: Sequence[Record]) -> None:
    model = next(record for record in raced if isinstance(record, ModelRecord) and record.race)
    assert f"- {LINE}" in model_card(raced, model)
    console = Console(record=True, width=400)
    print_results(raced, console)
    assert LINE in " ".join(console.export_text().split())


def test_the_race_of_a_student_that_is_another_ones_control_is_shown_too(records: Sequence[Record]) -> None:
    """As `kd` beside `pkd`, named by the recipe with a race of its own."""
    raced = [
        record.model_copy(update={"race": RACE})
        if isinstance(record, ModelRecord) and record.name == "kd-L3-spread"
        else record
        for record in records
    ]
    assert [line.partition(":")[0] for line in start_lines(raced)] == [
        "pkd-skip-L3-spread", "kd-L3-spread", "pkd-skip-L3-first"
    ]  # fmt: skip


def test_without_a_choice_nothing_is_said(raced: Sequence[Record]) -> None:
    given = [
        record.model_copy(update={"race": None}) if isinstance(record, ModelRecord) else record for record in raced
    ]
    assert start_lines(given) == []
    assert "How the start was chosen" not in report_page(given)
