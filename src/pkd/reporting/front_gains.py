"""What one more millisecond, or half a point less, would buy: sentences on the points and shapes of a search."""

from __future__ import annotations

from collections.abc import Sequence

from pkd.reporting.amounts import difference_text, is_share, milliseconds, shown_difference, times
from pkd.reporting.front import Candidate, Compressed, Point
from pkd.reporting.front_words import budget_of, latency_limit, listed, named_point, points_below, score_number

_HALF_A_POINT = 0.005
_MILLISECOND = 1.0
_NAMED = 3  # shapes of a sentence; the table has all


def gain_sentences(found: Compressed) -> list[str]:
    """What one more millisecond, or half a point less, would buy."""
    if found.chosen is None:
        return []
    return [_more_time(found, found.chosen), _less_score(found, found.chosen)]


def _more_time(found: Compressed, chosen: Point) -> str:
    fast = chosen.measured.latency.value
    limit = (latency_limit(found) or fast) + _MILLISECOND
    begin = "One more millisecond"
    slower = [point for point in found.points if fast < point.measured.latency.value <= limit]
    better = [point for point in slower if shown_difference(found.metric, point.score.value, chosen.score.value) > 0]
    if better:
        best = max(better, key=lambda point: point.score.value)
        gain = points_below(found.metric, shown_difference(found.metric, best.score.value, chosen.score.value))
        doubt = ", though the development rows cannot tell the two apart" if chosen.ties and best.ties else ""
        return (
            f"{begin} would buy {gain}: {named_point(best)} has {score_number(found, best.score.value)} at "
            f"{milliseconds(best.measured.latency.value)}{doubt}."
        )
    most = budget_of(found).bytes
    small = [each for each in found.candidates if most is None or each.predicted.bytes <= most]
    between = [each for each in small if fast < each.predicted.latency.value <= limit]
    if untrained := [each for each in between if each.over and not each.scores and _is_too_slow_alone(found, each)]:
        return (
            f"{begin} would let {_shapes(untrained)} in, which {_are(untrained)} over the budget and "
            f"{_were(untrained)} not trained: what {_it(untrained)} would score is not known."
        )
    finished = {point.shape for point in found.points}
    if stopped := [each for each in between if each.shape not in finished and not each.is_refused]:
        return (
            f"{begin} would buy nothing that the search saw: of the shapes up to {milliseconds(limit)}, "
            f"{_shapes(stopped)} {_were(stopped)} not trained in full."
        )
    if slower:
        return f"{begin} would buy nothing: no student up to {milliseconds(limit)} is better."
    of_size = " of the allowed size" if len(small) < len(found.candidates) else ""
    return f"{begin} would buy nothing: no shape{of_size} takes between {milliseconds(fast)} and {milliseconds(limit)}."


def _is_too_slow_alone(found: Compressed, candidate: Candidate) -> bool:
    """Whether a shape over the budget breaks nothing but its limit of time."""
    limit, most = latency_limit(found), budget_of(found).bytes
    slow = limit is not None and _or(candidate.predicted.latency.high, candidate.predicted.latency.value) > limit
    return slow and (most is None or candidate.predicted.bytes <= most)


def _less_score(found: Compressed, chosen: Point) -> str:
    begin = "Half a point less" if is_share(found.metric) else f"{_HALF_A_POINT:g} less"
    fast = chosen.measured.latency.value
    faster = [point for point in found.points if point.measured.latency.value < fast]
    lost = {point.number: chosen.score.value - point.score.value for point in faster}
    near = [point for point in faster if lost[point.number] <= _HALF_A_POINT + 1e-9]
    if near:
        first = min(near, key=lambda point: point.measured.latency.value)
        saved, ratio = fast - first.measured.latency.value, fast / first.measured.latency.value
        return (
            f"{begin} would buy {milliseconds(saved)}: {named_point(first)} is "
            f"{_below_other(found, lost[first.number])} at {milliseconds(first.measured.latency.value)}, "
            f"{times(ratio)} as fast."
        )
    if faster:
        next_ = min(faster, key=lambda point: lost[point.number])
        return (
            f"{begin} would buy no time: the nearest faster student, {named_point(next_)}, is "
            f"{_below_other(found, lost[next_.number])} at {milliseconds(next_.measured.latency.value)}."
        )
    faster_shapes = [each for each in found.candidates if each.predicted.latency.value < fast and each.scores]
    if stopped := [each for each in faster_shapes if not each.is_refused]:
        return (
            f"{begin} would buy no time that the search saw: {_shapes(stopped)}, which would be faster, "
            f"{_were(stopped)} not trained in full."
        )
    return f"{begin} would buy no time: no faster shape was tried."


def _below_other(found: Compressed, lower: float) -> str:
    if not float(difference_text(found.metric, abs(lower))):
        return "level with it"
    return f"{points_below(found.metric, lower)} {'below' if lower > 0 else 'above'} it"


def _shapes(candidates: Sequence[Candidate]) -> str:
    """Shapes with their predicted latency; of many the slowest, which are the likeliest to be good."""
    shown = candidates[-_NAMED:]
    names = [f"{each.shape.name} ({milliseconds(each.predicted.latency.value)})" for each in shown]
    more = len(candidates) - len(shown)
    return listed(names + ([f"{more} faster one{'s' * (more > 1)}"] if more else []))


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _are(several: Sequence[object]) -> str:
    return "are" if len(several) > 1 else "is"


def _were(several: Sequence[object]) -> str:
    return "were" if len(several) > 1 else "was"


def _it(several: Sequence[object]) -> str:
    return "they" if len(several) > 1 else "it"
