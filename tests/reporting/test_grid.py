"""A table keeps its heads and its numbers in a terminal of any width."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pkd.reporting.grid import grid

HEADINGS = ["model", "layers", "accuracy, %", "speed", "parameters"]
ROWS = [
    ["teacher", "12", "83.3 (81.1 to 85.6)", "1.0×", "109.5 M"],
    ["pkd-skip-L6-spread", "6", "82.8 (80.5 to 85.1)", "2.1×", "17.4 M (77 %)"],
    ["küche 厨房", "3", "82.9 ± 0.3", "2.1×", "17.4 M (77 %)"],
]


def printed(width: int, *, terminal: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, no_color=True)
    console.print(grid(HEADINGS, ROWS, console, ["dim", "bold", ""]))
    return re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [100, 80, 70, 60, 50, 40])
def test_no_head_is_dropped_and_no_number_parted_from_its_unit(width: int, terminal: bool) -> None:
    lines = printed(width, terminal=terminal)
    words = " ".join(lines).split()
    assert {"layers", "speed", "parameters"} <= {word.strip(":") for word in words}
    for number in ("109.5 M", "17.4 M", "(77 %)", "82.9 ± 0.3", "83.3", "85.6)", "2.1×", "12"):
        assert any(number in line for line in lines), number
    assert not any("…" in line for line in lines)
    assert max(len(line) for line in lines) <= width


def test_rows_stand_in_one_line_where_that_fits_and_in_blocks_where_nothing_does() -> None:
    wide = [line.split() for line in printed(100, terminal=False)]
    assert wide[1] == ["teacher", "12", "83.3", "(81.1", "to", "85.6)", "1.0×", "109.5", "M"]
    assert printed(40, terminal=False)[:3] == ["teacher", "  layers: 12", "  accuracy, %: 83.3 (81.1 to 85.6)"]


def test_a_cell_is_never_read_as_markup() -> None:
    console = Console(file=io.StringIO(), width=60)
    console.print(grid(["model", "n"], [["[red]x[/red]", "1"]], console))
    assert "[red]x[/red]" in console.file.getvalue()  # type: ignore[attr-defined]
