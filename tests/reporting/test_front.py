"""The record of a search within a budget."""

from __future__ import annotations

import pytest

from pkd.errors import CacheError
from pkd.reporting.front import (
    Baseline,
    Candidate,
    Compressed,
    Figures,
    HeatScore,
    Point,
    Shape,
    TeacherFigures,
    read_front,
    write_front,
)
from pkd.reporting.results import Score
from pkd.runs.folder import RunFolder


def figures(latency: float, size: int = 20_000_000) -> Figures:
    """Figures of a graph, from the median of one text in milliseconds."""
    return Figures(
        latency=Score(value=latency, low=latency * 0.98, high=latency * 1.02),
        p95=Score(value=latency * 1.5),
        speed_up=Score(value=24 / latency, low=23 / latency, high=25 / latency),
        bytes=size,
    )


def search() -> Compressed:
    """A search of four shapes: one chosen, one as good, one dominated, one over budget."""
    small, deep = Shape(layers=2, precision="int8"), Shape(layers=3)
    return Compressed(
        budget={"latency": 3.0},
        metric="accuracy",
        teacher=TeacherFigures(
            name="teacher",
            score=Score(value=0.9, low=0.88, high=0.92),
            latency=Score(value=24.0),
            test=Score(value=0.89),
        ),
        candidates=[
            Candidate(
                shape=Shape(layers=1),
                predicted=figures(0.8),
                scores=[HeatScore(epochs=1, score=None)],
                stopped="heat 1",
            ),
            Candidate(shape=small, predicted=figures(1.2), scores=[HeatScore(epochs=1, score=0.85)]),
            Candidate(shape=deep, predicted=figures(2.4), scores=[HeatScore(epochs=1, score=0.86)]),
            Candidate(shape=Shape(layers=6), predicted=figures(5.0), over=["5 ms of at most 3 ms"]),
        ],
        points=[
            Point(
                number=1,
                shape=small,
                folder="exports/L2-int8",
                student="students/L2-seed42",
                measured=figures(1.25),
                score=Score(value=0.88, low=0.86, high=0.9),
                drop=Score(value=0.02, low=0.01, high=0.03),
            ),
            Point(
                number=2,
                shape=deep,
                folder="exports/L3",
                student="students/L3-seed42",
                measured=figures(2.5),
                score=Score(value=0.895, low=0.88, high=0.91),
                drop=Score(value=0.005, low=-0.001, high=0.011),
                ties=True,
                chosen=True,
            ),
        ],
        words=Baseline(score=Score(value=0.8), latency=Score(value=0.2), bytes=1_000_000),
        effort="normal",
        seeds=[42],
        rows={"train": 1000, "eval": 300},
        hardware={"cpu": "a processor"},
        threads=2,
    )


def test_a_search_is_read_as_it_was_written(tmp_path):
    written = search()
    assert write_front(written, tmp_path) == RunFolder(tmp_path).front
    assert read_front(tmp_path) == written
    assert written.chosen is not None
    assert written.chosen.number == 2


def test_both_precisions_of_a_shape_are_one_training():
    shape = Shape(layers=3, width=0.5, precision="int8")
    assert shape.trained == Shape(layers=3, width=0.5)
    assert {shape.trained: "once"}[Shape(layers=3, width=0.5)] == "once"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"budget": {}}', '"' + "[" * 100_000])
def test_a_record_that_cannot_be_read_is_one_sentence(tmp_path, text):
    RunFolder(tmp_path).front.write_text(text)
    with pytest.raises(CacheError, match="is not a record of this version of pkd"):
        read_front(tmp_path)


def test_a_folder_without_a_search_is_named(tmp_path):
    with pytest.raises(CacheError, match=r"front\.json does not exist. Run `pkd compress` first"):
        read_front(tmp_path)
