"""The tables of a search within a budget, as text: the students trained in full, and every shape it looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pkd.reporting.amounts import (
    NONE,
    amount,
    difference_text,
    megabytes,
    milliseconds_number,
    range_text,
    shown_difference,
    times,
)
from pkd.reporting.front import Compressed, Figures, Point


@dataclass(frozen=True)
class PointRow:
    """A line of the table of students trained in full, as text; intervals are apart, "" where there are none."""

    number: str
    name: str
    latency: str
    latency_interval: str
    predicted: str
    p95: str
    call: str
    throughput: str  # rows per second
    batch: str  # "32 a batch"
    speed_up: str
    size: str
    score: str
    score_interval: str
    drop: str  # points below the teacher
    drop_interval: str
    test: str
    notes: list[str]
    chosen: bool
    on_front: bool


@dataclass(frozen=True)
class OtherRow:
    """The teacher, or the word counts, below the students, as text."""

    name: str
    latency: str
    speed_up: str
    size: str
    score: str
    score_interval: str
    drop: str
    test: str


@dataclass(frozen=True)
class CandidateRow:
    """A line of the search's history, as text."""

    name: str
    latency: str
    latency_interval: str
    speed_up: str
    size: str
    scores: list[str]  # of each heat
    outcome: str


def point_rows(found: Compressed) -> list[PointRow]:
    """The table of the students that were trained in full, by their numbers."""
    return [_point_row(found, point) for point in sorted(found.points, key=lambda point: point.number)]


def other_rows(found: Compressed) -> list[OtherRow]:
    """The teacher, and the word counts if they were measured."""
    teacher, metric = found.teacher, found.metric

    def score(value: float) -> str:
        return amount(metric, value)

    rows = [
        OtherRow(
            name="teacher, in PyTorch",
            latency=milliseconds_number(teacher.latency.value),
            speed_up=times(1.0),
            size=NONE,
            score=score(teacher.score.value),
            score_interval=range_text(teacher.score, score),
            drop=NONE,
            test=NONE if teacher.test is None else score(teacher.test.value),
        )
    ]
    if found.words is not None:
        words = found.words
        lower = shown_difference(metric, teacher.score.value, words.score.value)
        rows.append(
            OtherRow(
                name="word counts",
                latency=milliseconds_number(words.latency.value),
                speed_up=times(teacher.latency.value / words.latency.value),
                size=megabytes(words.bytes),
                score=score(words.score.value),
                score_interval=range_text(words.score, score),
                drop=difference_text(metric, lower),
                test=NONE,
            )
        )
    return rows


def candidate_rows(found: Compressed) -> list[CandidateRow]:
    """All shapes of the search, the fastest first, with their score in each heat."""
    heats = heat_epochs(found)
    finished = {point.shape: point for point in found.points}
    rows = []
    for each in found.candidates:
        scores = {heat.epochs: heat.score for heat in each.scores}
        told = ["" if epochs not in scores else _or_diverged(found, scores[epochs]) for epochs in heats]
        point = finished.get(each.shape)
        outcome = _trained(point) if point else _over(each.over) or each.stopped
        figures = each.predicted
        rows.append(
            CandidateRow(
                name=each.shape.name,
                latency=milliseconds_number(figures.latency.value),
                latency_interval=range_text(figures.latency, milliseconds_number),
                speed_up=_times_of(figures),
                size=megabytes(figures.bytes),
                scores=told,
                outcome=outcome or NONE,
            )
        )
    return rows


def heat_epochs(found: Compressed) -> list[float]:
    """The epochs of the heats, the shortest first."""
    return sorted({heat.epochs for each in found.candidates for heat in each.scores})


def heat_title(epochs: float) -> str:
    """The heading of a heat's scores."""
    return f"after {epochs:g} epoch{'s' * (epochs != 1)}"


def _point_row(found: Compressed, point: Point) -> PointRow:
    figures = point.measured
    notes = ["chosen"] if point.chosen else []
    notes += ["level with the best"] if point.ties and not point.chosen else []
    notes += [] if point.on_front else ["off the front"]
    notes += [_over(point.over)] if point.over else []
    lower = shown_difference(found.metric, point.drop.value, 0.0)
    return PointRow(
        number=str(point.number),
        name=point.shape.name,
        latency=milliseconds_number(figures.latency.value),
        latency_interval=range_text(figures.latency, milliseconds_number),
        predicted="" if point.predicted is None else milliseconds_number(point.predicted.latency.value),
        p95=milliseconds_number(figures.p95.value),
        call=NONE if figures.call is None else milliseconds_number(figures.call.value),
        throughput=NONE if figures.throughput is None else f"{figures.throughput.value:,.0f}",
        batch="" if figures.batch is None else f"{figures.batch} a batch",
        speed_up=_times_of(figures),
        size=megabytes(figures.bytes),
        score=amount(found.metric, point.score.value),
        score_interval=range_text(point.score, lambda value: amount(found.metric, value)),
        drop=difference_text(found.metric, lower),
        drop_interval=range_text(point.drop, lambda value: difference_text(found.metric, value)),
        test=NONE if point.test is None else amount(found.metric, point.test.value),
        notes=notes,
        chosen=point.chosen,
        on_front=point.on_front,
    )


def _or_diverged(found: Compressed, score: float | None) -> str:
    return "diverged" if score is None else amount(found.metric, score)


def _over(reasons: Sequence[str]) -> str:
    return f"over the budget: {'; '.join(reasons)}" if reasons else ""


def _times_of(figures: Figures) -> str:
    return NONE if figures.speed_up is None else times(figures.speed_up.value)


def _trained(point: Point) -> str:
    return f"trained {'in full' if point.epochs is None else 'until the time was up'}: {point.number}"
