"""Test whether a classifier is better than the best constant prediction; run on a teacher before distillation.

Accuracy is not enough if a class is rare: a teacher that finds every case, with a few false alarms, has skill but fewer
right rows than the constant "no". A teacher with its classes in the wrong order has neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkd.evaluation.scoring import Array, Scoring

_MOST_ROWS = 20_000  # enough for any interval
_RESAMPLES = 1000
_TAIL = 0.025


@dataclass(frozen=True, kw_only=True)
class Skill:
    """A model compared with the best constant prediction by `metric`.

    Attributes:
        metric: measures both.
        score: the model's.
        constant: the constant prediction's.
        is_worse: the model is worse by more than chance.
        is_better: it is better by any margin.
        has_skill: it is significantly better by the chance-corrected metric, whatever `metric` gives.
    """

    metric: str
    score: float
    constant: float
    is_worse: bool
    is_better: bool
    has_skill: bool


def measure_skill(logits: Array, labels: Array, scoring: Scoring, metric: str) -> Skill:
    """Compare a model's logits [N, C] with the best constant prediction, on resamples of the rows.

    Raises:
        DataError: if the rows cannot be scored.
        TeacherError: if a logit is not finite.
    """
    rows = np.random.default_rng(0).permutation(len(labels))[:_MOST_ROWS]
    logits, labels = logits[rows], labels[rows]
    by_error = "mse" if scoring.by_error else metric
    score, constant, _, high = _beside_constant(logits, labels, scoring, by_error)
    _, _, skill_low, _ = _beside_constant(logits, labels, scoring, scoring.chance_corrected)
    sign = -1 if by_error == "mse" else 1
    return Skill(
        metric=by_error,
        score=score,
        constant=constant,
        is_worse=high < 0,
        is_better=sign * (score - constant) > 0,
        has_skill=skill_low > 0,
    )


def _beside_constant(logits: Array, labels: Array, scoring: Scoring, metric: str) -> tuple[float, float, float, float]:
    """The model's score, the constant's score, and the interval of their difference."""
    constant = scoring.constant(labels, logits.shape[-1], metric)
    scores = [scoring.score(each, labels)[metric] for each in (logits, constant)]
    of_model, of_constant = (
        scoring.bootstrap_samples(each, labels, resamples=_RESAMPLES, seed=0)[metric] for each in (logits, constant)
    )
    better = of_constant - of_model if metric == "mse" else of_model - of_constant
    low, high = np.quantile(better, [_TAIL, 1 - _TAIL])
    return scores[0], scores[1], float(low), float(high)
