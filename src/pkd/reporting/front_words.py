"""The wording of a search within a budget, the same for terminal, page and model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pkd.progress import duration
from pkd.recipe.quantities import bytes_of, seconds_of
from pkd.reporting.amounts import (
    amount,
    difference_text,
    is_share,
    megabytes,
    metric_title,
    milliseconds,
    milliseconds_number,
    range_text,
    shown_difference,
    times,
)
from pkd.reporting.front import Candidate, Compressed, Point

_HALF_A_POINT = 0.005
_MILLISECOND = 1.0
_NAMED = 3  # shapes of a sentence; the table has all
_LIMITS: dict[str, Callable[[Any], str]] = {  # of a budget, each as the end of "at most ..." or the like
    "latency": lambda value: f"one text in at most {_quantity(value, 'ms')}",
    "latency_p95": lambda value: f"95 of 100 texts in at most {_quantity(value, 'ms')} each",
    "throughput": lambda value: f"at least {value:g} rows/s",
    "speed_up": lambda value: f"at least {value:g} × the teacher's speed",
    "size": lambda value: f"at most {value if isinstance(value, str) else megabytes(value)}",
}


def headline_sentences(found: Compressed) -> list[str]:
    """What came out: first what word counts do, where that is enough; then the chosen student, or why there is none."""
    for_nothing = _for_nothing(found)
    chosen = found.chosen
    if chosen is None:
        return [*for_nothing, *_none_chosen(found)]
    figures = chosen.measured
    spread = _in_brackets(range_text(figures.latency, milliseconds_number))
    costs = [f"one text takes {milliseconds(figures.latency.value)}{spread}"]
    if figures.speed_up is not None:
        costs.append(f"{times(figures.speed_up.value)} the teacher's speed")
    costs.append(megabytes(figures.bytes))
    score = f"{_score(found, chosen.score.value)} on the development rows, {_beside_teacher(found, chosen)}"
    sentences = [f"{_named(chosen)} is chosen: {', '.join(costs)}; {score}."]
    if chosen.test is not None:
        beside = "" if found.teacher.test is None else f", the teacher {_bare(found, found.teacher.test.value)}"
        rows = f" {found.rows['test']:,}" if "test" in found.rows else ""
        sentences.append(f"On the{rows} test rows it has {_score(found, chosen.test.value)}{beside}.")
    return [*for_nothing, *sentences]


def key_figures(found: Compressed) -> list[tuple[str, str]]:
    """The chosen student in a few large numbers, each with its caption."""
    chosen = found.chosen
    if chosen is None:
        return []
    figures = chosen.measured
    told = [(milliseconds(figures.latency.value), "for one text")]
    if figures.speed_up is not None:
        told.append((times(figures.speed_up.value), "the teacher's speed"))
    told.append((megabytes(figures.bytes), "on the disk"))
    told.append((_bare(found, chosen.score.value), f"{metric_title(found.metric)}, {_beside_teacher(found, chosen)}"))
    return told


def word_count_sentence(found: Compressed) -> str:
    """What a user could have for nothing, where the headline does not say so; empty if it was not measured."""
    if found.words is None or _for_nothing(found):
        return ""
    return f"For nothing: {_words(found)}."


def gain_sentences(found: Compressed) -> list[str]:
    """What one more millisecond, or half a point less, would buy."""
    if found.chosen is None:
        return []
    return [_more_time(found, found.chosen), _less_score(found, found.chosen)]


def search_sentences(found: Compressed) -> list[str]:
    """The search's own history in a few sentences: the budget, how many shapes came how far, and how long it took."""
    over = sum(bool(each.over) for each in found.candidates)
    trained = {each.shape.trained for each in found.candidates if each.scores}
    finished = {point.shape.trained for point in found.points}
    seeds = f"seed{'s' * (len(found.seeds) > 1)} {', '.join(map(str, found.seeds))}"
    told = [f"The budget: {budget_text(found)}."]
    told.append(
        f"Of {_count(len(found.candidates), 'shape')} {over or 'none'} {'were' if over != 1 else 'was'} over the "
        f"budget and never trained. {_count(len(trained), 'training')} went into the heats; {len(finished)} "
        f"{'were' if len(finished) != 1 else 'was'} trained in full (effort {found.effort}, {seeds}) and exported; two "
        "precisions of a shape come from one training."
    )
    if found.seconds:
        spent = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in found.seconds.items())
        told.append(f"It took {duration(sum(found.seconds.values()))}: {spent}.")
    told.append(
        f"Time: the median of one text at a time on {cores_text(found)}, the exported graph alone; a whole call has "
        "the tokenising too. Speed: the teacher's float32 forward pass in PyTorch over it, on the same texts in turns."
    )
    return told


