"""Metrics and numbers as text: titles, scores with their spread, differences, p values, counts."""

from __future__ import annotations

import math
from collections.abc import Callable

from pkd.evaluation.metric_facts import facts_of
from pkd.reporting.results import ComparisonRecord, Score, Summary

NONE = "–"  # an empty cell


def metric_title(metric: str, *, unit: bool = False) -> str:
    """The name of a metric; with `unit`, its % too."""
    group = metric.partition("/")[2]  # "accuracy/high" is that of RACE's high schools
    title = facts_of(metric).title + (f" ({group})" if group else "")
    return f"{title}, %" if unit and is_share(metric) else title


def is_share(metric: str) -> bool:
    """Whether a metric, of all rows or of a group, is shown in percent."""
    return facts_of(metric).is_share


def score_text(summary: Summary, metric: str) -> str:
    """Mean ± standard deviation over seeds; for one seed the score and its bootstrap interval."""
    if metric not in summary.mean:
        return NONE
    text, deviation, interval = (
        amount(metric, summary.mean[metric]),
        summary.deviation[metric],
        summary.interval[metric],
    )
    if deviation is not None:
        return f"{text} ± {amount(metric, deviation)}"
    return f"{text} ({amount(metric, interval[0])} to {amount(metric, interval[1])})" if interval else text


def mean_text(summary: Summary, metric: str) -> str:
    """The mean over seeds alone."""
    return amount(metric, summary.mean[metric]) if metric in summary.mean else NONE


def amount(metric: str, value: float) -> str:
    """A score as tables show it: shares in percent, the rest with three decimals."""
    scale, decimals = _scale(metric)
    return _minus(f"{value * scale:.{decimals}f}")


def shown(metric: str, value: float) -> float:
    """A score as charts draw it: shares in percent, the rest as it is."""
    return value * _scale(metric)[0]


def score_words(metric: str, value: float) -> str:
    """A score with its name, e.g. "accuracy 96.5 %"."""
    return f"{metric_title(metric)} {amount(metric, value)}{' %' if is_share(metric) else ''}"


def _scale(metric: str) -> tuple[int, int]:
    """By what a metric is multiplied where it is shown, and with how many decimals."""
    return (100, 1) if is_share(metric) else (1, 3)


def with_error(value: float, error: float | None, most_decimals: int = 6) -> str:
    """A value with its standard error, and no more digits than that supports, at most three.

    >>> with_error(0.2713, 0.021), with_error(1234.0, 56.0), with_error(0.69314, 1e-6), with_error(0.5, None)
    ('0.27 ± 0.02', '1230 ± 60', '0.693', '0.500')
    >>> with_error(2e-8, 1e-9)
    '0.000000'
    """
    decimals = most_decimals
    if error:
        decimals = min(decimals, -math.floor(math.log10(error)))
    if value:
        decimals = min(decimals, 2 - math.floor(math.log10(abs(value))))
    told, spread = (f"{round(each, decimals):.{max(0, decimals)}f}" for each in (value, error or 0.0))
    return told if float(spread) == 0 else f"{told} ± {spread}"


def difference_text(metric: str, difference: float, *, sign: bool = False) -> str:
    """A difference of a metric, of shares in percentage points; with `sign`, its + or −."""
    scale, decimals = _scale(metric)
    text = _minus(f"{difference * scale:{'+' if sign else ''}.{decimals}f}")
    nothing = f"{0:.{decimals}f}"
    return nothing if text in (f"−{nothing}", f"+{nothing}") else text


def shown_difference(metric: str, one: float, other: float) -> float:
    """`one` minus `other` as displayed, so that subtracting a table's numbers gives the same.

    >>> shown_difference("accuracy", 0.8324, 0.8386)  # 83.2 − 83.9
    -0.007
    """
    scale, _ = _scale(metric)
    return round((_as_shown(metric, one) - _as_shown(metric, other)) / scale, 6)


def shown_ratio(metric: str, one: float, other: float) -> float:
    """`one` as a share of `other` as displayed; of the exact values if `other` is displayed as 0."""
    shown_other = _as_shown(metric, other)
    return _as_shown(metric, one) / shown_other if shown_other else one / other


def _as_shown(metric: str, value: float) -> float:
    scale, decimals = _scale(metric)
    return float(f"{value * scale:.{decimals}f}")


def interval_of(comparison: ComparisonRecord) -> str | None:
    """The interval of a comparison's difference, in points."""
    low, high = comparison.difference.low, comparison.difference.high
    if low is None or high is None:
        return None
    return " to ".join(difference_text(comparison.metric, bound, sign=True) for bound in (low, high))


def examples_text(examples: float) -> str:
    """What a difference amounts to in rows, e.g. "+7" or "−0.3"."""
    text = _minus(
        f"{examples:+.0f}" if abs(examples) >= 10 or abs(examples - round(examples)) < 0.05 else f"{examples:+.1f}"
    )
    return "0" if text in ("+0", "−0", "+0.0", "−0.0") else text


def p_text(p: float) -> str:
    """A p value, e.g. "0.12" or "< 0.001"."""
    if p < 0.001:
        return "< 0.001"
    return f"{p:.2f}" if p >= 0.0995 or p == 0 else f"{p:.3f}"


def confidence_text(confidence: float) -> str:
    """A confidence in percent, e.g. "95 %"."""
    return f"{confidence * 100:g} %"


def count_text(count: int) -> str:
    """A large count in millions or thousands, e.g. "17.3 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def milliseconds(value: float) -> str:
    """A time with its unit.

    >>> milliseconds(3.042), milliseconds(0.1234), milliseconds(120.4)
    ('3.04 ms', '0.123 ms', '120 ms')
    """
    return f"{milliseconds_number(value)} ms"


def milliseconds_number(value: float) -> str:
    """Milliseconds as tables show them below a heading with the unit."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"


def megabytes(count: float) -> str:
    """Bytes as megabytes of 10⁶, small ones as kilobytes.

    >>> megabytes(18_240_000), megabytes(34_000)
    ('18.2 MB', '34 kB')
    """
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.0f} kB"


def times(ratio: float) -> str:
    """A ratio of speeds, e.g. "9.6 ×"."""
    return f"{ratio:.1f} ×" if ratio < 100 else f"{ratio:.0f} ×"


def range_text(score: Score, text: Callable[[float], str]) -> str:
    """The interval of a value, each end by `text`; "" where there is none."""
    return "" if score.low is None or score.high is None else f"{text(score.low)} to {text(score.high)}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
