"""The Pareto chart of a search within a budget: the score of each student against the time that one text takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from pkd.reporting.amounts import amount, is_share, metric_title, milliseconds, shown
from pkd.reporting.charts import NARROW, NEUTRAL, AnyChart
from pkd.reporting.front import Candidate, Compressed, Point
from pkd.reporting.front_words import drop_limit, drop_words, latency_limit
from pkd.reporting.results import Score

CHOSEN, FRONT, OFF, STOPPED, UNTRAINED = "chosen", "on the front", "off the front", "stopped early", "not trained"
TEACHER, WORDS = "teacher (PyTorch)", "word counts"
_WIDTH, _HEIGHT = 720, 380  # pixels
_MARKS = {  # kind -> colour, shape, size
    CHOSEN: ("#ef8b18", "circle", 190),
    FRONT: ("#4269d0", "circle", 95),
    OFF: ("#4269d0", "square", 60),
    STOPPED: (NEUTRAL, "circle", 34),
    UNTRAINED: (NEUTRAL, "M0,-0.6L0,0.6", 60),
    TEACHER: (NEUTRAL, "diamond", 120),
    WORDS: ("#a463f2", "triangle-up", 95),
}
_HOLLOW = (OFF, STOPPED)
_LETTER, _LINE = 6.4, 15.0  # pixels of a label's letters
_BESIDE: list[tuple[str, float, float]] = [("left", 13, 0), ("right", -13, 0)]
_SIDES = _BESIDE + [  # where a label may stand, the best first: its alignment and the pixels away from its point
    (align, dx, sign * dy)
    for dy in (14, 28, 42, 56, 70)
    for align, dx in (("left", 9), ("right", -9), ("center", 0))
    for sign in (-1, 1)
]


def front_chart(found: Compressed) -> AnyChart:
    """The score on the development rows against the latency of the exported graph, with their intervals.

    The line joins the points of the front. The dashed line is the teacher's score; dotted lines are the budget. Shapes
    that were stopped in a heat have their last score there and their predicted latency; those that were never trained
    are ticks on the axis. What lies far below the students is drawn at the lower edge, with its score beside it.
    """
    rows = _rows(found)
    title = f"{metric_title(found.metric, unit=True)} on the development rows"
    domain = _scores_shown(found)
    times = [row[key] for row in rows for key in ("ms", "ms_low", "ms_high")]
    limit = latency_limit(found)
    ends = [0.8 * min(times), 1.3 * max(times)]
    for row in rows:
        row["at"] = None if row["score"] is None else min(max(row["score"], domain[0]), domain[1])
        if row["label"] and row["score"] is not None and row["score"] < domain[0]:
            row["label"] += " (further down)"
    lines = [
        shown(found.metric, found.teacher.score.value - drop) for drop in (0.0, drop_limit(found)) if drop is not None
    ]
    _place(rows, ends, domain, _steps(found, ends[1]), lines, limit)
    base = alt.Chart(alt.InlineData(values=rows))
    axis = alt.Axis(values=_ticks(*ends), format="~g", grid=False)
    x_title = "ms for one text (logarithmic)"

    def x(field: str) -> alt.X:
        return alt.X(field, title=x_title, scale=alt.Scale(type="log", domain=ends, nice=False), axis=axis)

    def y(field: str) -> alt.Y:
        return alt.Y(field, title=title, scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(tickCount=6))

    kinds = [kind for kind in _MARKS if any(row["kind"] == kind for row in rows)]
    legend = alt.Legend(title=None, orient="top", symbolOpacity=1, columns=alt.expr(f"{NARROW} ? 2 : {len(kinds)}"))
    colour = alt.Color(
        "kind:N", scale=alt.Scale(domain=kinds, range=[_MARKS[kind][0] for kind in kinds]), legend=legend
    )
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=[_MARKS[kind][1] for kind in kinds]), legend=legend)
    size = alt.Size("size:Q", scale=None)
    hollow = " || ".join(f"datum.kind == '{kind}'" for kind in _HOLLOW)
    tooltip = [
        alt.Tooltip("name:N", title="shape"),
        alt.Tooltip("kind:N", title=" "),
        alt.Tooltip("time:N", title="one text"),
        alt.Tooltip("score_text:N", title=metric_title(found.metric)),
        alt.Tooltip("why:N", title="note"),
    ]
    scored, measured = base.transform_filter("datum.score != null"), base.transform_filter("datum.measured")
    layers = [
        base.mark_point(opacity=0, size=0).encode(x("ms:Q"), y("at:Q")),  # gives the plot its axes
        *_budget_lines(found, limit, x, y),
        *_front_line(found, ends[1], x, y),
        measured.mark_rule(strokeWidth=2.2, opacity=0.45, clip=True).encode(x("ms:Q"), y("low:Q"), colour, y2="high:Q"),
        measured.mark_rule(strokeWidth=2.2, opacity=0.45).encode(x("ms_low:Q"), y("at:Q"), colour, x2="ms_high:Q"),
        scored.transform_filter(hollow)
        .mark_point(filled=False, strokeWidth=1.8, opacity=0.9)
        .encode(x("ms:Q"), y("at:Q"), colour, shape, size, tooltip=tooltip),
        scored.transform_filter(f"!({hollow})")
        .mark_point(filled=True, opacity=1)
        .encode(x("ms:Q"), y("at:Q"), colour, shape, size, tooltip=tooltip),
        base.transform_filter("datum.score == null")
        .mark_tick(orient="vertical", thickness=1.8, size=11, opacity=0.8)
        .encode(x("ms:Q"), colour, y=alt.value(_HEIGHT - 6), tooltip=tooltip),
        *_labels(base),
    ]
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, description=_description(found, title))


def _rows(found: Compressed) -> list[dict[str, Any]]:
    """What is drawn, as plain data; what lies on top comes last."""
    finished = {point.shape for point in found.points}
    rows = [_of_candidate(found, each) for each in found.candidates if each.shape not in finished]
    teacher, metric = found.teacher, found.metric
    rows.append(_row(metric, TEACHER, teacher.name, "teacher", teacher.latency, teacher.score))
    if found.words is not None:
        rows.append(_row(metric, WORDS, "word counts, a linear model", WORDS, found.words.latency, found.words.score))
    rows += [_of_point(found, point) for point in sorted(found.points, key=lambda point: point.chosen)]
    return rows


def _of_point(found: Compressed, point: Point) -> dict[str, Any]:
    kind = CHOSEN if point.chosen else FRONT if point.on_front else OFF
    row = _row(found.metric, kind, point.shape.name, point.shape.name, point.measured.latency, point.score)
    row |= {"why": "; ".join(point.over), "short": str(point.number)}
    row["label"] = f"{point.number}  {row['label']}" if point.on_front or point.chosen else row["short"]
    return row


def _of_candidate(found: Compressed, candidate: Candidate) -> dict[str, Any]:
    last = next((heat.score for heat in reversed(candidate.scores) if heat.score is not None), None)
    score = None if last is None else Score(value=last)
    kind, latency = UNTRAINED if last is None else STOPPED, candidate.predicted.latency
    row = _row(found.metric, kind, candidate.shape.name, "", latency, score)
    return row | {"label": "", "measured": False, "why": "; ".join(candidate.over) or candidate.stopped}


def _row(metric: str, kind: str, name: str, short: str, latency: Score, score: Score | None) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind, "name": name, "short": short, "why": "", "size": _MARKS[kind][2]}
    row |= {"ms": latency.value, "ms_low": _or(latency.low, latency.value), "ms_high": _or(latency.high, latency.value)}
    row |= {
        "time": milliseconds(latency.value),
        "measured": score is not None,
        "score": None,
        "score_text": "",
        "label": short,
    }
    if score is not None:
        text = amount(metric, score.value) + " %" * is_share(metric)
        row |= {
            key: shown(metric, _or(bound, score.value)) for key, bound in (("low", score.low), ("high", score.high))
        }
        row |= {"score": shown(metric, score.value), "score_text": text, "label": f"{short}  {text}"}
    return row


def _scores_shown(found: Compressed) -> list[float]:
    """The lowest and highest score of the plot: the students' and the teacher's, and what lies not far below them."""
    inner = [found.teacher.score, *(point.score for point in found.points)]
    bounds = [
        shown(found.metric, _or(bound, each.value)) for each in inner for bound in (each.low, each.high, each.value)
    ]
    others = [heat.score for each in found.candidates for heat in each.scores[-1:] if heat.score is not None]
    others += [] if found.words is None else [found.words.score.value]
    span = max(max(bounds) - min(bounds), shown(found.metric, 0.02))
    low = min([min(bounds), *(each for score in others if (each := shown(found.metric, score)) > min(bounds) - span)])
    high = max([max(bounds), *(shown(found.metric, score) for score in others)])
    return [low - 0.08 * span, high + 0.08 * span]


def _front_line(found: Compressed, widest: float, x: Any, y: Any) -> list[alt.Chart]:
    """The best score for each latency, as steps to the right edge."""
    steps = _steps(found, widest)
    if not steps:
        return []
    base = alt.Chart(alt.InlineData(values=steps))
    line = base.mark_line(interpolate="step-after", strokeWidth=1.6, opacity=0.4, color=_MARKS[FRONT][0])
    return [line.encode(x("ms:Q"), y("at:Q"), order="ms:Q")]


def _steps(found: Compressed, widest: float) -> list[dict[str, float]]:
    """The corners of the front, from its fastest point to the right edge of the plot."""
    points = sorted((point for point in found.points if point.on_front), key=lambda point: point.measured.latency.value)
    steps = [{"ms": point.measured.latency.value, "at": shown(found.metric, point.score.value)} for point in points]
    return steps + ([{"ms": widest, "at": max(step["at"] for step in steps)}] if steps else [])


def _budget_lines(found: Compressed, limit: float | None, x: Any, y: Any) -> list[alt.Chart]:
    """The teacher's score, the budget's slowest latency and its lowest score."""
    teacher = found.teacher.score.value
    lines = [{"at": shown(found.metric, teacher), "text": ""}]
    ruled = alt.Chart(alt.InlineData(values=lines)).mark_rule(strokeDash=[5, 4], opacity=0.7, color=NEUTRAL)
    layers = [ruled.encode(y=y("at:Q"))]
    if (drop := drop_limit(found)) is not None:
        data = {"at": shown(found.metric, teacher - drop), "text": drop_words(found.metric, drop)}
        base = alt.Chart(alt.InlineData(values=[data]))
        rule = base.mark_rule(strokeDash=[2, 3], opacity=0.9, color=_MARKS[CHOSEN][0], clip=True)
        layers += [rule.encode(y=y("at:Q"))]
        name = base.mark_text(align="right", baseline="top", dy=4, dx=-4, fontSize=11, clip=True)
        text = alt.value(alt.expr(f"{NARROW} ? '' : datum.text"))
        layers += [name.encode(y=y("at:Q"), x=alt.value(alt.expr("width")), text=text)]
    if limit is not None:
        base = alt.Chart(alt.InlineData(values=[{"ms": limit, "text": f"at most {milliseconds(limit)}"}]))
        rule = base.mark_rule(strokeDash=[2, 3], opacity=0.9, color=_MARKS[CHOSEN][0], clip=True)
        name = base.mark_text(align="left", baseline="top", dx=5, fontSize=11, clip=True)
        layers += [rule.encode(x=x("ms:Q")), name.encode(x=x("ms:Q"), y=alt.value(2), text="text:N")]
    return layers


def _labels(base: alt.Chart) -> list[alt.Chart]:
    text = alt.value(alt.expr(f"{NARROW} ? datum.short : datum.label"))
    x = alt.value(alt.expr("scale('x', datum.ms) + datum.dx"))
    y = alt.value(alt.expr("scale('y', datum.at) + datum.dy"))
    layers = []
    for align in ("left", "right", "center"):
        here = base.transform_filter(f"datum.label != '' && datum.align == '{align}'")
        layers.append(here.mark_text(align=align, baseline="middle").encode(x=x, y=y, text=text))
    return layers


def _place(
    rows: Sequence[dict[str, Any]],
    ends: Sequence[float],
    domain: Sequence[float],
    steps: Sequence[dict[str, float]],
    heights: Sequence[float],
    limit: float | None,
) -> None:
    """Put each label where it covers no point, no line and no other label, as far as there is such a side.

    Args:
        rows: what is drawn.
        ends: of the horizontal axis.
        domain: of the vertical one.
        steps: the corners of the front's line.
        heights: of the lines across the plot.
        limit: the position of the line from top to bottom, if there is one.
    """
    room = _WIDTH - 70  # for the axis

    def across(ms: float) -> float:
        return room * math.log(ms / ends[0]) / math.log(ends[1] / ends[0])

    def down(score: float) -> float:
        return _HEIGHT * (domain[1] - score) / (domain[1] - domain[0])

    drawn = [row for row in rows if row["at"] is not None]
    taken = [(across(row["ms"]) - 7, down(row["at"]) - 7, across(row["ms"]) + 7, down(row["at"]) + 7) for row in drawn]
    taken += [(across(one["ms"]), down(one["at"]) - 2, across(next_["ms"]), down(one["at"]) + 2)
              for one, next_ in itertools.pairwise(steps)]  # fmt: skip
    taken += [(0.0, down(height) - 2, room, down(height) + 2) for height in heights]
    taken += [(across(row["ms"]) - 2, down(row["high"]), across(row["ms"]) + 2, down(row["low"]))
              for row in drawn if row["measured"]]  # fmt: skip
    taken += [] if limit is None else [(across(limit) - 2, 0.0, across(limit) + 2, _HEIGHT)]
    for row in rows:
        row |= {"align": "left", "dx": 0, "dy": 0}
    for row in reversed(drawn):  # the chosen one first
        if not row["label"]:
            continue
        x, y = across(row["ms"]), down(row["at"])
        wide = _LETTER * len(row["label"])
        boxes = []
        for align, dx, dy in _SIDES:
            left = x + dx - {"left": 0, "right": wide, "center": wide / 2}[align]
            boxes.append((left - 4, y + dy - _LINE / 2, left + wide + 4, y + dy + _LINE / 2))
        best = min(range(len(_SIDES)), key=lambda side: (_covered(boxes[side], taken, room), side))
        taken.append(boxes[best])
        row["align"], row["dx"], row["dy"] = _SIDES[best]


def _covered(box: tuple[float, ...], taken: Sequence[tuple[float, ...]], room: float) -> float:
    """The pixels of a box that others take, or that lie outside the plot."""
    left, top, right, bottom = box
    outside = max(0.0, -left) + max(0.0, right - room) + max(0.0, -top) + max(0.0, bottom - _HEIGHT)
    return 20 * outside + sum(
        max(0.0, min(right, other[2]) - max(left, other[0])) * max(0.0, min(bottom, other[3]) - max(top, other[1]))
        for other in taken
    )


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two values.

    >>> _ticks(0.7, 30)
    [1.0, 2.0, 5.0, 10.0, 20.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = (float(f"{step}e{power}") for power in powers for step in (1, 2, 5))
    return [tick for tick in ticks if low <= tick <= high]


def _description(found: Compressed, title: str) -> str:
    told = [
        f"{point.number}, {point.shape.name}: {amount(found.metric, point.score.value)} at "
        f"{milliseconds(point.measured.latency.value)}" + ", chosen" * point.chosen
        for point in found.points
    ]
    return f"{title} against the time of one text. " + "; ".join(told)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
