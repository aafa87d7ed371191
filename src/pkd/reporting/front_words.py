"""The wording of a search within a budget, the same for terminal, page and model card."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pkd.progress import duration
from pkd.recipe.settings import BudgetSettings
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
from pkd.reporting.front import Compressed, Point
from pkd.reporting.shape_fits import fit_sentences
from pkd.reporting.speeds import load_sentence


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
    sentences = [f"{named_point(chosen)} is chosen: {', '.join(costs)}; {score}."]
    sentences += [sentence] if (sentence := cut_short_sentence(chosen)) else []
    sentences += [f"It is over the budget: {'; '.join(chosen.over)}."] if chosen.over else []  # picked by hand
    if chosen.test is not None:
        beside = "" if found.teacher.test is None else f", the teacher {score_number(found, found.teacher.test.value)}"
        rows = f" {found.rows['test']:,}" if "test" in found.rows else ""
        sentences.append(f"On the{rows} test rows it has {_score(found, chosen.test.value)}{beside}.")
    sentences += [sentence] if (sentence := _load_sentence(found)) else []
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
    told.append(
        (score_number(found, chosen.score.value), f"{metric_title(found.metric)}, {_beside_teacher(found, chosen)}")
    )
    return told


def word_count_sentence(found: Compressed) -> str:
    """What a user could have for nothing, where the headline does not say so; empty if it was not measured."""
    if found.words is None or _for_nothing(found):
        return ""
    return f"For nothing: {_words(found)}."


def search_sentences(found: Compressed) -> list[str]:
    """The search's own history in a few sentences: the budget, how many shapes came how far, and how long it took."""
    over = sum(bool(each.over) for each in found.candidates)
    trained = {each.shape.trained for each in found.candidates if each.scores}
    finished = {point.shape.trained for point in found.points if point.epochs is None}
    cut_short = {point.shape.trained for point in found.points} - finished
    seeds = f"seed{'s' * (len(found.seeds) > 1)} {', '.join(map(str, found.seeds))}"
    told = [f"The budget: {budget_text(found)}."]
    dropped = (
        f"{over} {'were' if over > 1 else 'was'} over the budget and never trained"
        if over
        else "none was over the budget"
    )
    whole = f"{len(finished)} {'were' if len(finished) != 1 else 'was'} trained in full"
    whole += f", {len(cut_short)} until the time was up" if cut_short else ""
    told.append(
        f"Of {_count(len(found.candidates), 'shape')} {dropped}. {_count(len(trained), 'training')} went into the "
        f"heats; {whole} (effort {found.effort}, {seeds}) and exported. Two precisions of a shape come from one "
        "training."
    )
    told += fit_sentences(found.candidates)
    if found.seconds:
        spent = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in found.seconds.items())
        told.append(f"It took {duration(sum(found.seconds.values()))}: {spent}.")
    told.append(
        f"Time: the median of one text at a time, {_texts_timed(found)}, on {cores_text(found)}, the exported graph "
        "alone; a whole call, on development rows, has the tokenising too. Speed: the teacher's float32 forward pass "
        "in PyTorch over it, on the same texts in turns."
    )
    return told


def _load_sentence(found: Compressed) -> str:
    """That times and speeds are those of a busy machine; empty for an idle one."""
    busy = load_sentence(list(found.cpu_shares.values()), found.threads)
    if not busy:
        return ""
    return (
        f"{busy} What is timed beside another job does not hold: on an idle machine, remove shapes/ and timings/ from "
        "the work folder and give the same command again."
    )


def _texts_timed(found: Compressed) -> str:
    lengths = budget_of(found).lengths
    if not lengths:
        return "of development rows"
    return f"of {listed([f'{length:,}' for length in lengths])} random word pieces"


def cut_short_sentence(point: Point) -> str:
    """That the time ended a student's training, and what to do; empty for a whole one."""
    if point.epochs is None:
        return ""
    done, whole = point.epochs
    return (
        f"The time ended its training after {done:.3g} of {whole:.3g} epochs; the same command with more time goes on "
        "there."
    )


