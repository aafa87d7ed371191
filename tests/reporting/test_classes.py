from __future__ import annotations

import numpy as np
import pytest

from pkd.evaluation.by_class import by_class
from pkd.reporting.classes import class_rows, confusion_of, losses_heading, losses_sentence
from pkd.reporting.results import ClassesRecord, Record


def test_the_classes_that_lost_most_stand_first_beside_the_teachers(collapsed_records: list[Record]) -> None:
    rows = class_rows(collapsed_records, "pkd-skip-L3-spread")
    # 'fine' for all of ten rows, of which seven are: precision 0.7, recall 1, F1 14 / 17
    assert [(row.label, row.rows) for row in rows] == [("unsafe", 3), ("fine", 7)]
    assert [row.text("f1") for row in rows] == ["100.0 → 0.0", "100.0 → 82.4"]
    assert [row.text("precision") for row in rows] == ["100.0 → 0.0", "100.0 → 70.0"]
    assert [row.text("recall") for row in rows] == ["100.0 → 0.0", "100.0 → 100.0"]
    assert [row.change for row in rows] == ["−100.0", "−17.6"]
    assert losses_heading(collapsed_records, "pkd-skip-L3-spread") == (
        "The classes of pkd-skip-L3-spread that lost most F1 (teacher → student, means over 3 seeds)"
    )
    assert losses_sentence(collapsed_records, "pkd-skip-L3-spread", most=1) == (
        "pkd-skip-L3-spread lost most F1 in 'unsafe' −100.0 (3 rows)."
    )


def test_without_a_teacher_the_lowest_f1_stands_first(collapsed_records: list[Record]) -> None:
    alone = [each for each in collapsed_records if not isinstance(each, ClassesRecord) or each.model != "teacher"]
    rows = class_rows(alone, "pkd-skip-L3-spread")
    assert [(row.label, row.text("f1"), row.change) for row in rows] == [("unsafe", "0.0", "–"), ("fine", "82.4", "–")]
    assert losses_heading(alone, "pkd-skip-L3-spread").startswith(
        "The classes of pkd-skip-L3-spread with the lowest F1"
    )
    assert losses_sentence(alone, "pkd-skip-L3-spread") == ""


def test_a_change_is_what_the_two_numbers_shown_give(collapsed_records: list[Record]) -> None:
    """0.8246 and 0.8254 show as 82.5 twice: their change is 0.0 and not 0.1."""

    def with_f1(record: Record) -> Record:
        if not isinstance(record, ClassesRecord):
            return record
        f1 = 0.8254 if record.model == "teacher" else 0.8246
        return record.model_copy(update={"classes": [type(one)(**{**vars(one), "f1": f1}) for one in record.classes]})

    records = [with_f1(record) for record in collapsed_records]
    assert [(row.text("f1"), row.change) for row in class_rows(records, "pkd-skip-L3-spread")] == [
        ("82.5 → 82.5", "0.0"),
        ("82.5 → 82.5", "0.0"),
    ]
    assert losses_heading(records, "pkd-skip-L3-spread").startswith("No class of pkd-skip-L3-spread lost F1")


def test_counts_of_seeds_are_added(collapsed_records: list[Record]) -> None:
    names, confusion, against_teacher = confusion_of(collapsed_records, "pkd-skip-L3-spread")
    assert names == ["fine", "unsafe"]
    assert confusion == against_teacher == [(0, 0, 21), (1, 0, 9)]  # three seeds


@pytest.mark.parametrize("name", ["ft-L3-first", "nobody"])
def test_models_whose_classes_were_not_measured_have_none(name: str, collapsed_records: list[Record]) -> None:
    assert class_rows(collapsed_records, name) == []
    assert losses_sentence(collapsed_records, name) == ""


def test_a_class_without_rows_stands_last_and_has_nothing_to_find() -> None:
    figures = by_class(np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 1, 1]), ("a", "b", "nowhere"))
    rows = class_rows([ClassesRecord(model="it", **vars(figures))], "it")
    assert [row.label for row in rows] == ["b", "a", "nowhere"]
    assert [rows[-1].text(measure) for measure in ("precision", "recall", "f1")] == ["0.0", "–", "–"]
    assert rows[-1].change == "–"