def budget_text(found: Compressed) -> str:
    """The constraints in words."""
    given = [words(found.budget[key]) for key, words in _LIMITS.items() if found.budget.get(key) is not None]
    given += [] if (drop := drop_limit(found)) is None else [drop_words(found.metric, drop)]
    given += [] if (time := found.budget.get("time")) is None else [f"a search of at most {_quantity(time, 's')}"]
    return "; ".join(given) or "none, so the fastest student that is level with the best"


def cores_text(found: Compressed) -> str:
    """How many cores answer a text."""
    return _count(found.threads, "core")


def latency_limit(found: Compressed) -> float | None:
    """The slowest one text may be, in milliseconds, by the latency or the speed-up that the budget asks for."""
    latency, speed_up = found.budget.get("latency"), found.budget.get("speed_up")
    limits = [] if latency is None else [1000 * seconds_of(latency) if isinstance(latency, str) else float(latency)]
    limits += [] if speed_up is None else [found.teacher.latency.value / speed_up]
    return min(limits, default=None)


def drop_limit(found: Compressed) -> float | None:
    """How far below the teacher a student may be, a share; None where the budget does not say."""
    drop = found.budget.get("max_drop")
    return None if drop is None else float(drop)


def drop_words(metric: str, drop: float) -> str:
    """How far below the teacher a student may be.

    >>> drop_words("accuracy", 0.015), drop_words("pearson", 0.01), drop_words("accuracy", -0.02)
    ('at most 1.5 points below the teacher', 'at most 0.010 below the teacher', 'at least 2.0 points above the teacher')
    """
    size = points_below(metric, drop)
    return f"at least {size} above the teacher" if drop < 0 else f"at most {size} below the teacher"


def points_below(metric: str, drop: float) -> str:
    """The size of a difference with its unit: "0.5 points", or "0.005" of what is no share."""
    text = difference_text(metric, abs(drop))
    return f"{text} point{'s' * (text != '1.0')}" if is_share(metric) else text


def _for_nothing(found: Compressed) -> list[str]:
    """The first sentence, where word counts beat a student or are within the allowed drop."""
    words, limit = found.words, drop_limit(found)
    if words is None:
        return []
    beaten = [f"{_named(point)}" for point in found.points if words.score.value >= point.score.value]
    within = limit is not None and found.teacher.score.value - words.score.value <= limit
    if not beaten and not within:
        return []
    reasons = [f"within the budget ({drop_words(found.metric, limit)})"] if within and limit is not None else []
    reasons += [f"at least as good as {_listed(beaten)}"] if beaten else []
    return [f"You may need no student: {_words(found)}; that is {' and '.join(reasons)}."]


def _words(found: Compressed) -> str:
    words = found.words
    assert words is not None
    lower = shown_difference(found.metric, found.teacher.score.value, words.score.value)
    return (
        f"word counts with a linear model, fitted on the same rows, have {_score(found, words.score.value)} on the "
        f"development rows, {_below(found, lower)}, in {milliseconds(words.latency.value)} for one text and "
        f"{megabytes(words.bytes)}"
    )


def _none_chosen(found: Compressed) -> list[str]:
    usable = [point for point in found.points if not point.refused]
    if not usable:
        return ["No student was trained in full, so nothing is chosen."]
    nearest = min(usable, key=lambda point: (len(point.over), point.drop.value))
    why = f" ({'; '.join(nearest.over)})" if nearest.over else ""
    return [
        f"No student keeps to the budget, so nothing is deployed. The nearest is {_named(nearest)}{why}: "
        f"{_score(found, nearest.score.value)} on the development rows, {_beside_teacher(found, nearest)}, at "
        f"{milliseconds(nearest.measured.latency.value)} for one text. `pkd compress --pick {nearest.number}` takes it."
    ]


def _more_time(found: Compressed, chosen: Point) -> str:
    fast = chosen.measured.latency.value
    limit = (latency_limit(found) or fast) + _MILLISECOND
    begin = "One more millisecond"
    slower = [point for point in found.points if fast < point.measured.latency.value <= limit and not point.refused]
    better = [point for point in slower if shown_difference(found.metric, point.score.value, chosen.score.value) > 0]
    if better:
        best = max(better, key=lambda point: point.score.value)
        gain = points_below(found.metric, shown_difference(found.metric, best.score.value, chosen.score.value))
        doubt = ", though the development rows cannot tell the two apart" if chosen.ties and best.ties else ""
        return (
            f"{begin} would buy {gain}: {_named(best)} has {_bare(found, best.score.value)} at "
            f"{milliseconds(best.measured.latency.value)}{doubt}."
        )
    between = [each for each in found.candidates if fast < each.predicted.latency.value <= limit]
    if untrained := [each for each in between if each.over and not each.scores and _is_too_slow_alone(found, each)]:
        return (
            f"{begin} would let {_shapes(untrained)} in, which {_are(untrained)} over the budget and "
            f"{_were(untrained)} not trained: what {_it(untrained)} would score is not known."
        )
    finished = {point.shape for point in slower}
    if stopped := [each for each in between if each.shape not in finished]:
        return (
            f"{begin} would buy nothing that the search saw: of the shapes up to {milliseconds(limit)}, "
            f"{_shapes(stopped)} {_were(stopped)} stopped in the heats."
        )
    if slower:
        return f"{begin} would buy nothing: no student up to {milliseconds(limit)} is better."
    return f"{begin} would buy nothing: no shape takes between {milliseconds(fast)} and {milliseconds(limit)}."


