"""The charts of a sweep: mean scores over two hyper-parameters, and the effect of each."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

import altair as alt

from pkd.recipe.faults import value_text
from pkd.recipe.sweeping import short_name
from pkd.reporting.amounts import amount, metric_title, shown
from pkd.reporting.charts import AnyChart
from pkd.reporting.trials import TrialRecord, scores_by, swept

_PAIRS = [("beta", "temperature"), ("alpha", "learning_rate")]  # those of interest in the published grid
_MOST_VALUES = 12  # of an axis; more were drawn from a range
_WIDTH = 330


def heat_maps(trials: Sequence[TrialRecord]) -> list[tuple[str, AnyChart]]:
    """The mean score at each pair of values: β × T and α × learning rate if swept, else the first two keys."""
    keys = [key for key in swept(trials) if len(scores_by(trials, key)) <= _MOST_VALUES]
    by_name = {short_name(key): key for key in keys}
    pairs = [(by_name[one], by_name[other]) for one, other in _PAIRS if one in by_name and other in by_name]
    if not pairs:
        pairs = list(itertools.combinations(keys, 2))[:1]
    return [(f"{short_name(one)} × {short_name(other)}", _heat_map(trials, one, other)) for one, other in pairs]


def effect_charts(trials: Sequence[TrialRecord]) -> list[tuple[str, AnyChart]]:
    """For each swept key the score of every trial at its value, with mean and range where values repeat."""
    if not any(trial.status == "done" for trial in trials):
        return []
    return [(short_name(key), _effect(trials, key)) for key in swept(trials)]


def _heat_map(trials: Sequence[TrialRecord], one: str, other: str) -> AnyChart:
    metric = trials[0].metric
    cells: list[dict[str, Any]] = [
        {
            "x": value_text(values[0]),
            "y": value_text(values[1]),
            "score": shown(metric, statistics.fmean(scores)),
            "text": amount(metric, statistics.fmean(scores)),
            "trials": len(scores),
        }
        for values, scores in scores_by(trials, one, other).items()
    ]
    x_order = [value_text(value[0]) for value in scores_by(trials, one)]
    y_order = [value_text(value[0]) for value in scores_by(trials, other)]
    middle = statistics.fmean([max(cell["score"] for cell in cells), min(cell["score"] for cell in cells)])
    title = f"mean {metric_title(metric, unit=True)}"
    base = alt.Chart(alt.InlineData(values=cells)).encode(
        x=alt.X("x:N", title=short_name(one), sort=x_order, axis=alt.Axis(labelAngle=0, grid=False)),
        y=alt.Y("y:N", title=short_name(other), sort=y_order[::-1], axis=alt.Axis(grid=False)),
    )
    tooltip = [
        alt.Tooltip("x:N", title=short_name(one)),
        alt.Tooltip("y:N", title=short_name(other)),
        alt.Tooltip("score:Q", title=title, format=".2f"),
        "trials:Q",
    ]
    colour = alt.Color("score:Q", title=None, scale=alt.Scale(scheme="blues", zero=False), legend=None)
    ink = alt.condition(f"datum.score > {middle}", alt.value("#ffffff"), alt.value("#1c2430"))
    chart: AnyChart = alt.layer(
        base.mark_rect(cornerRadius=3).encode(color=colour, tooltip=tooltip),
        base.mark_text().encode(text="text:N", color=ink),
    ).properties(
        width=_WIDTH,
        height=46 * len(y_order),
        description=f"{title} by {short_name(one)} and {short_name(other)}. "
        + "; ".join(f"{cell['x']}, {cell['y']}: {cell['text']}" for cell in cells),
    )
    return chart


def _effect(trials: Sequence[TrialRecord], key: str) -> AnyChart:
    metric, by_value = trials[0].metric, scores_by(trials, key)
    drawn = len(by_value) > _MOST_VALUES
    points: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    for (value,), scores in by_value.items():
        x = value if drawn else value_text(value)
        points += [{"x": x, "score": shown(metric, score)} for score in scores]
        low, mean, high = (shown(metric, one) for one in (min(scores), statistics.fmean(scores), max(scores)))
        means.append({"x": x, "mean": mean, "low": low, "high": high, "trials": len(scores)})
    title = metric_title(metric, unit=True)
    if drawn:
        numbers = [value for (value,) in by_value]
        log = min(numbers) > 0 and max(numbers) > 20 * min(numbers)
        x_axis = alt.X("x:Q", title=None, scale=alt.Scale(type="log" if log else "linear", zero=False))
    else:
        order = [value_text(value) for (value,) in by_value]
        x_axis = alt.X("x:N", title=None, sort=order, axis=alt.Axis(labelAngle=0, grid=False))

    def y(field: str) -> alt.Y:
        return alt.Y(field, title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))

    colour = alt.value("#4269d0")
    layers = [
        alt.Chart(alt.InlineData(values=points))
        .mark_point(size=30, opacity=0.35)
        .encode(x_axis, y("score:Q"), color=colour)
    ]
    if not drawn:
        base = alt.Chart(alt.InlineData(values=means))
        tooltip = [
            alt.Tooltip("x:N", title=short_name(key)),
            *(alt.Tooltip(f"{one}:Q", format=".2f") for one in ("mean", "low", "high")),
            "trials:Q",
        ]
        layers += [
            base.mark_rule(strokeWidth=2.5, opacity=0.45).encode(x_axis, y("low:Q"), y2="high:Q", color=colour),
            base.mark_line(point={"size": 70}, strokeWidth=2).encode(
                x_axis, y("mean:Q"), color=colour, tooltip=tooltip
            ),
        ]
    chart: AnyChart = alt.layer(*layers).properties(
        width=_WIDTH,
        height=190,
        description=f"{title} by {short_name(key)}. "
        + "; ".join(f"{one['x']}: mean {one['mean']:.2f}, {one['low']:.2f} to {one['high']:.2f}" for one in means),
    )
    return chart
