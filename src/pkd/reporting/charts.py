"""The charts of a run, each a declarative Vega-Lite chart made of the records.

A chart has no page colours: `render` makes the specification that the page draws at its own width, in light or dark,
`chart_png` the picture for a README or card.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import altair as alt
from altair.utils import schemapi

from pkd.distillation.terms import TERMS
from pkd.errors import ResourceError
from pkd.reporting.amounts import amount, metric_title, shown
from pkd.reporting.placement import HEIGHT, place_labels
from pkd.reporting.results import ModelRecord, Record, Summary, summarise
from pkd.reporting.wording import TEACHER, main_metric

AnyChart: TypeAlias = alt.LayerChart | alt.Chart | alt.ConcatChart | alt.FacetChart

_IS_TEACHER = f"datum.role == 'teacher' && datum.name == '{TEACHER}'"  # the first of several
NEUTRAL = "#868e9b"  # the teacher; readable on light and on dark
_COLOURS = ["#4269d0", "#ef8b18", "#3ca951", "#a463f2", "#e5484d", "#12a5a5", "#d6409f", "#9c6b4e"]
_WIDTH = 720  # pixels, outside a page
_POINTS_A_LINE = 300  # of a learning curve: more than its width in the page can show
NARROW = "width < 430"  # a phone: names without numbers

TERM_CURVES = {f"loss/{term.name}": term.title for term in TERMS}

DASHES = alt.Scale(domain=["pkd", "kd", "ft"], range=[[1, 0], [6, 3], [2, 2]])

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"


def _theme(text: str, muted: str, grid: str) -> dict[str, Any]:
    return {
        "background": None,
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": muted,
            "titleColor": text,
            "titleFontWeight": 500,
            "titlePadding": 10,
            "gridColor": grid,
            "domainColor": grid,
            "tickColor": grid,
            "labelFontSize": 12,
            "titleFontSize": 12,
        },
        "legend": {"labelColor": text, "titleColor": text, "labelFontSize": 12, "labelLimit": 260, "symbolSize": 90},
        "title": {"color": text, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "text": {"color": text, "fontSize": 12},
    }


THEMES = {
    "light": _theme("#1c2430", "#5b6472", "#e3e7ee"),
    "dark": _theme("#e8ebf1", "#a3acbb", "#2c3442"),
}


def kept_chart(records: Sequence[Record]) -> AnyChart:
    """What was kept of the teacher: each model's score against its speed, with its bootstrap interval.

    Against its parameters if speed was not measured. Filled points are students, hollow ones their controls; the
    teacher is the dashed line. Models of the same speed are drawn side by side, their names in a column next to them.
    """
    summaries, metric = summarise(records), main_metric(records)
    by_speed = all(summary.rows_per_second for summary in summaries)
    colours = _colours(summaries)
    points = [_point(summary, metric, by_speed) | {"colour": colours[summary.name]} for summary in summaries]
    bounds = [point[key] for point in points for key in ("low", "high", "score")]
    margin = 0.1 * (max(bounds) - min(bounds)) or 0.01
    domain = [min(bounds) - margin, max(bounds) + margin]
    widest = 1.1 * max(point["x"] for point in points)
    place_labels(points, domain, widest, by_speed)
    base = alt.Chart(alt.InlineData(values=points))
    x_title, y_title = "rows per second" if by_speed else "million parameters", metric_title(metric, unit=True)
    x = alt.X("x:Q", title=x_title, axis=alt.Axis(grid=False, tickCount=5))
    x = x.scale(alt.Scale(domain=[0, widest], nice=False))

    def y(field: str) -> alt.Y:
        return alt.Y(field, title=y_title, scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(tickCount=6))

    colour, dodged = alt.Color("colour:N", scale=None), _x_beside("dodge")
    tooltip = [
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("score:Q", title=y_title, format=".2f"),
        alt.Tooltip("low:Q", format=".2f"),
        alt.Tooltip("high:Q", format=".2f"),
        alt.Tooltip("x:Q", title=x_title, format=",.1f"),
    ]
    teacher = base.transform_filter(_IS_TEACHER)
    hollow = alt.condition("datum.role == 'control'", alt.value("transparent"), alt.Fill("colour:N", scale=None))
    return alt.layer(
        base.mark_point(opacity=0, size=0).encode(x, y("score:Q")),  # gives the plot its x axis
        teacher.mark_rule(strokeDash=[5, 4], opacity=0.7).encode(y=y("score:Q"), color=colour),
        base.mark_rule(strokeWidth=2.5, opacity=0.45).encode(y("low:Q"), colour, y2="high:Q", x=dodged),
        base.mark_point(size=95, strokeWidth=2.2, opacity=1).encode(
            y("score:Q"), x=dodged, stroke=alt.Stroke("colour:N", scale=None), fill=hollow, tooltip=tooltip
        ),
        *(layer for side in ("left", "right") for layer in _label_layers(base, side, y("label_y:Q"))),
    ).properties(
        width=_WIDTH,
        height=HEIGHT,
        description=f"{y_title} against {x_title}. "
        + "; ".join(f"{point['label']} at {point['x']:,.1f}" for point in points),
    )


def scores_chart(records: Sequence[Record]) -> AnyChart:
    """The score of each model with each seed, with its bootstrap interval; the first teacher's is the dashed line."""
    metric, colours = main_metric(records), _colours(summarise(records))
    models = [record for record in records if isinstance(record, ModelRecord)]
    rows = [
        {
            "name": model.name,
            "seed": "" if model.seed is None else str(model.seed),
            "score": shown(metric, model.scores[metric].value),
            "low": shown(metric, _or(model.scores[metric].low, model.scores[metric].value)),
            "high": shown(metric, _or(model.scores[metric].high, model.scores[metric].value)),
            "colour": colours[model.name],
            "role": model.role,
        }
        for model in models
    ]
    names = list(dict.fromkeys(model.name for model in models))
    lines = {name: [row for row in rows if row["name"] == name] for name in names}
    most_seeds = max(len(of_model) for of_model in lines.values())
    for of_model in lines.values():
        for index, row in enumerate(of_model):
            row["line"] = index + (most_seeds - len(of_model)) // 2
    base = alt.Chart(alt.InlineData(values=rows))
    title = metric_title(metric, unit=True)

    def x_of(field: str) -> alt.X:
        return alt.X(field, title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))

    y = alt.Y(
        "name:N",
        title=None,
        sort=names,
        scale=alt.Scale(padding=0.3),
        axis=alt.Axis(grid=False, ticks=False, domain=False, labelLimit=170),
    )
    y_offset = alt.YOffset("line:N", scale=alt.Scale(domain=list(range(most_seeds))))
    colour = alt.Color("colour:N", scale=None)
    tooltip = [
        alt.Tooltip("name:N", title="model"),
        "seed:N",
        alt.Tooltip("score:Q", title=title, format=".2f"),
        alt.Tooltip("low:Q", format=".2f"),
        alt.Tooltip("high:Q", format=".2f"),
    ]
    line = base.transform_filter(_IS_TEACHER).mark_rule(strokeDash=[5, 4], opacity=0.7)
    return alt.layer(
        line.encode(x=x_of("score:Q"), color=colour),
        base.mark_rule(strokeWidth=2.5, opacity=0.4).encode(
            x=x_of("low:Q"), x2="high:Q", y=y, yOffset=y_offset, color=colour
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            x=x_of("score:Q"), y=y, yOffset=y_offset, color=colour, tooltip=tooltip
        ),
    ).properties(
        width=_WIDTH,
        height=len(names) * max(26, 14 * most_seeds + 8),
        description=f"{title} of each model and seed. "
        + "; ".join(f"{row['name']} seed {row['seed']}: {row['score']:.2f}" for row in rows),
    )