def budget_text(found: Compressed) -> str:
    """The constraints in words."""
    budget = budget_of(found)
    told = {
        "one text in at most {}": budget.latency,
        "95 of 100 texts in at most {} each": budget.latency_p95,
        "at least {:g} rows/s": budget.throughput,
        "at least {:g} × the teacher's speed": budget.speed_up,
        "at most {}": budget.size,
        "{}": None if budget.max_drop is None else drop_words(found.metric, budget.max_drop),
        "a search of at most {}": budget.time,
    }
    given = [words.format(value) for words, value in told.items() if value is not None]
    return "; ".join(given) or "none, so the fastest student that is level with the best"


def budget_of(found: Compressed) -> BudgetSettings:
    """The budget of a search."""
    return BudgetSettings(**found.budget)


def cores_text(found: Compressed) -> str:
    """How many cores answer a text."""
    return _count(found.threads, "core")


def latency_limit(found: Compressed) -> float | None:
    """The slowest one text may be, in milliseconds, by the latency or the speed-up that the budget asks for."""
    budget = budget_of(found)
    limits = [] if budget.milliseconds is None else [budget.milliseconds]
    limits += [] if budget.speed_up is None else [found.teacher.latency.value / budget.speed_up]
    return min(limits, default=None)


def drop_limit(found: Compressed) -> float | None:
    """How far below the teacher a student may be, a share; None where the budget does not say."""
    return budget_of(found).max_drop


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
    beaten = [f"{named_point(point)}" for point in found.points if words.score.value >= point.score.value]
    within = limit is not None and found.teacher.score.value - words.score.value <= limit
    if not beaten and not within:
        return []
    reasons = [f"within the budget ({drop_words(found.metric, limit)})"] if within and limit is not None else []
    reasons += [f"at least as good as {listed(beaten)}"] if beaten else []
    over = ["slower"] if words.latency.value > (latency_limit(found) or math.inf) else []
    over += ["larger"] if words.bytes > (budget_of(found).bytes or math.inf) else []
    though = f", though {' and '.join(over)} than the budget allows" if over else ""
    return [f"You may need no student: {_words(found)}; that is {' and '.join(reasons)}{though}."]


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
    nearest = found.nearest
    if nearest is None:
        return ["No student was trained in full, so nothing is chosen."]
    why = f" ({'; '.join(nearest.over)})" if nearest.over else ""
    told = [
        f"No student keeps to the budget, so nothing is deployed. The nearest is {named_point(nearest)}{why}: "
        f"{_score(found, nearest.score.value)} on the development rows, {_beside_teacher(found, nearest)}, at "
        f"{milliseconds(nearest.measured.latency.value)} for one text. "
        f"`pkd compress --pick {nearest.number} --output other/` takes it."
    ]
    return [*told, sentence] if (sentence := cut_short_sentence(nearest)) else told


def named_point(point: Point) -> str:
    """A point with its shape and number."""
    return f"{point.shape.name} (point {point.number})"


def _score(found: Compressed, value: float) -> str:
    return f"{metric_title(found.metric)} {score_number(found, value)}"


def score_number(found: Compressed, value: float) -> str:
    """A score without the name of its metric."""
    return amount(found.metric, value) + " %" * is_share(found.metric)


def _beside_teacher(found: Compressed, point: Point) -> str:
    interval = range_text(point.drop, lambda value: difference_text(found.metric, value))
    return _below(found, point.drop.value) + _in_brackets(interval)


def _below(found: Compressed, lower: float) -> str:
    size = points_below(found.metric, lower)
    if not float(difference_text(found.metric, abs(lower))):
        return "level with the teacher"
    return f"{size} {'below' if lower > 0 else 'above'} the teacher"


def _in_brackets(interval: str) -> str:
    return f" ({interval})" if interval else ""


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
