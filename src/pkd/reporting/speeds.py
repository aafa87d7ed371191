"""The record of a model's size and speed, and the tables and chart of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from pkd.recipe.spelling import named, set_to
from pkd.reporting.amounts import NONE, count_text, megabytes
from pkd.reporting.published import published
from pkd.reporting.runtimes import Runtime

if TYPE_CHECKING:
    import altair as alt

_FREE = 0.9  # with at least this share of the cores free, a machine counts as idle
_DISAGREE = 1.3  # largest ratio of the rounds divided by the smallest
_COLOUR = "#4269d0"  # of all models but the first


class Latency(BaseModel):
    """Milliseconds from one text to its prediction, over `calls` consecutive calls."""

    model_config = ConfigDict(extra="forbid")

    calls: int
    median: float
    p95: float
    p99: float
    faster: float  # the first model's median divided by this one's

    @classmethod
    def of(cls, seconds: Sequence[float], of_first: Sequence[float]) -> Latency:
        """Summarise the seconds of each call."""
        median_ms, p95, p99 = (1000 * float(value) for value in np.percentile(seconds, (50, 95, 99)))
        return cls(calls=len(seconds), median=median_ms, p95=p95, p99=p99, faster=median(of_first) * 1000 / median_ms)


class Throughput(BaseModel):
    """Rows per second at one batch size and length, one value per round."""

    model_config = ConfigDict(extra="forbid")

    batch: int
    length: int | None  # None: the texts' own
    rows_per_second: list[float]
    faster: list[float]  # divided by the first model's in the same round

    @property
    def title(self) -> str:
        """Batch size and length, in words."""
        return f"{self.batch} × {self.length}" if self.length else f"{self.batch} texts"


class SpeedRecord(BaseModel):
    """One model: its parameters by part, its seconds per round, and its ratios to the first model."""

    model_config = ConfigDict(extra="forbid")

    name: str
    runtime: Runtime
    layers: int
    embeddings: int
    layer_parameters: int
    head: int  # pooler, norms and classes: all that is neither embedding nor layer
    parameters: int
    bytes: int  # of the weights, on disk
    peak_memory_bytes: int | None  # of a fresh process that classifies one batch; None if not measured
    rows: int
    on: str  # the file, or "random word pieces, ..."
    device: str
    threads: int
    cpu_shares: list[float] = []  # of `threads` cores, free before each round; 1 on an idle machine
    seconds: list[float]  # per round, for all rows
    latency: Latency
    throughput: list[Throughput]
    smaller: float  # the first model's parameters divided by this one's
    faster: list[float]  # the first model's seconds divided by this one's, per round
    every_position: bool = False  # words are tagged: the last layer is computed for all, not for [CLS] alone


@dataclass(frozen=True)
class SpeedRow:
    """A line of the table, as text; published values follow ours in brackets."""

    name: str
    layers: str
    embeddings: str
    layer_parameters: str
    head: str
    parameters: str
    smaller: str
    seconds: str
    faster: str
    faster_rounds: str  # lowest and highest over rounds; "" for the first model


def rounds_disagree(ratios: Sequence[float]) -> bool:
    """Whether the ratios of paired rounds are too far apart for their median to mean anything."""
    return max(ratios) > _DISAGREE * min(ratios)


def load_sentence(cpu_shares: Sequence[float], threads: int) -> str:
    """A sentence on the load by other jobs while models were timed; empty if there was none."""
    if not cpu_shares or min(cpu_shares) >= _FREE:
        return ""
    low, high = (f"{100 * share:.0f}" for share in (min(cpu_shares), max(cpu_shares)))
    got = f"{low} %" if low == high else f"{low} to {high} %"
    return f"Something else uses this machine: this process got {got} of {threads} core{'s' * (threads > 1)}."


def speed_doubts(records: Sequence[SpeedRecord]) -> list[str]:
    """Why the figures are unreliable, one sentence per reason: the machine was busy, or rounds disagree."""
    first = records[0]
    doubts = []
    if busy := load_sentence(first.cpu_shares, first.threads):
        fewer = f", or give {set_to('threads', 1)}" if first.threads > 1 else ""
        doubts.append(
            f"{busy} Seconds and ratios do not hold beside another job: threads that wait for one another lose most by "
            f"it. Repeat it on an idle machine{fewer}."
        )
    for record in records[1:]:
        measured = {"all rows": record.faster} | {f"batches of {cell.title}": cell.faster for cell in record.throughput}
        if apart := {what: ratios for what, ratios in measured.items() if rounds_disagree(ratios)}:
            told = ", ".join(f"{min(each):.2g} to {max(each):.2g}× at {what}" for what, each in apart.items())
            doubts.append(
                f"The rounds disagree how {record.name} compares with {first.name}: {told}. The medians may be chance; "
                f"repeat it, with more rounds ({named('rounds')}) or on an idle machine."
            )
    return doubts


def speed_rows(records: Sequence[SpeedRecord], depths: Sequence[int] = ()) -> list[SpeedRow]:
    """The lines of the table: the median over rounds, with the lowest and the highest.

    Args:
        records: the others are compared with the first.
        depths: of each record, the depth of the published BERT to compare it with; empty: no published values.
    """
    facts = published()
    sizes: dict[int | None, float | None] = {one.layers: one.smaller for one in facts.sizes}
    speeds: dict[int | None, float | None] = {one.layers: one.faster for one in facts.speeds}
    rows = []
    for index, record in enumerate(records):
        beside = depths[index] if depths else None
        rows.append(
            SpeedRow(
                name=record.name,
                layers=str(record.layers),
                embeddings=count_text(record.embeddings),
                layer_parameters=count_text(record.layer_parameters),
                head=count_text(record.head),
                parameters=count_text(record.parameters),
                smaller=f"{record.smaller:.2f}×" + _beside(sizes.get(beside)),
                seconds=_spread(record.seconds, "{:.3g}"),
                faster=f"{median(record.faster):.2f}×" + _beside(speeds.get(beside)),
                faster_rounds=f"{min(record.faster):.2f}–{max(record.faster):.2f}×" if index else "",
            )
        )
    return rows


def speed_title(records: Sequence[SpeedRecord]) -> str:
    """What was timed, as the table's title."""
    first = records[0]
    last_layer = "for every word piece" if first.every_position else "for [CLS] alone"
    return (
        f"{first.rows:,} rows ({first.on}) on {first.device}, {first.threads} threads, {len(first.seconds)} rounds in "
        f"turn, last layer {last_layer}. Median (least–most) of the rounds; ratios to {first.name}."
    )


