"""Confusion charts: label against prediction, and the teacher's prediction against the student's.

With few classes it shows all, with their counts. With many it shows those that are confused most and groups the others:
seventy names along an edge would be unreadable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt

from pkd.evaluation.by_class import Cells, ClassFigures
from pkd.reporting.charts import NARROW, AnyChart

MOST = 20  # most classes in a chart: those that are confused most
_WIDTH = 330
_TOLD = 12  # confusions in the words of a chart, the largest first
_FEW = 8  # classes whose matrix needs half a page's width
_FLAT = 45  # characters of all names up to which they are horizontal
_LABEL_WIDTH: Any = {
    "expr": "containerSize()[0] < 400 ? 90 : 180"
}  # pixels; enough to distinguish names with the same beginning
_COLOUR = "#4269d0"


def confusion_chart(names: Sequence[str], cells: Cells, down: str, across: str) -> AnyChart:
    """Counts of rows by two predictions, each cell shaded by its share of its row.

    Args:
        names: of the classes, in the order of their numbers.
        cells: (row, column, how many), those above 0.
        down: what the rows of the matrix are, e.g. "label".
        across: what its columns are.
    """
    shown, others = _chosen(len(names), cells)
    name_of = {number: names[number] for number in shown}
    rest = f"{others:,} others"
    order = [*_told_apart([names[number] for number in shown]), *([rest] if others else [])]
    place = {number: order[index] for index, number in enumerate(name_of)}
    counts: Counter[tuple[str, str]] = Counter()
    for row, column, count in cells:
        counts[place.get(row, rest), place.get(column, rest)] += count
    lines = {row: sum(count for (of, _), count in counts.items() if of == row) for row in order}
    values = [
        _cell(row, column, counts[row, column], counts[row, column] / max(1, lines[row]))
        for row in order
        for column in order
    ]
    wrong = sorted(((count, *cell) for cell, count in counts.items() if cell[0] != cell[1]), reverse=True)
    told = "; ".join(f"{row} → {column}: {count:,}" for count, row, column in wrong[:_TOLD])
    words = f"Rows by {down} and {across}. " + (f"Off the diagonal, the most first: {told}" if told else "All agree.")
    return _matrix(values, order, order, down, across, words)


def set_chart(
    classes: Sequence[ClassFigures], teachers: Sequence[ClassFigures] = (), *, counted: str = "rows"
) -> AnyChart:
    """For sets of labels, and types of span: how often each was found, missed, and predicted wrongly.

    With the `teachers` figures of the same classes: how often both predict it, the teacher alone and the student alone.
    """
    chosen = sorted(range(len(classes)), key=lambda number: -_apart(classes[number], teachers, number))[:MOST]
    names = _told_apart([classes[number].label for number in sorted(chosen)])
    across = ["both", "teacher alone", "student alone"] if teachers else ["found", "missed", "given wrongly"]
    values = []
    for name, number in zip(names, sorted(chosen), strict=True):
        one = classes[number]
        total = teachers[number].answered if teachers else one.rows
        same = (one.with_teacher or 0) if teachers else one.right
        counts = (same, total - same, one.answered - same)
        for column, count in zip(across, counts, strict=True):
            values.append(_cell(name, column, count, min(1.0, count / max(1, total))))
    told = "; ".join(f"{each['row']} {each['column']}: {each['count']:,}" for each in values if each["count"])
    return _matrix(values, names, across, "label", "", f"{counted.capitalize()} by label: {told}", counted)


def _cell(row: str, column: str, count: int, share: float) -> dict[str, Any]:
    return {"row": row, "column": column, "count": count, "text": f"{count:,}", "share": round(share, 4)}


def _apart(one: ClassFigures, teachers: Sequence[ClassFigures], number: int) -> int:
    """The number of rows where label and prediction, or teacher and student, differ."""
    if teachers:
        return teachers[number].answered + one.answered - 2 * (one.with_teacher or 0)
    return one.rows + one.answered - 2 * one.right


def _chosen(classes: int, cells: Cells) -> tuple[list[int], int]:
    """The classes that a chart shows, in order, and the number of the others."""
    if classes <= MOST:
        return list(range(classes)), 0
    apart: Counter[int] = Counter()
    for row, column, count in cells:
        if row != column:
            apart[row] += count
            apart[column] += count
    chosen = sorted(sorted(range(classes), key=lambda number: -apart[number])[:MOST])
    return chosen, classes - len(chosen)


def _told_apart(names: Sequence[str]) -> list[str]:
    """Class names, each on one line; names that are then equal get their index."""
    lines = [" ".join(name.split()) for name in names]
    twice = {name for name, count in Counter(lines).items() if count > 1}
    return [f"{name} ({number})" if name in twice else name for number, name in enumerate(lines)]


def _matrix(
    values: list[dict[str, Any]],
    rows: list[str],
    columns: list[str],
    down: str,
    across: str,
    words: str,
    counted: str = "rows",
) -> AnyChart:
    few = len(rows) <= _FEW
    height = 46 if len(rows) <= _FEW // 2 else 34 if few else 24  # pixels of a cell
    plain: dict[str, Any] = {"grid": False, "ticks": False, "domain": False, "labelOverlap": False}
    plain |= {"labelLimit": _LABEL_WIDTH, "labelFontSize": 12 if few else 10}
    angle = 0 if len(columns) * max(map(len, columns)) <= _FLAT else -45 if few else -90
    gap = alt.Scale(paddingInner=0.03, paddingOuter=0)
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("column:N", title=across or None, sort=columns, scale=gap, axis=alt.Axis(**plain, labelAngle=angle)),
        y=alt.Y("row:N", title=down, sort=rows, scale=gap, axis=alt.Axis(**plain)),
    )
    tooltip = [
        alt.Tooltip("row:N", title=down),
        alt.Tooltip("column:N", title=across or counted),
        alt.Tooltip("count:Q", format=",", title=counted),
        alt.Tooltip("share:Q", format=".1%", title="of its line"),
    ]
    # shaded by opacity, which is dark on light pages and light on dark ones; numbers are white where that is strong
    shade = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 1]), legend=None)
    text = "text:N" if few else alt.value(alt.expr(f"{NARROW} ? '' : datum.text"))
    numbers = base.transform_filter("datum.count > 0").mark_text(fontSize=13 if few else 10).encode(text=text)
    chart: AnyChart = alt.layer(
        base.mark_rect(color=_COLOUR).encode(opacity=shade, tooltip=tooltip),
        numbers.transform_filter("datum.share <= 0.5"),
        numbers.transform_filter("datum.share > 0.5").encode(color=alt.value("#ffffff")),
    ).properties(width=_WIDTH if few else 2 * _WIDTH, height=height * len(rows), description=words)
    return chart
