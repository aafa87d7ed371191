from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2

from pkd.errors import DataError, TeacherError
from pkd.evaluation.skill import measure_skill
from pkd.tasks import TOKEN_CLASSIFICATION, kind_of

NAMES = ("O", "B-person", "I-person", "B-place", "I-place")
PLAIN = ("NOUN", "VERB", "O")


def scoring_of(names: tuple[str, ...] = NAMES):  # type: ignore[no-untyped-def]
    return kind_of(TOKEN_CLASSIFICATION.name, names).scoring


def logits_of(rows: list[list[int]], classes: int = len(NAMES), width: int | None = None) -> np.ndarray:
    """Logits whose most probable classes these are, padded with NaN."""
    width = width or max(map(len, rows), default=0)
    logits = np.full((len(rows), width, classes), np.nan, dtype=np.float32)
    for row, tags in enumerate(rows):
        logits[row, : len(tags)] = 3 * np.eye(classes)[tags]
    return logits


def labels_of(rows: list[list[int]]) -> np.ndarray:
    labels = np.full((len(rows), max(map(len, rows), default=0)), -100)
    for row, tags in enumerate(rows):
        labels[row, : len(tags)] = tags
    return labels


def tags_of(rows: list[list[int]], names: tuple[str, ...] = NAMES) -> list[list[str]]:
    return [[names[index] for index in row] for row in rows]


