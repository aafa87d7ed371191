"""Which shapes a heat keeps."""

from __future__ import annotations

import math

import pytest

from pkd.distillation.heats import FINALISTS, LAST, Entrant, halve, heats_of, noise_of, places_after


def shape(name: str, latency: float, score: float, bytes: int = 1000) -> Entrant:
    return Entrant(name, latency, bytes, score)


def test_three_shapes_need_no_heat_and_many_are_halved_twice() -> None:
    assert list(heats_of(1)) == list(heats_of(FINALISTS)) == []
    assert list(heats_of(FINALISTS + 1)) == [LAST]
    assert list(heats_of(18)) == [0, LAST]


@pytest.mark.parametrize("shapes", [4, 7, 12, 18, 40])
def test_every_heat_keeps_fewer_shapes_than_it_had_and_the_last_keeps_the_finalists(shapes: int) -> None:
    going = shapes
    for heat in heats_of(shapes):
        kept = places_after(heat, going)
        assert kept < going
        going = kept
    assert going == FINALISTS


def test_the_best_goes_on_first_and_then_the_fastest_that_is_level_with_it() -> None:
    entrants = [shape("L1", 1, 0.60), shape("L2", 2, 0.895), shape("L3", 3, 0.897), shape("L4", 4, 0.90)]
    halved = halve(entrants, 2, noise=0.01, is_last=True)
    assert halved.kept == ["L4", "L2"]
    assert halved.stopped == {"L1": "", "L3": ""}


def test_a_shape_is_stopped_by_one_that_is_no_slower_no_larger_and_better() -> None:
    entrants = [shape("fast", 1, 0.90), shape("slow", 2, 0.85), shape("large", 0.5, 0.80, bytes=2000)]
    halved = halve(entrants, 3, noise=0.01, is_last=False)
    assert halved.kept == ["fast", "large"]
    assert halved.stopped == {"slow": "dominated by fast"}


def test_before_the_last_heat_a_difference_within_the_noise_stops_no_shape() -> None:
    entrants = [shape("fast", 1, 0.90), shape("slow", 2, 0.895)]
    assert halve(entrants, 3, noise=0.01, is_last=False).kept == ["fast", "slow"]
    assert halve(entrants, 3, noise=0.01, is_last=True).kept == ["fast"]


def test_a_training_that_diverged_is_stopped_and_stops_no_other() -> None:
    entrants = [shape("lost", 1, math.nan), shape("kept", 2, 0.5)]
    halved = halve(entrants, 3, noise=0.01, is_last=True)
    assert halved.kept == ["kept"]
    assert halved.stopped == {"lost": "diverged"}
    assert halve(entrants[:1], 3, noise=0.01, is_last=True).kept == []


def test_of_equal_scores_the_faster_is_before() -> None:
    entrants = [shape("slow", 2, 0.9, bytes=1), shape("fast", 1, 0.9, bytes=2)]
    assert halve(entrants, 1, noise=0.0, is_last=True).kept == ["fast"]


def test_the_noise_is_that_of_a_share_and_never_nothing() -> None:
    assert noise_of([0.5, 0.4], 100) == pytest.approx(math.sqrt(2 * 0.25 / 100))
    assert noise_of([1.0], 100) > 0
    assert noise_of([math.nan], 100) > 0
    assert noise_of([0.9], 400) == pytest.approx(noise_of([0.9], 100) / 2)
