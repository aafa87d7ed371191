"""What a search within a budget says about itself."""

from __future__ import annotations

import pytest

from pkd.reporting.front import Baseline
from pkd.reporting.front_gains import gain_sentences
from pkd.reporting.front_words import (
    budget_text,
    headline_sentences,
    latency_limit,
    search_sentences,
    word_count_sentence,
)
from pkd.reporting.results import Score
from reporting.searches import search


def words(score: float) -> Baseline:
    return Baseline(score=Score(value=score), latency=Score(value=0.2), bytes=1_000_000)


def test_the_first_sentence_is_the_chosen_student_with_its_cost_and_its_loss() -> None:
    first, tested = headline_sentences(search())
    assert first == (
        "L3 (point 2) is chosen: one text takes 2.5 ms (2.45 to 2.55), 9.6 × the teacher's speed, 20.0 MB; accuracy "
        "89.5 % on the development rows, 0.5 points below the teacher (−0.5 to 1.5)."
    )
    assert tested == "On the 400 test rows it has accuracy 88.5 %, the teacher 89.5 %."


def test_a_point_that_was_picked_although_it_is_over_the_budget_says_so() -> None:
    points = [each.model_copy(update={"chosen": each.number == 1}) for each in search().points]
    _, over, _ = headline_sentences(search(points=points))
    assert over == "It is over the budget: drop 2.40%, where at most 2.00% is asked for."


def test_a_student_whose_training_the_time_ended_says_so() -> None:
    points = [each.model_copy(update={"epochs": (1.25, 3.0)}) for each in search().points]
    _, cut_short, _ = headline_sentences(search(points=points))
    assert cut_short == (
        "The time ended its training after 1.25 of 3 epochs; the same command with more time goes on there."
    )
    assert "0 were trained in full, " in search_sentences(search(points=points))[1]


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


def test_word_counts_that_are_slower_or_larger_than_the_budget_allows_say_so() -> None:
    budget = {"latency": "0.1ms", "size": "100kB", "max_drop": 0.03}
    assert headline_sentences(search(words=words(0.9), budget=budget))[0].endswith(
        ", though slower and larger than the budget allows."
    )


def test_word_counts_just_beyond_the_budget_are_not_enough() -> None:
    found = search(words=words(0.87), budget={"max_drop": 0.029})
    assert headline_sentences(found)[0].startswith("L3 (point 2) is chosen")


def test_without_a_student_in_the_budget_the_nearest_is_named_with_the_command_that_takes_it() -> None:
    points = [
        each.model_copy(update={"chosen": False, "nearest": each.number == 2, "over": ["drop 0.50%"]})
        for each in search().points
    ]
    (sentence,) = headline_sentences(search(points=points))
    assert sentence.startswith("No student keeps to the budget, so nothing is deployed. The nearest is L3 (point 2)")
    assert sentence.endswith("`pkd compress --pick 2 --output other/` takes it.")
    assert gain_sentences(search(points=points)) == []


def test_of_the_nearest_it_is_said_that_the_time_ended_its_training() -> None:
    points = [
        each.model_copy(update={"chosen": False, "nearest": each.number == 2, "epochs": (3.0, 12.5)})
        for each in search().points
    ]
    _, sentence = headline_sentences(search(points=points))
    assert sentence.startswith("The time ended its training after 3 of 12.5 epochs")


def test_without_any_point_there_is_a_sentence_too() -> None:
    assert headline_sentences(search(points=[])) == ["No student was trained in full, so nothing is chosen."]


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


def test_times_of_a_busy_machine_are_not_shown_without_saying_so() -> None:
    told = headline_sentences(search(cpu_shares={"shapes": 0.97, "exports": 0.08}))
    assert told[-1].startswith("Something else uses this machine: this process got 8 to 97 % of 2 cores.")
    assert headline_sentences(search(cpu_shares={"shapes": 0.97, "exports": 1.0})) == headline_sentences(search())


def test_what_was_timed_is_named() -> None:
    assert "one text at a time, of development rows, on 2 cores" in search_sentences(search())[-1]
    found = search(budget={"lengths": [16, 64]})
    assert "one text at a time, of 16 and 64 random word pieces, on 2 cores" in search_sentences(found)[-1]


def test_a_search_without_a_shape_over_the_budget_says_so() -> None:
    _, counts, *_ = search_sentences(search(candidates=search().candidates[:-1]))
    assert counts.startswith("Of 5 shapes none was over the budget. 3 trainings went into the heats")
