from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pkd.evaluation.by_class import BlindSpots
from pkd.reporting.results import ModelRecord, Record
from pkd.reporting.terminal import print_results


def printed(records: list[Record], width: int | None = None) -> str:
    """What a log file gets, or a terminal of this width without its colours."""
    console = Console(file=io.StringIO(), force_terminal=width is not None, width=width, no_color=True, highlight=False)
    print_results(records, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return text if width is None else re.sub(r"\x1b\[[0-9;]*m", "", text)  # bold takes no column


def test_a_log_gets_plain_lines_of_at_most_100_columns(records: list[Record]) -> None:
    text = printed(records)
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_models_row_has_score_fidelity_speed_and_size(records: list[Record]) -> None:
    lines = printed(records).splitlines()
    title = next(line for line in lines if line.startswith("model"))
    assert title.split()[:4] == ["model", "layers", "accuracy,", "%"]
    row = next(line for line in lines if line.startswith("pkd-skip-L3-spread "))
    assert row.split() == [
        "pkd-skip-L3-spread",
        "3",
        "83.2",
        "±",
        "0.5",
        "83.1",
        "91.5",
        "2.1×",
        "17.4",
        "M",
        "(77",
        "%)",
    ]


def test_one_seed_shows_its_interval_in_place_of_the_deviation(records: list[Record]) -> None:
    alone = [record for record in records if not isinstance(record, ModelRecord) or record.seed in (None, 42)]
    assert "82.8 (80.5 to 85.1)" in printed(alone)


def test_the_verdicts_follow_the_table(records: list[Record]) -> None:
    text = " ".join(printed(records).split())
    assert "Did it help? - Patience UNCLEAR: pkd-skip-L3-spread is level with kd-L3-spread" in text
    assert "Start first against spread DOES NOT HELP" in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_name_and_no_score_is_cut_on_a_terminal(width: int, records: list[Record]) -> None:
    text = printed(records, width)
    assert "pkd-skip-L3-spread" in text
    assert "17.4 M (77 %)" in text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= min(width, 100)


def test_a_narrow_terminal_keeps_all_heads_and_whole_numbers(records: list[Record]) -> None:
    text = printed(records, 60)
    for words in ("layers", "accuracy", "speed", "parameters", "17.4 M", "2.1×", "83.2 ± 0.5"):
        assert words in text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 60


def test_a_very_long_name_is_folded_not_cut(records: list[Record]) -> None:
    name = "pkd-map-L3-" + "x" * 60
    text = printed([records[0], records[2].model_copy(update={"name": name})])
    assert text.count("x") >= 60 * 2  # in the headline and in the table


def test_a_name_that_looks_like_markup_stays_text(records: list[Record]) -> None:
    assert "[red]x[/red]" in printed([records[2].model_copy(update={"name": "[red]x[/red]"})])


def test_results_on_selected_rows_are_marked(records: list[Record], selected_records: list[Record]) -> None:
    assert "flatter" not in printed(records)
    assert "flatter" in printed(selected_records)


@pytest.mark.parametrize("width", [None, 60, 80, 120])
def test_the_classes_that_lost_most_and_what_a_score_hides_are_printed(
    width: int | None, collapsed_records: list[Record]
) -> None:
    text = " ".join(printed(collapsed_records, width).split())
    assert "It answers 'fine' for all 10 rows and finds none of 3 'unsafe'." in text
    assert "unsafe 3" in text
    assert "100.0 → 0.0 −100.0" in text
    assert text.index("unsafe 3") < text.index("fine 7")
    assert "teacher answers" not in text
    blind = BlindSpots("fine", {"unsafe": 3})
    both = [
        each.model_copy(update={"blind_spots": blind}) if getattr(each, "role", "") == "teacher" else each
        for each in collapsed_records
    ]
    assert "teacher answers 'fine' for all 10 rows" in " ".join(printed(both, width).split())


def test_tags_are_shown_by_spans_and_types(records_of_tags: list[Record]) -> None:
    text = printed(records_of_tags)
    assert "pkd-skip-L3-spread: 57.1 % span F1" in text  # 2 of 3 predicted spans right, 4 there
    heading = next(line for line in text.splitlines() if line.startswith("model "))
    assert [name in heading for name in ("span F1, %", "precision", "recall", "agreement")] == [True] * 4
    assert "The types of pkd-skip-L3-spread that lost most F1" in text
    line = next(line for line in text.splitlines() if line.startswith("creative-work"))
    assert line.split()[:2] == ["creative-work", "2"]
    assert "is 25.0 points below teacher in rows with all spans right" in " ".join(text.split())
    assert "−1 of 4 rows" in text
    assert "finds none of 2 'creative-work'" in text


def test_the_console_keeps_its_own_width(records: list[Record]) -> None:
    console = Console(file=io.StringIO(), width=120)
    print_results(records, console)
    assert console.width == 120
