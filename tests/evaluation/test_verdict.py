"""Verdicts: worked by hand, by their laws, and by simulation of methods that do not differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student_t

import pkd.evaluation
from pkd.errors import DataError
from pkd.evaluation.verdict import Judgement, judge


def correct(*shares: float, rows: int = 1000) -> np.ndarray:
    """[S, rows], right on the first share of the rows; of one share [rows]."""
    return np.squeeze(
        np.array([np.arange(rows) < share * rows for share in shares]), axis=0 if len(shares) == 1 else ()
    )


def judged(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> Judgement:
    return judge(a, b, confidence=confidence, seed=0)


def test_the_package_has_it_too() -> None:
    assert pkd.evaluation.judge is judge


def test_the_difference_is_averaged_over_seeds_and_told_in_rows() -> None:
    # 0.84, 0.82 against 0.80, 0.81, 0.79: the means differ by 0.83 − 0.80 = 0.03, 30 of 1,000 rows.
    judgement = judged(correct(0.84, 0.82), correct(0.80, 0.81, 0.79))
    assert judgement.difference == pytest.approx(0.03)
    assert judgement.examples == pytest.approx(30)
    assert (judgement.seeds_a, judgement.seeds_b) == (2, 3)
    assert judged(correct(0.84, 0.82), correct(0.80)).seeds_b is None


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
    assert judgement.low < 0 < judgement.difference < judgement.high


def test_equal_answers_are_unclear_and_not_a_draw_of_luck() -> None:
    judgement = judged(correct(0.8), correct(0.8))
    assert (judgement.difference, judgement.low, judgement.high, judgement.verdict) == (0.0, 0.0, 0.0, "UNCLEAR")


def test_two_fixed_models_have_the_interval_of_bonett_and_price() -> None:
    # 30 rows that a alone has right and 10 that b alone has, of 400: (31 + 11)/402 differ, by 20/402 in the mean.
    a, b = np.zeros(400), np.zeros(400)
    a[:30], b[30:40] = 1, 1
    center = 20 / 402
    half = student_t.ppf(0.975, 399) * math.sqrt((42 / 402 - center**2) / 402)
    judgement = judged(a, b)
    assert (judgement.low, judgement.high) == pytest.approx((center - half, center + half))
    assert judgement.verdict == "HELPS"


@pytest.mark.parametrize(("alone", "verdict"), [(4, "UNCLEAR"), (5, "UNCLEAR"), (6, "HELPS"), (7, "HELPS")])
def test_few_rows_that_differ_are_no_sure_thing(alone: int, verdict: str) -> None:
    # as in the exact test of McNemar: p is 0.0625 of 5 against none, and 0.03 of 6
    a, b = correct(0.8), correct(0.8)
    a[-alone:] = True
    assert judged(a, b).verdict == verdict


def test_pairing_makes_a_small_steady_gain_clear() -> None:
    # The same +10 rows: clear where they are the only rows that differ, not where 200 others differ both ways.
    steady = judged(correct(0.81), correct(0.80))
    noisy_a, noisy_b = correct(0.81), correct(0.80)
    noisy_a[:100] = False
    noisy_b[100:200] = False
    assert steady.verdict == "HELPS"
    assert judged(noisy_a, noisy_b).verdict == "UNCLEAR"


def test_the_variance_is_that_of_rows_and_seeds_with_the_residual_once() -> None:
    # Ten rows each seed of a has right, ten more one of them, a third more by thirty; b is fixed and never right.
    a = np.zeros((3, 100))
    a[:, :10], a[0, 10:20], a[1, 20:30], a[2, 30:70] = 1, 1, 1, 1
    means = np.array([0.20, 0.20, 0.50])
    of_means = means.var(ddof=1)  # 0.03, of a shift of a seed and of its residual
    residual = a - means[:, None] - a.mean(axis=0) + a.mean()
    of_residual = (residual**2).sum() / (2 * 99)
    of_seeds = of_means / 3 - of_residual / 300
    by_row = a.mean(axis=0)
    alike = (10 + 60 / 3) ** 2 / (10 + 60 / 9)  # 70 rows differ, ten of them three times as much as the others
    center = by_row.sum() / 102
    of_rows = ((by_row**2).sum() * (1 + 2 / alike) / 102 - center**2) / 102
    counted = of_seeds * 4  # (1 + 2/2)²
    freedom = (of_rows + counted) ** 2 / (of_rows**2 / 99 + (counted + of_residual / 300) ** 2 / 2)
    assert freedom > 2
    half = student_t.ppf(0.95, freedom) * math.sqrt(of_rows + of_seeds)
    judgement = judged(a, np.zeros(100), 0.9)
    assert (judgement.low, judgement.high) == pytest.approx((center - half, center + half))


def test_seeds_that_differ_widen_the_interval_and_more_of_them_narrow_it() -> None:
    def width(*shares: float) -> float:
        judgement = judged(correct(*shares), correct(0.8))
        return judgement.high - judgement.low

    assert width(0.83, 0.83, 0.83) < width(0.82, 0.83, 0.84) < width(0.80, 0.83, 0.86)
    assert width(*[0.82, 0.83, 0.84] * 3) < width(0.82, 0.83, 0.84)


def test_a_method_with_one_seed_is_unclear_over_rows_alone_whatever_it_gained() -> None:
    of_models, of_method = judged(correct(0.9), correct(0.8)), judged(correct(0.9)[None], correct(0.8))
    assert (of_models.verdict, of_method.verdict) == ("HELPS", "UNCLEAR")
    assert (of_method.low, of_method.high) == (of_models.low, of_models.high)
    beside_others = judged(correct(0.9)[None], correct(0.7, 0.8, 0.9))
    rows_alone = judged(correct(0.9), correct(0.7, 0.8, 0.9).mean(axis=0))
    assert (beside_others.verdict, beside_others.low, beside_others.high) == (
        "UNCLEAR", pytest.approx(rows_alone.low), pytest.approx(rows_alone.high),
    )  # fmt: skip
    assert (beside_others.seeds_a, beside_others.seeds_b) == (1, 3)


def test_methods_that_answer_every_row_as_often_right_are_level() -> None:
    # in other rows' order the residual of either is as before, but nothing of it is left in the difference
    a = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]])
    judgement = judged(a, a[::-1])
    assert (judgement.difference, judgement.verdict) == (0.0, "UNCLEAR")
    assert (judgement.low, judgement.high) == pytest.approx((0.0, 0.0), abs=1e-6)
    thirds = np.full((3, 7), 1 / 3)
    assert judged(thirds * 0.1, thirds[0] * 0.1).verdict == "UNCLEAR"


@pytest.mark.parametrize("shape", [(1,), (1, 1), (3, 1), (2, 2)])
def test_hardly_any_rows_are_unclear_and_no_error(shape: tuple[int, ...]) -> None:
    judgement = judged(np.ones(shape), np.zeros(shape[-1]))
    assert judgement.verdict == "UNCLEAR"
    assert math.isfinite(judgement.low)
    assert math.isfinite(judgement.high)


GAINS = st.one_of(arrays(np.bool_, (2, 3, 15)), arrays(np.float64, (2, 3, 15), elements=st.floats(-9, 0, width=16)))


@given(GAINS)
def test_judging_the_other_way_round_turns_the_sign(pair: np.ndarray) -> None:
    there, back = judged(pair[0], pair[1]), judged(pair[1], pair[0])
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.low <= there.difference <= there.high


@given(GAINS, st.permutations(range(15)), st.permutations(range(3)), st.integers(0, 2**32))
def test_the_order_of_rows_and_seeds_and_the_seed_do_not_matter(
    pair: np.ndarray, rows: list[int], seeds: list[int], seed: int
) -> None:
    there = judged(pair[0], pair[1])
    moved = judge(pair[0][:, rows], pair[1][seeds][:, rows], confidence=0.95, seed=seed)
    assert (moved.low, moved.high) == pytest.approx((there.low, there.high), abs=1e-9)


@given(arrays(np.float64, (2, 3, 15), elements=st.floats(-9, 0, width=16)), st.sampled_from([0.5, 4.0]))
def test_scores_are_judged_in_their_own_unit(pair: np.ndarray, unit: float) -> None:
    there, other = judged(pair[0], pair[1]), judged(unit * pair[0] - 7, unit * pair[1] - 7)
    assert (other.low, other.high) == pytest.approx((unit * there.low, unit * there.high), abs=1e-6)


@pytest.mark.parametrize("unit", [1e-300, 1e200])
def test_squared_errors_of_any_size_are_judged(unit: float) -> None:
    errors = np.random.default_rng(6).random((2, 3, 50))
    there, other = judged(errors[0], errors[1]), judged(unit * errors[0], unit * errors[1])
    assert (other.low / unit, other.high / unit, other.verdict) == (
        pytest.approx(there.low), pytest.approx(there.high), there.verdict,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "confidence", "words"),
    [
        (np.ones((2, 5)), np.ones((2, 4)), 0.95, "the same rows"),
        (np.ones(5), np.ones((2, 4)), 0.95, "the same rows"),
        (np.ones((2, 0)), np.ones((2, 0)), 0.95, "at least one"),
        (np.ones((0, 5)), np.ones((2, 5)), 0.95, "at least one"),
        (np.ones((1, 2, 5)), np.ones((2, 5)), 0.95, "at least one"),
        (np.array([1.0, np.nan]), np.ones(2), 0.95, "not a finite number"),
        (np.array(["right"]), np.ones(1), 0.95, "Gains are numbers"),
        (np.ones(2), np.ones(2), 95, "between 0 and 1"),
    ],
)
def test_what_cannot_be_judged_is_refused(a: np.ndarray, b: np.ndarray, confidence: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        judged(a, b, confidence)


# Simulation. A row is right where the sum of its difficulty, what the method makes of it, the seed's shift and the
# seed's noise is above a threshold: a probit model whose shares are solved for what is asked.
ACCURACY, DISAGREEMENT, OTHER_ROWS, SPREAD = 0.83, 0.07, 0.12, 0.005
DRAWS, ROWS, SEEDS = 1000, (300, 1066, 10_000), (3, 5, 10)
MOST = 70  # verdicts of 1,000 draws
THRESHOLD = float(norm.ppf(ACCURACY))
SHIFT = SPREAD / float(norm.pdf(THRESHOLD))  # a shift of the latent sum that moves the accuracy by half a point


def differing(correlation: float, threshold: float) -> float:
    """How many rows only one of two has right, whose sums correlate so."""
    both = multivariate_normal.cdf([threshold, threshold], cov=[[1, correlation], [correlation, 1]])
    return float(2 * (norm.cdf(threshold) - both))


OF_ROW = brentq(lambda share: differing(share, THRESHOLD) - DISAGREEMENT, 0.5, 0.999)  # two seeds share row and method
OF_DIFFICULTY = OF_ROW * brentq(
    lambda share: differing(share, THRESHOLD / math.sqrt(OF_ROW)) - OTHER_ROWS, 0.1, 0.999
)  # what two methods share, where they differ in which rows they get right apart from any seed


def methods(
    generator: np.random.Generator, draws: int, rows: int, seeds: int, *, other_rows: bool, gain: float = 0.0
) -> list[np.ndarray]:
    """Two methods' answers, [draws, seeds, rows] each, the first better by `gain`."""
    shared = OF_DIFFICULTY if other_rows else OF_ROW

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32)

    difficulty = math.sqrt(shared) * normal(draws, 1, rows)
    answers = []
    for more in (gain / norm.pdf(THRESHOLD), 0.0):
        own = math.sqrt(OF_ROW - shared) * normal(draws, 1, rows) if other_rows else 0.0
        right = normal(draws, seeds, rows)
        right *= math.sqrt(1 - OF_ROW)
        right += difficulty + own
        answers.append(right > -np.float32(THRESHOLD + more) - np.float32(SHIFT) * normal(draws, seeds, 1))
    return answers