@st.composite
def answered_and_wanted(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    tags = st.integers(0, len(NAMES) - 1)
    return tuple([[draw(tags) for _ in range(length)] for length in lengths] for _ in range(2))  # type: ignore[return-value]


@given(answered_and_wanted())
@settings(max_examples=150)
def test_the_counts_of_any_tags_orphans_included_are_seqevals_own(
    both: tuple[list[list[int]], list[list[int]]],
) -> None:
    answered, wanted = both
    scores = scoring_of().score(logits_of(answered), labels_of(wanted))
    arguments = {"scheme": IOB2, "zero_division": 0}
    micro = precision_recall_fscore_support(tags_of(wanted), tags_of(answered), average="micro", **arguments)
    assert (scores["span_precision"], scores["span_recall"], scores["span_f1"]) == pytest.approx(micro[:3])
    assert scores["word_accuracy"] == pytest.approx(accuracy_score(tags_of(wanted), tags_of(answered)))

    figures = scoring_of().by_class(logits_of(answered), labels_of(wanted), NAMES).classes
    by_type = {one.label: (one.precision, one.recall, one.f1, one.rows) for one in figures}
    found = sorted({tag[2:] for row in tags_of(wanted) + tags_of(answered) for tag in row if tag != "O"})
    theirs = precision_recall_fscore_support(tags_of(wanted), tags_of(answered), average=None, **arguments)
    occurring = [kind for kind in found if any(one.label == kind and one.rows + one.answered for one in figures)]
    assert len(theirs[0]) == len(occurring)
    for place, kind in enumerate(occurring):
        assert by_type[kind] == pytest.approx(tuple(each[place] for each in theirs))


def test_scores_worked_by_hand() -> None:
    wanted = [[1, 2, 0, 3], [0, 0], [1, 0, 0]]
    answered = [[1, 2, 0, 1], [0, 3], [1, 0, 0]]  # right, wrong type; one too many; right
    scores = scoring_of().score(logits_of(answered), labels_of(wanted))
    assert scores["span_precision"] == pytest.approx(2 / 4)
    assert scores["span_recall"] == pytest.approx(2 / 3)
    assert scores["span_f1"] == pytest.approx(4 / 7)
    assert scores["word_accuracy"] == pytest.approx(7 / 9)
    assert scores["rows_right"] == pytest.approx(1 / 3)
    right, wrong = -np.log(np.exp(3) / (np.exp(3) + 4)), -np.log(1 / (np.exp(3) + 4))
    assert scores["cross_entropy"] == pytest.approx((7 * right + 2 * wrong) / 9)


def test_plain_tags_are_spans_of_one_word_each() -> None:
    wanted, answered = labels_of([[0, 1, 2, 0]]), logits_of([[0, 0, 0, 0]], classes=3)
    scores = scoring_of(PLAIN).score(answered, wanted)
    assert (scores["span_precision"], scores["span_recall"]) == pytest.approx((2 / 4, 2 / 3))
    assert [one.label for one in scoring_of(PLAIN).by_class(answered, wanted, PLAIN).classes] == ["NOUN", "VERB"]


def test_an_orphan_continuation_is_no_span_though_its_word_is_right() -> None:
    scores = scoring_of().score(logits_of([[0, 2, 2]]), labels_of([[1, 2, 2]]))
    assert (scores["span_f1"], scores["word_accuracy"]) == (0.0, pytest.approx(2 / 3))


def test_of_a_type_without_a_class_for_beginnings_every_run_is_a_span() -> None:
    names = ("O", "I-person", "B-place", "I-place")
    wanted = [[1, 1, 0, 1, 2, 3]]  # a person of two words, one of one, a place of two
    answered = [[1, 0, 0, 1, 2, 3]]  # the first person is cut short

    scores = scoring_of(names).score(logits_of(answered, len(names)), labels_of(wanted))

    assert scoring_of(names).label_words(labels_of(wanted), names) == ["person 1-2, person 4, place 5-6"]
    assert scores["span_f1"] == pytest.approx(2 / 3)


def test_a_gain_is_one_where_all_spans_of_a_row_are_right() -> None:
    wanted, answered = [[1, 2, 3], [0, 0], [1, 0], [3, 0]], [[1, 2, 0], [0, 0], [1, 0], [3, 1]]
    gains = scoring_of().gain_by_row(logits_of(answered), labels_of(wanted))
    assert gains.tolist() == [0, 1, 1, 0]
    assert gains.mean() == scoring_of().score(logits_of(answered), labels_of(wanted))["rows_right"]


def test_a_part_of_the_rows_is_scored_like_these_rows_alone() -> None:
    wanted, answered = [[1, 2, 3, 0], [0, 1]], [[1, 2, 3, 0], [3, 1]]
    wide = logits_of(answered)[[1]]  # four words wide
    assert scoring_of().score(wide, labels_of(wanted[1:])) == scoring_of().score(
        logits_of(answered[1:]), labels_of(wanted[1:])
    )


def test_resamples_are_the_scores_of_the_rows_drawn() -> None:
    generator = np.random.default_rng(3)
    rows = [[list(generator.integers(0, 5, length)) for length in (3, 7, 1, 5)] for _ in range(3)]
    wanted, logits, teacher = labels_of(rows[0]), logits_of(rows[1]), logits_of(rows[2])
    samples = scoring_of().bootstrap_samples(logits, wanted, resamples=20, seed=4, teacher_logits=teacher)
    drawn = np.random.default_rng(4).integers(0, 4, (20, 4))
    for number, places in enumerate(drawn):
        expected = scoring_of().score(logits[places], wanted[places])
        expected |= scoring_of().compare_with_teacher(logits[places], teacher[places])
        assert {name: values[number] for name, values in samples.items()} == pytest.approx(expected)


def test_fidelity_is_over_words() -> None:
    mine, teachers = logits_of([[0, 1, 2], [0]]), logits_of([[0, 1, 1], [0]])
    found = scoring_of().compare_with_teacher(mine, teachers)
    p, q = np.exp([3.0, 0.0]) / (np.exp(3) + 4)
    assert found == pytest.approx({"agreement": 3 / 4, "kl": (p - q) * 3 / 4})
    assert scoring_of().compare_with_teacher(mine, mine) == {"agreement": 1.0, "kl": 0.0}


def test_negative_flips_are_rows_that_only_the_teacher_gets_right_the_surest_mistake_first() -> None:
    wanted = labels_of([[1, 0], [3, 0], [0, 0]])
    teachers, mine = logits_of([[1, 0], [3, 0], [0, 1]]), logits_of([[0, 0], [1, 0], [0, 1]])
    mine[1] *= 2
    assert scoring_of().negative_flips(mine, teachers, wanted).tolist() == [1, 0]


def test_a_constant_answer_is_the_best_one_and_has_no_skill() -> None:
    rows = [[1, 2, 0], [3, 0], [0, 1]] * 20
    wanted = labels_of(rows)
    answer = scoring_of().constant(wanted, 5, "span_f1")
    assert np.unique(answer[wanted >= 0].argmax(-1)).tolist() in ([1], [3])  # 20 of 140 spans of one word, 60 wanted
    assert scoring_of().score(answer, wanted)["span_f1"] == pytest.approx(2 * 20 / (140 + 60))
    assert not measure_skill(answer, wanted, scoring_of(), "span_f1").has_skill
    assert measure_skill(logits_of(rows), wanted, scoring_of(), "span_f1").has_skill
    silent = scoring_of().constant(labels_of([[0, 0], [0, 1, 2]]), 5, "rows_right")
    assert np.nanmax(silent[..., 0]) == 1
    assert scoring_of(("X", "Y")).constant(labels_of([[1, 1, 0]]), 2, "span_f1").argmax(-1).tolist() == [[1, 1, 1]]


def test_blind_spots_are_types_of_which_no_span_is_found() -> None:
    wanted = labels_of([[1, 2, 3], [3, 0]])
    found = scoring_of().blind_spots(logits_of([[0, 0, 3], [0, 0]]), wanted, NAMES)
    assert (found.one_answer, found.never_found) == (None, {"person": 1})
    silent = scoring_of().blind_spots(logits_of([[0, 0, 0], [0, 0]]), wanted, NAMES)
    assert (silent.one_answer, silent.never_found) == ("O", {"place": 2, "person": 1})


def test_spans_are_named_by_their_words() -> None:
    logits = logits_of([[1, 2, 0, 3], [0]])
    assert scoring_of().answers(logits, NAMES) == ["person 1-2, place 4", "no span"]
    assert scoring_of().label_words(labels_of([[1, 2, 0, 3], [0]]), NAMES) == ["person 1-2, place 4", "no span"]
    assert scoring_of().label_counts(labels_of([[1, 2, 1, 3], [0]]), NAMES) == {"person": 2, "place": 1}


def test_confidence_is_that_of_the_least_certain_word() -> None:
    logits = logits_of([[0, 1], [0]])
    logits[0, 1] = 0
    assert scoring_of().confidence(logits) == pytest.approx([1 / 5, np.exp(3) / (np.exp(3) + 4)])


def test_what_cannot_be_scored_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match="0 words"):
        scoring_of().score(logits_of([[0]])[:0], labels_of([[0]])[:0])
    with pytest.raises(DataError, match="Row 0, word 1, has the label 9"):
        scoring_of().score(logits_of([[0, 0]]), labels_of([[0, 9]]))
    with pytest.raises(TeacherError, match=r"not finite in 1 of 2 rows, first in row 1"):
        scoring_of().score(logits_of([[0, 0], [0]], width=2), labels_of([[0, 0], [0, 0]]))
    with pytest.raises(DataError, match="same file"):
        scoring_of().compare_with_teacher(logits_of([[0, 0]]), logits_of([[0]]))


def test_seqeval_is_imported_only_when_spans_are_counted() -> None:
    code = "import sys, pkd.evaluation.spans, pkd.evaluation.tags; assert 'seqeval' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
