"""Searches within a budget as `pkd compress` records them, made up: what its views are tested on."""

from __future__ import annotations

from typing import Any

from pkd.reporting.front import (
    Baseline,
    Candidate,
    Compressed,
    Figures,
    HeatScore,
    Point,
    Shape,
    TeacherFigures,
)
from pkd.reporting.results import Score

TEACHER_MS = 24.0


def around(value: float, half: float) -> Score:
    """A value with an interval."""
    return Score(value=value, low=value - half, high=value + half)


def figures(ms: float, megabytes: float = 20.0, call: float | None = None) -> Figures:
    """Figures of a graph, from the median of one text in milliseconds."""
    return Figures(
        latency=Score(value=ms, low=0.98 * ms, high=1.02 * ms),
        p95=Score(value=1.5 * ms),
        throughput=around(2000 / ms, 10),
        batch=32,
        speed_up=around(TEACHER_MS / ms, 0.2),
        bytes=int(1e6 * megabytes),
        call=None if call is None else Score(value=call),
    )


def candidate(
    layers: int, ms: float, *scores: float | None, stopped: str = "", over: str = "", **shape: Any
) -> Candidate:
    """A shape of the space with the score of each of its heats."""
    heats = [HeatScore(epochs=epochs, score=score) for epochs, score in zip((1, 3), scores, strict=False)]
    return Candidate(
        shape=Shape(layers=layers, **shape),
        predicted=figures(ms),
        over=[over] if over else [],
        scores=heats,
        stopped=stopped,
    )


def point(number: int, shape: Shape, ms: float, score: float, **of: Any) -> Point:
    """A student trained in full; the teacher has 0.9."""
    return Point(
        number=number,
        shape=shape,
        folder=f"exports/{shape.name}",
        student=f"students/{shape.trained.name}-seed42",
        predicted=figures(0.95 * ms),
        measured=figures(ms, call=ms + 0.4),
        score=around(score, 0.02),
        drop=around(0.9 - score, 0.01),
        test=around(score - 0.01, 0.02),
        **of,
    )


def search(**of: Any) -> Compressed:
    """A search of six shapes: L3 chosen, L2 as int8 faster, L4 over the budget."""
    small, deep = Shape(layers=2, precision="int8"), Shape(layers=3)
    found: dict[str, Any] = {
        "budget": {"latency": "3ms", "size": "40MB", "max_drop": 0.02, "widths": [1.0]},
        "metric": "accuracy",
        "teacher": TeacherFigures(
            name="teacher", score=around(0.9, 0.02), latency=Score(value=TEACHER_MS), test=Score(value=0.895)
        ),
        "candidates": [
            candidate(1, 0.6, 0.7, stopped="heat 1", precision="int8"),
            candidate(1, 0.8, None, stopped="heat 1"),
            candidate(2, 1.2, 0.8, 0.86, precision="int8"),
            candidate(3, 1.5, 0.81, 0.84, stopped="heat 2", precision="int8"),
            candidate(3, 2.4, 0.82, 0.87),
            candidate(4, 3.4, over="latency 3.4ms, where at most 3ms is asked for"),
        ],
        "points": [
            point(1, small, 1.25, 0.876, over=["drop 2.40%, where at most 2.00% is asked for"]),
            point(2, deep, 2.5, 0.895, ties=True, chosen=True),
        ],
        "words": Baseline(score=Score(value=0.8), latency=Score(value=0.2), bytes=1_000_000),
        "effort": "normal",
        "seeds": [42],
        "rows": {"train": 1000, "eval": 300, "test": 400},
        "hardware": {"cpu": "a processor"},
        "threads": 2,
        "seconds": {"shapes": 60.0, "heats": 600.0},
    }
    return Compressed(**{**found, **of})