def drawn(
    seed: int, rows: int, seeds: int, draws: int = DRAWS, **how: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of methods, [seeds, rows] each."""
    generator = np.random.Generator(np.random.SFC64(seed))
    at_once = max(1, 2_000_000 // (rows * seeds))
    for done in range(0, draws, at_once):
        yield from zip(*methods(generator, min(at_once, draws - done), rows, seeds, **how), strict=True)  # type: ignore[arg-type]


def verdicts(pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> int:
    return sum(judged(a, b).verdict != "UNCLEAR" for a, b in pairs)


def test_the_simulated_methods_are_what_they_should_be() -> None:
    a, b = methods(np.random.default_rng(0), 20, 5000, 81, other_rows=True)
    assert a.mean() == pytest.approx(ACCURACY, abs=0.003)
    assert (a[:, 0] != a[:, 1]).mean() == pytest.approx(DISAGREEMENT, abs=0.003)
    most_a, most_b = a.mean(axis=1) > 0.5, b.mean(axis=1) > 0.5
    assert (most_a != most_b).mean() == pytest.approx(OTHER_ROWS, abs=0.004)
    same, as_well = methods(np.random.default_rng(0), 40, 10_000, 10, other_rows=False)
    assert (same[:, 0] != as_well[:, 0]).mean() == pytest.approx(DISAGREEMENT, abs=0.003)
    assert same.mean(axis=2).std(axis=1, ddof=1).mean() == pytest.approx(SPREAD, rel=0.1)
    better, worse = methods(np.random.default_rng(0), 40, 10_000, 10, other_rows=False, gain=0.03)
    assert better.mean() - worse.mean() == pytest.approx(0.03, abs=0.004)


@pytest.mark.parametrize("other_rows", [False, True], ids=["the same method twice", "methods right on other rows"])
@pytest.mark.parametrize("rows", ROWS)
def test_methods_that_do_not_differ_in_the_mean_seldom_get_a_verdict(rows: int, other_rows: bool) -> None:
    told = dict.fromkeys(SEEDS, 0)
    for a, b in drawn(1, rows, max(SEEDS), other_rows=other_rows):
        for seeds in SEEDS:
            told[seeds] += judged(a[:seeds], b[:seeds]).verdict != "UNCLEAR"
    assert max(told.values()) <= MOST, told


def test_an_interval_over_rows_alone_would_take_luck_for_a_method() -> None:
    means = ((a.mean(axis=0), b.mean(axis=0)) for a, b in drawn(1, 10_000, 3, draws=200, other_rows=False))
    assert verdicts(means) > 0.3 * 200


@pytest.mark.parametrize("other_rows", [False, True])
def test_a_gain_of_three_points_is_found(other_rows: bool) -> None:
    found = [judged(a, b).verdict for a, b in drawn(2, 4000, 5, draws=400, other_rows=other_rows, gain=0.03)]
    assert found.count("HELPS") >= 0.95 * 400
    assert "DOES NOT" not in found


def test_few_seeds_against_many_seldom_get_a_verdict() -> None:
    assert verdicts((a[:3], b) for a, b in drawn(3, 2000, 10, other_rows=False)) <= MOST


@pytest.mark.parametrize("seeds", [3, 10])
def test_a_method_no_better_than_a_fixed_model_seldom_gets_a_verdict(seeds: int) -> None:
    generator = np.random.default_rng(4)

    def pair(rows: int = 2000) -> tuple[np.ndarray, np.ndarray]:
        row = math.sqrt(OF_ROW) * generator.standard_normal(rows)
        noise = math.sqrt(1 - OF_ROW) * generator.standard_normal((seeds + 1, rows))
        shift = SHIFT * generator.standard_normal((seeds, 1))
        return row + noise[1:] + shift > -THRESHOLD, row + noise[0] > -THRESHOLD

    assert verdicts(pair() for _ in range(DRAWS)) <= MOST


def errors(generator: np.random.Generator, seeds: int, rows: int) -> np.ndarray:
    """Minus the squared errors of scores, with the heavy tails that real ones have."""
    of_row = 0.6 * generator.standard_t(4, rows)
    of_seed = np.exp(0.02 * generator.standard_normal((seeds, 1)))
    return -((of_row + 0.4 * generator.standard_normal((seeds, rows))) ** 2) * of_seed


def sets(generator: np.random.Generator, seeds: int, rows: int) -> np.ndarray:
    """The shares of five labels that each row has right."""
    of_row = generator.standard_normal((rows, 5)) > -1
    shift = 0.01 * generator.random((seeds, 1, 1))
    return (of_row ^ (generator.random((seeds, rows, 5)) < 0.03 + shift)).mean(axis=2)


@pytest.mark.parametrize("gains", [errors, sets])
@pytest.mark.parametrize("seeds", SEEDS)
def test_scores_and_sets_of_methods_that_do_not_differ_seldom_get_a_verdict(
    gains: Callable[..., np.ndarray], seeds: int
) -> None:
    generator = np.random.default_rng(5)
    assert verdicts((gains(generator, seeds, 500), gains(generator, seeds, 500)) for _ in range(DRAWS)) <= MOST