@dataclass(frozen=True)
class ServingTable:
    """Bytes, memory, latency and throughput as text: a heading per column, a row per model."""

    headings: list[str]
    rows: list[list[str]]
    note: str


def serving_table(records: Sequence[SpeedRecord]) -> ServingTable:
    """What serving each model costs: medians over rounds, and ratios to the first model."""
    cells = [cell.title for cell in records[0].throughput]
    headings = ["model", "on disk", "memory", "one text, ms", "p95", "p99", *(f"rows/s {title}" for title in cells)]
    rows = []
    for record in records:
        latency, memory = record.latency, record.peak_memory_bytes
        rows.append(
            [
                record.name,
                megabytes(record.bytes),
                NONE if memory is None else megabytes(memory),
                f"{latency.median:.2f}" + _times(latency.faster, record is not records[0]),
                f"{latency.p95:.2f}",
                f"{latency.p99:.2f}",
                *(
                    f"{median(cell.rows_per_second):,.0f}" + _times(median(cell.faster), record is not records[0])
                    for cell in record.throughput
                ),
            ]
        )
    kind = "a text with its tokenising" if "random" not in records[0].on else "word pieces"
    note = (
        f"One text: {records[0].latency.calls} calls one after the other, from {kind} to logits. Memory: the peak of a "
        "process of its own. (n×): times the first model's speed."
    )
    return ServingTable(headings, rows, note)


