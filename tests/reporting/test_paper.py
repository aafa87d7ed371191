"""When a published number is an equal of ours, and when it is a reference."""

from __future__ import annotations

import pytest

from pkd.evaluation.by_class import BlindSpots
from pkd.reporting.paper import TaskResult, hidden_test_sentences, paper_notes, paper_rows
from pkd.reporting.published import ModelKey
from pkd.reporting.results import ModelRecord, Record

KEYS = {"teacher": ModelKey(method="teacher", layers=12), "pkd-skip-L3-first": ModelKey(method="pkd-skip", layers=3)}


def result(records: list[Record], task: str = "RTE", incomparable: str = "") -> TaskResult:
    return TaskResult(task, records, KEYS, incomparable, task)


def on_development_rows(records: list[Record]) -> list[Record]:
    return [each.model_copy(update={"split": "eval"}) if isinstance(each, ModelRecord) else each for each in records]


def test_beside_an_equal_stands_the_difference(records: list[Record]) -> None:
    rows = {row.name: row for row in paper_rows([result(on_development_rows(records))])}
    skip = rows["pkd-skip-L3-first"]
    assert skip.value == pytest.approx(100 * (0.811 + 0.811 + 0.805) / 3)
    assert (skip.published, skip.comparable, skip.seeds) == (62.1, True, 3)
    assert skip.difference == pytest.approx(skip.value - 62.1)
    assert (skip.published_text, skip.difference_text) == ("62.1", "+18.8")
    assert rows["teacher"].published == 69.4


def test_what_is_of_another_kind_is_a_reference_in_brackets_without_a_difference(records: list[Record]) -> None:
    given = [result(records, incomparable="Not to be compared: another teacher.")]
    skip = next(row for row in paper_rows(given) if row.name == "pkd-skip-L3-first")
    assert (skip.published, skip.difference, skip.difference_text) == (62.1, None, "–")
    assert skip.published_text == "[62.1] 12 → 3"
    notes = paper_notes(given)
    assert notes[0] == "Not to be compared: another teacher."
    assert any("no difference is taken" in note for note in notes)


def test_what_is_measured_on_held_out_rows_is_no_equal_of_a_development_score(records: list[Record]) -> None:
    skip = next(row for row in paper_rows([result(records)]) if row.name == "pkd-skip-L3-first")
    assert (skip.split, skip.comparable, skip.difference) == ("test", False, None)
    assert skip.published_text == "[62.1] 12 → 3"


def test_a_model_or_task_without_a_published_number_shows_none(records: list[Record]) -> None:
    rows = {row.name: row for row in paper_rows([result(records)])}
    assert rows["pkd-skip-L3-spread"].published is None  # no model of the paper is meant
    cola = [result(records, task="CoLA")]
    assert all(row.published is None and row.published_text == "–" for row in paper_rows(cola))
    assert any("No settings are published for CoLA" in note for note in paper_notes(cola))


def test_reasons_are_told_once_where_all_tasks_share_them(records: list[Record]) -> None:
    shared = [result(records, task, "Why.") for task in ("RTE", "MRPC")]
    assert paper_notes(shared).count("Why.") == 1
    apart = [result(records, "RTE", "Why."), result(records, "MRPC")]
    assert "RTE: Why." in paper_notes(apart)


def test_a_teacher_that_learnt_nothing_is_told(records: list[Record]) -> None:
    def blind(role: str, spots: BlindSpots) -> list[str]:
        changed = [
            each.model_copy(update={"blind_spots": spots}) if getattr(each, "role", "") == role else each
            for each in records
        ]
        return paper_notes([result(changed)])

    assert not any("RTE: " in note for note in paper_notes([result(records)]))
    told = blind("teacher", BlindSpots("entailment", {"not": 131}))
    assert told[0] == "RTE: teacher answers 'entailment' for all 1,066 rows and finds none of 131 'not'."
    assert told[1].startswith("RTE: so its teacher learnt nothing")
    for role, spots in (("teacher", BlindSpots(None, {"not": 131})), ("student", BlindSpots("entailment", {}))):
        told = blind(role, spots)
        assert told[0].startswith("RTE: ")
        assert not any("learnt nothing" in note for note in told)


def test_scores_of_test_servers_are_told_apart() -> None:
    assert hidden_test_sentences(["RTE"]) == [
        "RTE: PKD-Skip, 12 → 6 layers, accuracy 65.5 (Test-server scores of the paper, checked in second-hand sources "
        "only)"
    ]
    assert len(hidden_test_sentences(["MNLI"])) == 4
