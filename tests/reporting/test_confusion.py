from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pkd.evaluation.by_class import by_class, by_label
from pkd.reporting.charts import AnyChart, chart_png
from pkd.reporting.confusion import MOST, confusion_chart, set_chart


def values_of(chart: AnyChart) -> list[dict[str, Any]]:
    (values,) = chart.to_dict()["datasets"].values()
    return values


def cells_of(chart: AnyChart) -> dict[tuple[str, str], int]:
    return {(each["row"], each["column"]): each["count"] for each in values_of(chart)}


def test_each_cell_is_a_count_and_is_shaded_by_its_share_of_its_line() -> None:
    chart = confusion_chart(["no", "yes"], [(0, 0, 30), (0, 1, 10), (1, 1, 5)], "label", "answer")
    assert cells_of(chart) == {("no", "no"): 30, ("no", "yes"): 10, ("yes", "no"): 0, ("yes", "yes"): 5}
    assert [each["share"] for each in values_of(chart)] == [0.75, 0.25, 0.0, 1.0]
    assert chart.to_dict()["description"] == "Rows by label and answer. Off the diagonal, the most first: no → yes: 10"


@pytest.mark.parametrize("classes", [2, 4, 20, 77, 150])
def test_however_many_classes_there_are_the_chart_can_be_drawn_and_no_row_is_lost(classes: int) -> None:
    generator = np.random.default_rng(classes)
    labels = generator.integers(0, classes, 3000)
    answers = np.where(generator.random(3000) < 0.2, generator.integers(0, classes, 3000), labels)
    found = by_class(np.eye(classes)[answers], labels, [f"class {n}" for n in range(classes)])
    names = [one.label for one in found.classes]
    chart = confusion_chart(names, found.confusion, "label", "answer")
    cells = cells_of(chart)
    assert sum(cells.values()) == 3000
    lines = {row for row, _ in cells}
    assert len(lines) == (classes if classes <= MOST else MOST + 1)
    assert (f"{classes - MOST} others" in lines) is (classes > MOST)
    if classes > MOST:  # those that are confused most stand by themselves
        wrong = {name: int(((labels == n) != (answers == n)).sum()) for n, name in enumerate(names)}
        assert min(wrong[name] for name in lines if name in wrong) >= max(
            count for name, count in wrong.items() if name not in lines
        )
    assert chart_png(chart).startswith(b"\x89PNG")


def test_classes_whose_names_look_alike_on_one_line_stay_apart() -> None:
    cells = cells_of(confusion_chart(["a\nb", "a b", "<script>"], [(0, 1, 2), (2, 2, 1)], "label", "answer"))
    assert cells["a b (0)", "a b (1)"] == 2
    assert cells["<script>", "<script>"] == 1


def test_of_sets_each_label_is_found_missed_or_given_wrongly() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 1]], dtype=np.float32)
    logits = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, 1.0]])
    teacher = np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    mine = by_label(logits, labels, ("a", "b"), teacher)
    theirs = by_label(teacher, labels, ("a", "b"))
    assert cells_of(set_chart(mine.classes)) == {
        ("a", "found"): 1,
        ("a", "missed"): 1,
        ("a", "given wrongly"): 1,
        ("b", "found"): 2,
        ("b", "missed"): 0,
        ("b", "given wrongly"): 1,
    }
    assert cells_of(set_chart(mine.classes, theirs.classes)) == {
        ("a", "both"): 1,
        ("a", "teacher alone"): 1,
        ("a", "student alone"): 1,
        ("b", "both"): 2,
        ("b", "teacher alone"): 0,
        ("b", "student alone"): 1,
    }