def _times(faster: float, shown: bool) -> str:
    return f" ({faster:.1f}×)" if shown else ""


def speed_notes(records: Sequence[SpeedRecord], depths: Sequence[int]) -> list[str]:
    """Notes on the published numbers beside ours."""
    if not any(depths):
        return []
    facts = published()
    ours = ", ".join(str(record.layers) for record in records)
    theirs = ", ".join(str(depth) for depth in depths)
    speeds = " and ".join(dict.fromkeys(facts.sources[one.source] for one in facts.speeds))
    sizes = facts.sources[facts.sizes[0].source]
    return [
        f"[…] stands for BERT-base of {theirs} layers; the models here have {ours}. Smaller: {_lower(sizes)}. Faster: "
        f"published in {speeds}, on other hardware.",
    ]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _spread(values: Sequence[float], form: str) -> str:
    middle, low, high = (form.format(value) for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def _beside(published: float | None) -> str:
    return f" [{published:.2f}×]" if published else ""


def write_speed_chart(records: Sequence[SpeedRecord], path: Path) -> None:
    """Draw what serving each model costs, one small panel per figure, the first model in grey.

    Args:
        records: their size, memory, latency (to the 99th percentile) and throughput (lowest to highest round).
        path: a .png, a .html that needs no network, or the Vega-Lite .json.
    """
    import altair as alt  # it takes a second

    from pkd.reporting.charts import THEMES, chart_png

    panels = [_panel("MB on disk", {record.name: _Bar(record.bytes / 1e6) for record in records})]
    peaks = {record.name: _Bar(record.peak_memory_bytes / 1e6) for record in records if record.peak_memory_bytes}
    if len(peaks) == len(records):
        panels.append(_panel("peak memory, MB", peaks))
    waited = {one.name: _Bar(one.latency.median, one.latency.median, one.latency.p99) for one in records}
    panels.append(_panel("one text, ms: median, to the 99th percentile", waited))
    for number, cell in enumerate(records[0].throughput):
        rates = {record.name: record.throughput[number].rows_per_second for record in records}
        bars = {name: _Bar(median(each), min(each), max(each)) for name, each in rates.items()}
        panels.append(_panel(f"rows per second, {cell.title}", bars))
    chart = alt.concat(*panels, columns=2)
    kind = path.suffix.lower().removeprefix(".")
    if kind == "png":
        path.write_bytes(chart_png(chart))
    else:
        themed = chart.properties(config=THEMES["light"] | {"background": "white"})
        path.write_text(themed.to_html(inline=True) if kind == "html" else themed.to_json(), encoding="utf-8")


@dataclass(frozen=True)
class _Bar:
    """A bar, and its error line if it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        return f"{self.value:,.3g}" if self.value < 100 else f"{self.value:,.0f}"


def _panel(title: str, bars: Mapping[str, _Bar]) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    from pkd.reporting.charts import NEUTRAL

    names = list(bars)
    rows: list[dict[str, Any]] = [{"name": name, **vars(bar), "text": bar.text} for name, bar in bars.items()]
    base = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y("name:N", title=None, sort=names, axis=alt.Axis(ticks=False, domain=False, labelLimit=160))
    x = alt.X("value:Q", title=None, axis=alt.Axis(tickCount=4))
    colour = alt.condition(alt.datum.name == names[0], alt.value(NEUTRAL), alt.value(_COLOUR))
    spread = base.transform_filter("datum.low != null").mark_rule(strokeWidth=2, opacity=0.6)
    labels = base.transform_calculate(end="max(datum.value, datum.high || 0)").mark_text(align="left", dx=5)
    return alt.layer(
        base.mark_bar(height=14).encode(y=y, x=x, color=colour),
        spread.encode(y=y, x="low:Q", x2="high:Q"),
        labels.encode(y=y, x=alt.X("end:Q"), text="text:N"),
    ).properties(title=title, width=300, height=26 * len(rows), description=f"{title} of each model")
