from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pkd.reporting.placement import HEIGHT, place_labels


def point(score: float, x: float, role: str = "student") -> dict[str, Any]:
    return {"score": score, "x": x, "role": role}


def placed(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    scores = [each["score"] for each in points]
    place_labels(points, [min(scores) - 1, max(scores) + 1], 1.1 * max(each["x"] for each in points), by_speed=True)
    return points


def test_students_of_one_speed_stand_side_by_side_with_names_towards_the_room_on_their_left() -> None:
    points = placed([point(84, 100, "teacher"), point(83, 210), point(82, 211), point(81, 212)])
    assert [each["dodge"] for each in points] == [0, -10, 0, 10]
    assert {each["side"] for each in points[1:]} == {"left"}
    assert {each["label_offset"] for each in points[1:]} == {-24}


def test_the_cost_is_told_once_a_cluster_and_not_for_the_teacher() -> None:
    points = placed([point(84, 100, "teacher"), point(83, 210), point(82, 210)])
    assert [each["cost"] for each in points] == ["", "2.1× as fast", ""]


@given(st.lists(st.floats(50, 100), min_size=1, max_size=12))
def test_no_two_names_of_a_cluster_overlap_and_their_order_is_that_of_the_scores(scores: list[float]) -> None:
    points = sorted(placed([point(score, 100) for score in scores]), key=lambda each: each["dodge"])
    pixels = (max(scores) - min(scores) + 2) / HEIGHT
    heights = [each["label_y"] / pixels for each in points]
    assert all(above - below >= 17 - 1e-6 for above, below in pairwise(heights))
    assert [each["score"] for each in points] == sorted(scores, reverse=True)


def test_a_name_with_room_stands_at_its_point() -> None:
    points = placed([point(90, 100), point(80, 100), point(70, 100)])
    assert points[1]["label_y"] == 80
