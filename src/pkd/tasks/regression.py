"""Scores: the one output is the number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.probabilities import mean_output
from pkd.evaluation.word_counts import fit_scores
from pkd.tasks.kind import TaskKind

if TYPE_CHECKING:
    import torch

    from pkd.evaluation.scoring import Scoring

Array = NDArray[Any]


def _ce_rows(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    from pkd.losses import score_ce_loss

    return score_ce_loss(logits, labels)


def _own_labels(logits: torch.Tensor) -> torch.Tensor:
    """None, [B]: the squared distance of a score to itself has no gradient."""
    return logits[:, 0] * float("nan")


def _kd_rows(
    logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float, reduction: Literal["mean", "sum"]
) -> torch.Tensor:
    """Squared error; a score has no temperature, and one output needs no reduction."""
    from pkd.losses import score_kd_loss

    return score_kd_loss(logits, teacher_logits)


def _score_words(outputs: Array, names: tuple[str, ...]) -> list[str]:
    return [f"{value:.4g}" for value in outputs[:, 0]]


def _scoring() -> Scoring:
    """Correlations and the squared error; differences of the latter are tested."""
    from pkd.evaluation import regression
    from pkd.evaluation.by_class import blind_to_scores
    from pkd.evaluation.scoring import Scoring, worse_rows

    return Scoring(
        metric="pearson",
        choosing=("pearson", "spearman"),
        chance_corrected="mse",  # correlation ignores a wrong scale, which the labels would pull the student away from
        by_error=True,
        gain="mse",
        score=regression.score,
        compare_with_teacher=regression.compare_with_teacher,
        bootstrap_samples=regression.bootstrap_samples,
        gain_by_row=regression.gain_by_row,
        negative_flips=worse_rows(regression.gain_by_row),
        constant=lambda labels, classes, metric: np.full((len(labels), classes), labels.mean()),
        constant_in_words=lambda metric: ", as the mean score",
        probabilities=_as_they_are,
        answers=_score_words,
        label_words=lambda labels, names: [f"{label:g}" for label in labels],
        label_counts=None,
        by_class=None,
        blind_spots=blind_to_scores,
    )


def _as_they_are(outputs: Array) -> NDArray[np.float64]:
    return outputs.astype(np.float64)


REGRESSION = TaskKind(
    name="regression",
    labels_in_words="scores",
    has_scores=True,
    has_one_output=True,
    name_in_config="regression",
    probabilities=_as_they_are,
    words=_score_words,
    ce_rows=_ce_rows,
    own_labels=_own_labels,
    kd_rows=_kd_rows,
    ce_formula="(z_student − label)²",
    kd_formula="(z_student − z_teacher)²",
    make_scoring=_scoring,
    mean_logits=mean_output,
    mean_formula="mean of the teachers' z",
    fit_word_counts=fit_scores,
)
