"""The Pareto chart: who is where, and that its labels do not lie on one another."""

from __future__ import annotations

from typing import Any

import pytest

from pkd.reporting.charts import chart_png, render
from pkd.reporting.front import Baseline, Compressed, Shape
from pkd.reporting.front_chart import _LETTER, front_chart
from pkd.reporting.results import Score
from reporting.searches import candidate, point, search


def rows_of(found: Compressed) -> dict[str, dict[str, Any]]:
    """What is drawn, by name."""
    spec = front_chart(found).to_dict()
    drawn = next(values for values in spec["datasets"].values() if "kind" in values[0]) if "datasets" in spec else None
    rows = drawn if drawn is not None else spec["layer"][0]["data"]["values"]
    return {row["name"]: row for row in rows}


def test_every_shape_the_teacher_and_word_counts_are_drawn_each_as_what_became_of_it() -> None:
    kinds = {name: row["kind"] for name, row in rows_of(search()).items()}
    assert kinds == {
        "L1-int8": "stopped early",
        "L1": "not trained",  # it diverged: there is no score to draw
        "L3-int8": "stopped early",
        "L4": "not trained",
        "teacher": "teacher (PyTorch)",
        "word counts, a linear model": "word counts",
        "L2-int8": "on the front",
        "L3": "chosen",
    }


def test_a_finalist_is_drawn_at_its_measured_time_and_a_stopped_shape_at_its_predicted_one() -> None:
    rows = rows_of(search())
    assert (rows["L3"]["ms"], rows["L3"]["score"]) == (2.5, pytest.approx(89.5))
    assert (rows["L3-int8"]["ms"], rows["L3-int8"]["score"]) == (1.5, pytest.approx(84.0))  # of its last heat
    assert rows["L4"]["score"] is None
    assert "where at most 3ms is asked for" in rows["L4"]["why"]


def test_a_dominated_finalist_is_off_the_front() -> None:
    slow = point(3, Shape(layers=4), 2.9, 0.88, on_front=False)
    assert rows_of(search(points=[*search().points, slow]))["L4"]["kind"] == "off the front"


def test_what_lies_far_below_does_not_squeeze_the_front() -> None:
    words = Baseline(score=Score(value=0.3), latency=Score(value=0.1), bytes=1)
    found = search(words=words, candidates=[*search().candidates, candidate(1, 0.7, 0.02, width=0.5, stopped="heat 1")])
    rows = rows_of(found)
    low = front_chart(found).to_dict()["layer"][0]["encoding"]["y"]["scale"]["domain"][0]
    assert low > 75
    assert rows["word counts, a linear model"]["at"] == low
    assert rows["word counts, a linear model"]["label"] == "word counts  30.0 % (further down)"
    assert (rows["L1-w0.5"]["at"], rows["L1-w0.5"]["label"]) == (low, "")


@pytest.mark.parametrize("apart", [0.3, 0.05, 0.0])
def test_labels_of_near_points_do_not_lie_on_one_another(apart: float) -> None:
    near = [point(n, Shape(layers=n), 2.0 + apart * n, 0.89 + 0.001 * n, chosen=n == 1) for n in (1, 2, 3)]
    found = search(points=near, words=Baseline(score=Score(value=0.892), latency=Score(value=2.1), bytes=1))
    spec = front_chart(found).to_dict()
    x, y = (spec["layer"][0]["encoding"][axis]["scale"]["domain"] for axis in "xy")
    import math

    boxes = []
    for row in rows_of(found).values():
        if row["at"] is None or not row["label"]:
            continue
        wide = _LETTER * len(row["label"])
        left = 650 * math.log(row["ms"] / x[0]) / math.log(x[1] / x[0]) + row["dx"]
        left -= {"left": 0.0, "right": wide, "center": wide / 2}[row["align"]]
        middle = 380 * (y[1] - row["at"]) / (y[1] - y[0]) + row["dy"]
        boxes.append((left, middle, left + wide))
    assert len(boxes) == 5
    for number, (left, middle, right) in enumerate(boxes):
        for other_left, other_middle, other_right in boxes[number + 1 :]:
            apart_here = other_left >= right or left >= other_right or abs(middle - other_middle) >= 12
            assert apart_here


@pytest.mark.parametrize(
    "found",
    [
        search(),
        search(points=[], budget={}),
        search(words=None, candidates=[], budget={"max_drop": -0.01}),
        search(metric="pearson", budget={"speed_up": 8.0}),
    ],
)
def test_the_chart_can_be_drawn_whatever_was_found(found: Compressed) -> None:
    assert chart_png(front_chart(found)).startswith(b"\x89PNG")
    assert render(front_chart(found))["width"] == "container"
