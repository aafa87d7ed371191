"""What a search within a budget says about itself."""

from __future__ import annotations

import pytest

from pkd.reporting.front import Baseline, Shape
from pkd.reporting.front_words import (
    budget_text,
    gain_sentences,
    headline_sentences,
    latency_limit,
    search_sentences,
    word_count_sentence,
)
from pkd.reporting.results import Score
from reporting.searches import candidate, point, search


def words(score: float) -> Baseline:
    return Baseline(score=Score(value=score), latency=Score(value=0.2), bytes=1_000_000)


def test_the_first_sentence_is_the_chosen_student_with_its_cost_and_its_loss() -> None:
    first, tested = headline_sentences(search())
    assert first == (
        "L3 (point 2) is chosen: one text takes 2.5 ms (2.45 to 2.55), 9.6 × the teacher's speed, 20.0 MB; accuracy "
        "89.5 % on the development rows, 0.5 points below the teacher (−0.5 to 1.5)."
    )
    assert tested == "On the 400 test rows it has accuracy 88.5 %, the teacher 89.5 %."


def test_word_counts_that_are_far_away_come_after_the_rest() -> None:
    found = search(words=words(0.8))
    assert word_count_sentence(found).startswith("For nothing: word counts with a linear model")
    assert "10.0 points below the teacher, in 0.2 ms for one text and 1.0 MB" in word_count_sentence(found)
    assert not any("word counts" in sentence for sentence in headline_sentences(found))


@pytest.mark.parametrize(
    ("score", "drop", "ends"),
    [
        (0.88, 0.001, "that is at least as good as L2-int8 (point 1)."),
        (0.876, None, "that is at least as good as L2-int8 (point 1)."),  # as good for nothing
        (0.872, 0.03, "that is within the budget (at most 3.0 points below the teacher)."),
        (0.9, 0.0, "that is within the budget (at most 0.0 points below the teacher) and at least as good as L2-int8 "
                   "(point 1) and L3 (point 2)."),
    ],
)  # fmt: skip
def test_where_word_counts_are_enough_the_first_sentence_says_so(score: float, drop: float | None, ends: str) -> None:
    found = search(words=words(score), budget={"latency": "3ms", "max_drop": drop})
    first, second, *_ = headline_sentences(found)
    assert first.startswith("You may need no student: word counts with a linear model, fitted on the same rows")
    assert first.endswith(ends)
    assert second.startswith("L3 (point 2) is chosen")
    assert word_count_sentence(found) == ""


def test_word_counts_just_beyond_the_budget_are_not_enough() -> None:
    found = search(words=words(0.87), budget={"max_drop": 0.029})
    assert headline_sentences(found)[0].startswith("L3 (point 2) is chosen")


def test_without_a_student_in_the_budget_the_nearest_is_named_with_the_command_that_takes_it() -> None:
    points = [each.model_copy(update={"chosen": False, "over": ["drop 0.50%"]}) for each in search().points]
    (sentence,) = headline_sentences(search(points=points))
    assert sentence.startswith("No student keeps to the budget, so nothing is deployed. The nearest is L3 (point 2)")
    assert sentence.endswith("`pkd compress --pick 2` takes it.")
    assert gain_sentences(search(points=points)) == []


def test_without_any_point_there_is_a_sentence_too() -> None:
    assert headline_sentences(search(points=[])) == ["No student was trained in full, so nothing is chosen."]


def test_one_more_millisecond_names_a_better_student_that_was_trained() -> None:
    better = point(3, Shape(layers=4), 3.4, 0.899, ties=True)
    more, _ = gain_sentences(search(points=[*search().points, better]))
    assert more == (
        "One more millisecond would buy 0.4 points: L4 (point 3) has 89.9 % at 3.4 ms, though the development rows "
        "cannot tell the two apart."
    )


def test_one_more_millisecond_names_shapes_that_only_their_time_kept_out() -> None:
    heavy = candidate(5, 3.6, over="size 60MB, where at most 40MB is asked for")
    heavy = heavy.model_copy(update={"predicted": heavy.predicted.model_copy(update={"bytes": 60_000_000})})
    far = candidate(6, 4.2, over="latency 4.2ms, where at most 3ms is asked for")
    more, _ = gain_sentences(search(candidates=[*search().candidates, heavy, far]))
    assert more == (
        "One more millisecond would let L4 (3.4 ms) in, which is over the budget and was not trained: what it would "
        "score is not known."
    )


def test_one_more_millisecond_that_buys_nothing_says_so() -> None:
    more, _ = gain_sentences(search(candidates=search().candidates[:-1]))
    assert more == "One more millisecond would buy nothing: no shape takes between 2.5 ms and 4 ms."


def test_half_a_point_buys_the_fastest_student_within_it() -> None:
    close = [
        point(1, Shape(layers=1), 0.5, 0.88),
        point(2, Shape(layers=2, precision="int8"), 1.25, 0.891),
        search().points[1].model_copy(update={"number": 3}),
    ]
    _, less = gain_sentences(search(points=close))
    assert less == (
        "Half a point less would buy 1.25 ms: L2-int8 (point 2) is 0.4 points below it at 1.25 ms, 2.0 × as fast."
    )


def test_half_a_point_that_buys_nothing_names_the_nearest_faster_student() -> None:
    _, less = gain_sentences(search())
    assert less == (
        "Half a point less would buy no time: the nearest faster student, L2-int8 (point 1), is 1.9 points below it at "
        "1.25 ms."
    )


def test_a_correlation_has_no_points() -> None:
    found = search(metric="pearson")
    assert "0.005 below the teacher (−0.005 to 0.015)" in headline_sentences(found)[0]
    assert gain_sentences(found)[1].startswith("0.005 less would buy no time")


def test_the_history_counts_what_was_dropped_trained_and_finished() -> None:
    budget, counts, time, _ = search_sentences(search())
    assert budget == "The budget: one text in at most 3ms; at most 40MB; at most 2.0 points below the teacher."
    # L2 and L3 in two precisions and L1 in two are three trainings
    assert "Of 6 shapes 1 was over the budget and never trained. 3 trainings went into the heats" in counts
    assert "2 were trained in full (effort normal, seed 42)" in counts
    assert time == "It took 11 min: shapes 1 min, heats 10 min."


def test_without_constraints_the_budget_says_what_is_looked_for() -> None:
    assert budget_text(search(budget={})) == "none, so the fastest student that is level with the best"


@pytest.mark.parametrize(
    ("budget", "limit"),
    [({}, None), ({"latency": "3ms"}, 3.0), ({"speed_up": 12.0}, 2.0), ({"latency": "0.001s", "speed_up": 12}, 1.0)],
)
def test_the_slowest_allowed_text_follows_from_latency_and_speed_up(budget: dict[str, object], limit: float) -> None:
    assert latency_limit(search(budget=budget)) == (None if limit is None else pytest.approx(limit))
