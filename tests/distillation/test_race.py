"""The race of `start: auto`: who is tried, for how long, who goes on, and what it costs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkd.distillation.race import HEATS, race, tried_starts, winner
from pkd.distillation.student import start_layers

FIVE = ["first", "spread", "1.3.6", "1.2.6", "1.5.6"]


def test_five_starts_are_tried_and_the_same_layers_once() -> None:
    assert list(tried_starts(12, 6, dropped=[2, 4, 5, 7, 3, 6]).values()) == [
        "first", "spread", [1, 3, 5, 7, 9, 12], [1, 2, 3, 4, 5, 12], [1, 8, 9, 10, 11, 12],
    ]  # fmt: skip
    # of 4 layers, 3: spread is 1, 2, 3, which `first` is, and both with the last are 1, 2, 4
    assert tried_starts(4, 3, dropped=[3]) == {"the first layers": "first", "spread, with the last layer": [1, 2, 4]}
    assert tried_starts(4, 3, dropped=[1])["greedy dropping"] == [2, 3, 4]
    assert list(tried_starts(6, 1, dropped=[5, 4, 3, 1, 6]).values()) == ["first", [6], [2]]


@given(depth=st.integers(1, 30), data=st.data())
def test_every_start_is_one_that_could_be_given_and_no_two_are_the_same(depth: int, data: st.DataObject) -> None:
    layers = data.draw(st.integers(1, depth))
    dropped = data.draw(st.permutations(range(1, depth + 1)))[:-1]
    starts = tried_starts(depth, layers, dropped)
    taken = [tuple(start_layers(start, depth, layers)) for start in starts.values()]
    assert len(set(taken)) == len(taken)
    assert 1 <= len(starts) <= 5
    assert (len(starts) == 1) == (layers == depth)


def test_the_better_two_go_on_and_the_best_is_chosen() -> None:
    scores = {0: dict(zip(FIVE, [0.70, 0.74, 0.71, 0.76, 0.69], strict=True)), 1: {"spread": 0.83, "1.2.6": 0.81}}
    heats = list(race(FIVE, lambda start, heat: scores[heat][start], epochs=10))
    assert [heat.epochs for heat in heats] == [1.0, 2.5]
    assert [list(heat.scores) for heat in heats] == [FIVE, ["spread", "1.2.6"]]
    assert [heat.kept for heat in heats] == [("1.2.6", "spread"), ("spread",)]
    assert winner(FIVE, heats) == "spread"


def test_of_equal_scores_the_earlier_start_goes_on() -> None:
    heats = list(race(FIVE, lambda start, heat: 0.5, epochs=4))
    assert [heat.kept for heat in heats] == [("first", "spread"), ("first",)]


def test_a_score_that_is_no_number_loses() -> None:
    heats = list(race(FIVE, lambda start, heat: math.nan if start == "first" else 0.5, epochs=4))
    assert heats[-1].kept == ("spread",)


def test_two_starts_begin_with_the_last_heat() -> None:
    heats = list(race(FIVE[:2], lambda start, heat: {"first": 0.1, "spread": 0.2}[start], epochs=4))
    assert [heat.epochs for heat in heats] == [1.0]
    assert heats[0].kept == ("spread",)


def test_one_start_needs_no_race() -> None:
    assert list(race(FIVE[:1], lambda start, heat: None, epochs=4)) == []
    assert winner(FIVE[:1], []) == "first"


def test_without_a_score_there_is_no_result_yet() -> None:
    heats = list(race(FIVE, lambda start, heat: None if heat else 0.5, epochs=4))
    assert len(heats) == 1
    assert winner(FIVE, heats) is None


@pytest.mark.parametrize("starts", [2, 3, 4, 5])
def test_a_race_costs_at_most_one_whole_training(starts: int) -> None:
    spent = 0.0

    def score(start: str, heat: int) -> float:
        nonlocal spent
        spent += HEATS[heat]
        return float(len(start))

    heats = list(race(FIVE[:starts], score, epochs=10))
    assert winner(FIVE[:starts], heats) in FIVE
    assert spent <= 1.0 + 1e-9
