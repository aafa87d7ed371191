"""A teacher with skill, and one that has none, by every metric that a recipe may name."""

from __future__ import annotations

import numpy as np
import pytest

from pkd.evaluation.skill import measure_skill
from pkd.tasks import MULTI_LABEL, REGRESSION, SINGLE_LABEL

SINGLE, SETS = SINGLE_LABEL.scoring, MULTI_LABEL.scoring
RARE = np.array([1] * 10 + [0] * 390)  # 2.5 % of the rows


def answering(classes: np.ndarray, width: int = 2) -> np.ndarray:
    return np.eye(width)[classes] * 4 - 2


def alarmed(labels: np.ndarray, rows: int = 40) -> np.ndarray:
    """Answers that find all of the rare class and raise as many false alarms as `rows`."""
    answers = labels.copy()
    answers[-rows:] = 1
    return answers


@pytest.mark.parametrize("metric", SINGLE.metrics_that_choose(2))
def test_a_teacher_that_finds_all_of_a_rare_class_has_skill_and_one_of_swapped_classes_has_none(metric: str) -> None:
    finds = measure_skill(answering(alarmed(RARE)), RARE, SINGLE, metric)
    assert finds.has_skill
    assert finds.is_worse == (metric == "accuracy")
    swapped = measure_skill(answering(1 - alarmed(RARE)), RARE, SINGLE, metric)
    assert swapped.is_worse
    assert not swapped.has_skill


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
def test_classes_in_another_order_are_no_skill(metric: str) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [300, 80, 20]))
    right = measure_skill(answering(labels, 3), labels, SINGLE, metric)
    assert (right.is_worse, right.has_skill) == (False, True)
    turned = measure_skill(answering((labels + 1) % 3, 3), labels, SINGLE, metric)
    assert (turned.is_worse, turned.has_skill) == (True, False)


@pytest.mark.parametrize("metric", SETS.metrics_that_choose(4))
def test_rare_labels_that_are_found_are_skill(metric: str) -> None:
    random = np.random.default_rng(1)
    wanted = (random.random((500, 4)) < 0.03).astype(np.float32)
    answered = np.where((wanted > 0) | (random.random((500, 4)) < 0.05), 2.0, -2.0)
    found = measure_skill(answered, wanted, SETS, metric)
    assert found.has_skill
    turned = measure_skill(answered[:, ::-1], wanted, SETS, metric)
    assert not turned.has_skill


@pytest.mark.parametrize(("change", "worse"), [(1.0, False), (20.0, True), (-1.0, True)])
def test_scores_on_another_scale_are_worse_than_their_mean(change: float, worse: bool) -> None:
    labels = np.random.default_rng(2).normal(size=200)
    found = measure_skill(change * labels[:, None], labels, REGRESSION.scoring, "pearson")
    assert (found.metric, found.is_worse, found.has_skill) == ("mse", worse, not worse)
    assert found.is_better == (not worse)