def curve_panels(records: Sequence[Record]) -> list[tuple[str, alt.Chart]]:
    """Learning curves, a chart for each of ce, kd, pt and development score that was logged, a line per student."""
    colours = _colours(summarise(records))
    metric = main_metric(records)
    curves = {**TERM_CURVES, f"eval_{metric}": f"{metric_title(metric)} on development data"}
    curves[f"eval_{metric}"] += ", %" if shown(metric, 1.0) == 100 else ""
    panels = []
    for key, title in curves.items():
        rows = [
            {"step": line["step"], "value": line[key] if key in TERM_CURVES else shown(metric, line[key])}
            | {"name": model.name, "seed": str(model.seed), "method": _family(model)}
            for model in records
            if isinstance(model, ModelRecord) and model.role != "teacher"
            for line in _thinned([line for line in model.history if key in line and "step" in line])
        ]
        if rows:
            panels.append((title, _curve(rows, title, colours)))
    return panels


def colours_of(records: Sequence[Record]) -> dict[str, str]:
    """The colour of each model, the same in every chart."""
    return _colours(summarise(records))


def render(chart: AnyChart) -> dict[str, Any]:
    """The Vega-Lite specification of a chart for the page: as wide as its container, in the page's own theme."""
    spec: dict[str, Any] = chart.to_dict(validate=schemapi.DEBUG_MODE)
    spec.pop("config", None)
    if "concat" not in spec:
        spec["width"] = "container"
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return spec


