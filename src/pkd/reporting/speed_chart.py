"""The chart of `pkd speed`: what serving each model costs, a small panel a figure, the first model in grey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import altair as alt

from pkd.reporting.charts import NEUTRAL, THEMES, chart_png
from pkd.reporting.speeds import SpeedRecord

_COLOUR = "#4269d0"


def speed_chart(records: Sequence[SpeedRecord]) -> alt.ConcatChart:
    """Bars of size, memory, latency (to its 99th percentile) and throughput (least to most of the rounds)."""
    panels = [_panel("MB on disk", [(record.name, record.bytes / 1e6, None, None) for record in records])]
    if all(record.peak_memory_bytes for record in records):
        held = [(record.name, (record.peak_memory_bytes or 0) / 1e6, None, None) for record in records]
        panels.append(_panel("peak memory, MB", held))
    waited = [(one.name, one.latency.median, one.latency.median, one.latency.p99) for one in records]
    panels.append(_panel("one text, ms: median, to the 99th percentile", waited))
    for number, cell in enumerate(records[0].throughput):
        rates = [(record.name, record.throughput[number].rows_per_second) for record in records]
        panels.append(
            _panel(
                f"rows per second, {cell.title}", [(name, median(each), min(each), max(each)) for name, each in rates]
            )
        )
    chart: alt.ConcatChart = alt.concat(*panels, columns=2)
    return chart


def write_speed_chart(records: Sequence[SpeedRecord], path: Path) -> None:
    """Write the chart by the file's ending: as a .png, a .html that needs no network, or its Vega-Lite .json."""
    chart = speed_chart(records)
    if path.suffix == ".png":
        path.write_bytes(chart_png(chart))
    else:
        themed = chart.properties(config=THEMES["light"] | {"background": "white"})
        themed.save(str(path), inline=True) if path.suffix == ".html" else themed.save(str(path))


def _panel(
    title: str, values: Sequence[tuple[str, float, float | None, float | None]]
) -> alt.LayerChart | alt.FacetChart:
    names = [name for name, *_ in values]
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "value": value,
            "low": low,
            "high": high,
            "text": f"{value:,.3g}" if value < 100 else f"{value:,.0f}",
        }
        for name, value, low, high in values
    ]
    base = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y("name:N", title=None, sort=names, axis=alt.Axis(ticks=False, domain=False, labelLimit=160))
    colour = alt.condition(alt.datum.name == names[0], alt.value(NEUTRAL), alt.value(_COLOUR))
    bars = base.mark_bar(height=14).encode(
        y=y, x=alt.X("value:Q", title=None, axis=alt.Axis(tickCount=4)), color=colour
    )
    spread = base.transform_filter("datum.low != null").mark_rule(strokeWidth=2, opacity=0.6)
    labels = base.transform_calculate(end="max(datum.value, datum.high || 0)").mark_text(align="left", dx=5)
    return alt.layer(
        bars,
        spread.encode(y=y, x="low:Q", x2="high:Q"),
        labels.encode(y=y, x=alt.X("end:Q"), text="text:N"),
    ).properties(title=title, width=300, height=26 * len(values), description=f"{title} of each model")
