"""A table in a terminal of any width: headings and numbers wrap at spaces and are never cut.

At full width if that fits; else its widest columns wrap; if even that does not fit, each row becomes a block of lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_GLUED = "\ue000"  # a space without a line break; private-use character, one column wide
_SPACE_OF_A_NUMBER = re.compile(r"(?<=\d) (?=(?:%|±|[kMG]\b|bytes\b|[kMG]B\b|m?s\b))|(?<=±) (?=\d)")
_NARROWEST_NAME = 12  # of the first column, whose words may be split


def grid(
    headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, styles: Sequence[str] = ()
) -> RenderableType:
    """A table whose first column holds names, and the others right-aligned numbers.

    Args:
        headings: of the columns; none is left out.
        rows: cells as plain text, never read as markup.
        console: where it will be printed; on a terminal a line is drawn below the headings.
        styles: of each row.
    """
    styles = styles or [""] * len(rows)
    columns = list(zip(headings, *rows, strict=True))
    widest = [max(map(cell_len, column)) for column in columns]
    narrowest = [max(cell_len(word) for cell in column for word in _words(cell)) for column in columns]
    narrowest[0] = min(widest[0], _NARROWEST_NAME)
    room = console.width - _between(len(headings), console)
    if sum(narrowest) > room:
        return _blocks(headings, rows, styles)
    widths = _share(widest, narrowest, room)
    table = _empty_table(console)
    for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        table.add_column(
            _folded(heading, width, console), justify="right" if number else "left", width=width, no_wrap=True
        )
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*(_folded(cell, width, console) for cell, width in zip(row, widths, strict=True)), style=style)
    return table


def _share(widest: Sequence[int], narrowest: Sequence[int], room: int) -> list[int]:
    """Give each column its minimum, then the rest to those that need the least to be complete."""
    widths = list(narrowest)
    left = room - sum(widths)
    for number in sorted(range(len(widths)), key=lambda each: widest[each] - narrowest[each]):
        more = min(left, widest[number] - narrowest[number])
        widths[number] += more
        left -= more
    return widths


def _blocks(headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> RenderableType:
    lines = []
    for (name, *cells), style in zip(rows, styles, strict=True):
        lines.append(Text(name, style=style or "bold"))
        lines += [Text(f"  {heading}: {cell}") for heading, cell in zip(headings[1:], cells, strict=True)]
    return Group(*lines)


def _words(cell: str) -> list[str]:
    return _SPACE_OF_A_NUMBER.sub(_GLUED, cell).split() or [""]


def _folded(cell: str, width: int, console: Console) -> Text:
    lines = Text(_SPACE_OF_A_NUMBER.sub(_GLUED, cell)).wrap(console, width, overflow="fold")
    return Text("\n".join(line.plain.rstrip() for line in lines).replace(_GLUED, " "))


def _empty_table(console: Console) -> Table:
    if console.is_terminal:
        return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _between(columns: int, console: Console) -> int:
    """The width of the gap between two columns of the table."""
    table = _empty_table(console)
    for _ in range(columns):
        table.add_column("x", width=1, no_wrap=True)
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum - columns