def chart_png(chart: AnyChart, scale: float = 2.0) -> bytes:
    """A chart as a PNG on white, drawn without a browser and without the network.

    Raises:
        ResourceError: if the library that draws it is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise ResourceError(
            f"A chart is drawn as a PNG by vl-convert-python, which is not installed ({error}). Run: pip install "
            "vl-convert-python"
        ) from error
    spec = chart.to_dict()
    spec["config"] = THEMES["light"] | {"background": "white", "padding": 12}
    png: bytes = vl_convert.vegalite_to_png(json.dumps(spec), vl_version=vega_lite_version(), scale=scale)
    return png


def vega_lite_version() -> str:
    """The Vega-Lite version that the charts are written for, e.g. "6.4"."""
    found = re.match(r"v?(\d+\.\d+)", alt.SCHEMA_VERSION)
    return found.group(1) if found else alt.SCHEMA_VERSION


def _point(summary: Summary, metric: str, by_speed: bool) -> dict[str, Any]:
    """One model as the kept chart draws it."""
    mean = summary.mean[metric]
    low, high = summary.interval[metric] or (mean, mean)
    return {
        "name": summary.name,
        "role": summary.role,
        "score": shown(metric, mean),
        "low": shown(metric, low),
        "high": shown(metric, high),
        "x": (summary.rows_per_second or 0.0) if by_speed else summary.parameters / 1e6,
        "label": f"{summary.name}  {amount(metric, mean)}",
    }


def _x_beside(pixels: str) -> Any:
    """The x of a point plus the pixels of a column; Vega-Lite has no offset on a quantitative axis."""
    return alt.value(alt.expr(f"scale('x', datum.x) + datum.{pixels}"))


def _label_layers(base: alt.Chart, side: str, y: alt.Y) -> list[alt.Chart]:
    """The names in a column on one side of their points, each with its point's mark, and the speed below."""
    here = base.transform_filter(f"datum.side == '{side}'")
    align: Any = "right" if side == "left" else "left"
    away = -9 if side == "left" else 9
    x = _x_beside("label_offset")
    key = here.transform_filter("!datum.alone").mark_point(size=42, strokeWidth=1.8, opacity=1)
    hollow = alt.condition("datum.role == 'control'", alt.value("transparent"), alt.Fill("colour:N", scale=None))
    text = alt.value(alt.expr(f"{NARROW} ? datum.name : datum.label"))
    return [
        key.encode(y, x=x, stroke=alt.Stroke("colour:N", scale=None), fill=hollow),
        here.mark_text(align=align, baseline="middle", dx=away).encode(y, x=x, text=text),
        here.transform_filter("datum.cost != ''")
        .mark_text(align=align, baseline="bottom", fontWeight=600)
        .encode(x=_x_beside("cost_offset"), y=alt.value(HEIGHT - 6), text="cost:N"),
    ]


def _curve(rows: list[dict[str, Any]], title: str, colours: dict[str, str]) -> alt.Chart:
    """One learning curve for each model and seed; dashes encode the method, colour the model."""
    names = [name for name in colours if any(row["name"] == name for row in rows)]
    step_axis = alt.Axis(grid=False, tickCount=5)
    few = max(Counter((row["name"], row["seed"]) for row in rows).values()) <= 12
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=1.6, opacity=0.85, point={"size": 26, "opacity": 1} if few else False)
        .encode(
            x=alt.X("step:Q", title="step", scale=alt.Scale(zero=True, nice=False), axis=step_axis),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
            color=alt.Color(
                "name:N", title=None, scale=alt.Scale(domain=names, range=[colours[name] for name in names])
            ),
            strokeDash=alt.StrokeDash("method:N", title=None, scale=DASHES),
            detail="seed:N",
            tooltip=[alt.Tooltip("name:N", title="model"), "seed:N", "step:Q", alt.Tooltip("value:Q", format=".4f")],
        )
        .properties(width=_WIDTH, height=200, description=f"Learning curves: {title}, over steps, one line a student.")
    )
    return chart


def _thinned(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    """Every Nth line and the last, so that a long run does not make a page of many megabytes."""
    every = -(-len(lines) // _POINTS_A_LINE)
    return lines if every < 2 else [*lines[:-1:every], lines[-1]]


def _colours(summaries: Sequence[Summary]) -> dict[str, str]:
    students = [summary.name for summary in summaries if summary.role != "teacher"]
    palette = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(students)}
    return {summary.name: palette.get(summary.name, NEUTRAL) for summary in summaries}


def _family(model: ModelRecord) -> str:
    return (model.method or "").split("-")[0]


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
