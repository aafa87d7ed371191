import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pkd.errors import DataError
from pkd.evaluation.verdict import judge


def correct(*shares: float, rows: int = 1000) -> np.ndarray:
    """[S, rows], right on the first share of the rows."""
    return np.array([np.arange(rows) < share * rows for share in shares])


def judged(a: np.ndarray, b: np.ndarray, resamples: int = 2000):
    return judge(a, b, resamples=resamples, confidence=0.95, seed=0)


def test_the_difference_is_averaged_over_seeds_and_told_in_rows() -> None:
    # 0.84, 0.82 against 0.80, 0.81: the means differ by 0.83 − 0.805 = 0.025, 25 of 1,000 rows.
    judgement = judged(correct(0.84, 0.82), correct(0.80, 0.81))
    assert judgement.difference == pytest.approx(0.025)
    assert judgement.examples == pytest.approx(25)


def test_an_interval_above_zero_helps() -> None:
    judgement = judged(correct(0.85), correct(0.80))
    assert judgement.verdict == "HELPS"
    assert 0 < judgement.low < judgement.difference < judgement.high


def test_an_interval_below_zero_does_not() -> None:
    judgement = judged(correct(0.80), correct(0.85))
    assert judgement.verdict == "DOES NOT"
    assert judgement.low < judgement.difference < judgement.high < 0


def test_an_interval_around_zero_is_unclear() -> None:
    judgement = judged(correct(0.802), correct(0.801))
    assert judgement.verdict == "UNCLEAR"
    assert judgement.difference > 0 == judgement.low


def test_equal_answers_are_unclear_and_not_a_draw_of_luck() -> None:
    judgement = judged(correct(0.8), correct(0.8))
    assert (judgement.difference, judgement.low, judgement.high, judgement.verdict) == (0.0, 0.0, 0.0, "UNCLEAR")


def test_the_interval_is_that_of_drawing_the_rows_again() -> None:
    generator = np.random.default_rng(5)
    a, b = generator.random((3, 400)) < 0.85, generator.random((3, 400)) < 0.80
    by_row = a.mean(axis=0) - b.mean(axis=0)
    naive = by_row[generator.integers(0, 400, (20_000, 400))].mean(axis=1)
    judgement = judged(a, b, resamples=20_000)
    assert (judgement.low, judgement.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.002)


def test_pairing_makes_a_small_steady_gain_clear() -> None:
    # The same +10 rows: clear where they are the only rows that differ, not where 200 others differ both ways.
    steady = judged(correct(0.81), correct(0.80))
    noisy_a, noisy_b = correct(0.81), correct(0.80)
    noisy_a[0, :100] = False
    noisy_b[0, 100:200] = False
    assert steady.verdict == "HELPS"
    assert judged(noisy_a, noisy_b).verdict == "UNCLEAR"


@given(arrays(np.bool_, (2, 2, 25)))
def test_judging_the_other_way_round_turns_the_sign(pair: np.ndarray) -> None:
    there, back = judged(pair[0], pair[1], 200), judged(pair[1], pair[0], 200)
    assert there.difference == pytest.approx(-back.difference)
    assert there.examples == pytest.approx(there.difference * 25)


@given(arrays(np.bool_, (2, 3, 15)), st.permutations(range(15)))
def test_the_order_of_the_rows_does_not_matter(pair: np.ndarray, order: list[int]) -> None:
    assert judged(pair[0], pair[1], 100) == judged(pair[0][:, order], pair[1][:, order], 100)


def test_different_seeds_or_rows_are_refused() -> None:
    with pytest.raises(DataError, match="same seeds"):
        judged(correct(0.8, 0.8), correct(0.8))