def _is_too_slow_alone(found: Compressed, candidate: Candidate) -> bool:
    """Whether a shape over the budget breaks nothing but its limit of time."""
    limit, size = latency_limit(found), found.budget.get("size")
    most = bytes_of(size) if isinstance(size, str) else size
    slow = limit is not None and _or(candidate.predicted.latency.high, candidate.predicted.latency.value) > limit
    return slow and (most is None or candidate.predicted.bytes <= most)


def _less_score(found: Compressed, chosen: Point) -> str:
    begin = "Half a point less" if is_share(found.metric) else f"{_HALF_A_POINT:g} less"
    fast = chosen.measured.latency.value
    faster = [point for point in found.points if point.measured.latency.value < fast and not point.refused]
    lost = {point.number: chosen.score.value - point.score.value for point in faster}
    near = [point for point in faster if lost[point.number] <= _HALF_A_POINT + 1e-9]
    if near:
        first = min(near, key=lambda point: point.measured.latency.value)
        saved, ratio = fast - first.measured.latency.value, fast / first.measured.latency.value
        return (
            f"{begin} would buy {milliseconds(saved)}: {_named(first)} is "
            f"{_below_other(found, lost[first.number])} at {milliseconds(first.measured.latency.value)}, "
            f"{times(ratio)} as fast."
        )
    if faster:
        next_ = min(faster, key=lambda point: lost[point.number])
        return (
            f"{begin} would buy no time: the nearest faster student, {_named(next_)}, is "
            f"{_below_other(found, lost[next_.number])} at {milliseconds(next_.measured.latency.value)}."
        )
    if stopped := [each for each in found.candidates if each.predicted.latency.value < fast and each.scores]:
        return (
            f"{begin} would buy no time that the search saw: {_shapes(stopped)}, which would be faster, "
            f"{_were(stopped)} stopped in the heats."
        )
    return f"{begin} would buy no time: no faster shape was tried."


def _named(point: Point) -> str:
    return f"{point.shape.name} (point {point.number})"


def _score(found: Compressed, value: float) -> str:
    return f"{metric_title(found.metric)} {_bare(found, value)}"


def _bare(found: Compressed, value: float) -> str:
    return amount(found.metric, value) + " %" * is_share(found.metric)


def _beside_teacher(found: Compressed, point: Point) -> str:
    interval = range_text(point.drop, lambda value: difference_text(found.metric, value))
    return _below(found, point.drop.value) + _in_brackets(interval)


def _below(found: Compressed, lower: float) -> str:
    size = points_below(found.metric, lower)
    if not float(difference_text(found.metric, abs(lower))):
        return "level with the teacher"
    return f"{size} {'below' if lower > 0 else 'above'} the teacher"


def _below_other(found: Compressed, lower: float) -> str:
    if not float(difference_text(found.metric, abs(lower))):
        return "level with it"
    return f"{points_below(found.metric, lower)} {'below' if lower > 0 else 'above'} it"


def _quantity(value: Any, unit: str) -> str:
    """A limit as it was given, with its unit."""
    return value if isinstance(value, str) else f"{value:g} {unit}"


def _in_brackets(interval: str) -> str:
    return f" ({interval})" if interval else ""


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _shapes(candidates: Sequence[Candidate]) -> str:
    """Shapes with their predicted latency; of many the slowest, which are the likeliest to be good."""
    shown = candidates[-_NAMED:]
    names = [f"{each.shape.name} ({milliseconds(each.predicted.latency.value)})" for each in shown]
    more = len(candidates) - len(shown)
    return _listed(names + ([f"{more} faster one{'s' * (more > 1)}"] if more else []))


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _are(several: Sequence[object]) -> str:
    return "are" if len(several) > 1 else "is"


def _were(several: Sequence[object]) -> str:
    return "were" if len(several) > 1 else "was"


def _it(several: Sequence[object]) -> str:
    return "they" if len(several) > 1 else "it"
