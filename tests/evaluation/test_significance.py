import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from pkd.errors import DataError
from pkd.evaluation.fidelity import compare_with_teacher
from pkd.evaluation.metrics import score
from pkd.evaluation.significance import exact_mcnemar
from pkd.tasks import SINGLE_LABEL


def some_answers(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, a student's logits and its teacher's, each right more often than not."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    teacher = generator.normal(size=(rows, classes)) + 2 * np.eye(classes)[labels]
    return labels, teacher + generator.normal(size=(rows, classes)), teacher


def naive_intervals(
    logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray, resamples: int, confidence: float, seed: int
) -> dict[str, tuple[float, float]]:
    """The bootstrap as books write it: draw the rows again, score them again."""
    draws = np.random.default_rng(seed).integers(0, len(labels), (resamples, len(labels)))
    samples = [score(logits[d], labels[d]) | compare_with_teacher(logits[d], teacher[d]) for d in draws]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {name: tuple(np.quantile([sample[name] for sample in samples], tails)) for name in samples[0]}


@pytest.mark.parametrize(("rows", "classes"), [(57, 2), (40, 4), (3, 3), (1, 2)])
def test_intervals_equal_those_of_scoring_each_resample_anew(rows: int, classes: int) -> None:
    labels, logits, teacher = some_answers(rows, classes)
    fast = SINGLE_LABEL.scoring.bootstrap_intervals(
        logits, labels, resamples=60, confidence=0.9, seed=3, teacher_logits=teacher
    )
    naive = naive_intervals(logits, labels, teacher, 60, 0.9, 3)
    assert fast.keys() == naive.keys()
    for metric, interval in naive.items():
        assert fast[metric] == pytest.approx(interval, abs=1e-9), metric


def test_resamples_taken_in_several_chunks_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, logits, _ = some_answers(50, 3)
    whole = SINGLE_LABEL.scoring.bootstrap_intervals(logits, labels, resamples=101, confidence=0.95, seed=1)
    monkeypatch.setattr("pkd.evaluation.resampling._DRAWS_AT_ONCE", 500)
    assert SINGLE_LABEL.scoring.bootstrap_intervals(logits, labels, resamples=101, confidence=0.95, seed=1) == whole


def test_without_a_teacher_there_is_no_interval_of_fidelity() -> None:
    labels, logits, _ = some_answers(20, 2)
    intervals = SINGLE_LABEL.scoring.bootstrap_intervals(logits, labels, resamples=10, confidence=0.95, seed=0)
    assert set(intervals) == set(score(logits, labels))


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    labels, logits, _ = some_answers(200, 2)
    of_seed = [
        SINGLE_LABEL.scoring.bootstrap_intervals(logits, labels, resamples=50, confidence=0.95, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert of_seed[0] == of_seed[1] != of_seed[2]


def test_the_accuracys_interval_is_as_wide_as_the_binomials() -> None:
    labels, logits, _ = some_answers(2000, 2)
    accuracy = score(logits, labels)["accuracy"]
    low, high = SINGLE_LABEL.scoring.bootstrap_intervals(logits, labels, resamples=4000, confidence=0.95, seed=0)[
        "accuracy"
    ]
    wanted = 2 * norm.ppf(0.975) * np.sqrt(accuracy * (1 - accuracy) / 2000)
    assert high - low == pytest.approx(wanted, rel=0.06)
    assert low < accuracy < high


def test_ten_thousand_rows_and_two_thousand_resamples_take_seconds() -> None:
    labels, logits, teacher = some_answers(10_000, 20)
    began = time.perf_counter()
    SINGLE_LABEL.scoring.bootstrap_intervals(
        logits, labels, resamples=2000, confidence=0.95, seed=0, teacher_logits=teacher
    )
    assert time.perf_counter() - began < 10


def test_mcnemar_counts_only_the_rows_where_the_two_differ() -> None:
    # a alone has 1 right, b alone 5: two-sided p = 2 (C(6,0) + C(6,1)) / 2^6 = 14/64.
    a = np.array([True] * 4 + [True] + [False] * 5 + [False] * 2)
    b = np.array([True] * 4 + [False] + [True] * 5 + [False] * 2)
    assert exact_mcnemar(a, b) == (1, 5, pytest.approx(14 / 64))


def test_mcnemars_p_is_one_where_the_two_never_differ() -> None:
    same = np.array([True, False, True])
    assert exact_mcnemar(same, same) == (0, 0, 1.0)


def test_mcnemar_refuses_models_of_different_rows() -> None:
    with pytest.raises(DataError, match=r"\(3,\).*\(2,\)"):
        exact_mcnemar(np.ones(3, dtype=bool), np.ones(2, dtype=bool))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_symmetric(pairs: list[tuple[bool, bool]]) -> None:
    a, b = np.array(pairs).T
    only_a, only_b, p = exact_mcnemar(a, b)
    assert exact_mcnemar(b, a) == (only_b, only_a, p)
    assert only_a - only_b == a.sum() - b.sum()
    assert 0 < p <= 1
