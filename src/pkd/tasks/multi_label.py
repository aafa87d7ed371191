"""Sets of labels: one output per class, which holds or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.probabilities import logit_of_mean_sigmoid, set_words, sigmoid
from pkd.evaluation.word_counts import fit_sets
from pkd.tasks.kind import TaskKind

if TYPE_CHECKING:
    import torch

    from pkd.evaluation.scoring import Scoring

Array = NDArray[Any]


def _ce_rows(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    from pkd.losses import set_ce_loss

    return set_ce_loss(logits, labels)


def _own_labels(logits: torch.Tensor) -> torch.Tensor:
    """The labels that are more probable than not, [B, C]."""
    return (logits > 0).to(logits.dtype)


def _kd_rows(
    logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float, reduction: Literal["mean", "sum"]
) -> torch.Tensor:
    from pkd.losses import set_kd_loss

    return set_kd_loss(logits, teacher_logits, temperature)  # a mean over the labels, as L_CE is


def _scoring() -> Scoring:
    """Micro and macro F1, and the shares of right sets and right labels; differences of the last are tested."""
    from pkd.evaluation import multilabel
    from pkd.evaluation.by_class import blind_to_labels, by_label
    from pkd.evaluation.scoring import Scoring, worse_rows

    return Scoring(
        metric="micro_f1",
        choosing=("micro_f1", "macro_f1", "accuracy"),
        chance_corrected="micro_f1",
        gain="label_accuracy",
        score=multilabel.score,
        compare_with_teacher=multilabel.compare_with_teacher,
        bootstrap_samples=multilabel.bootstrap_samples,
        gain_by_row=multilabel.gain_by_row,
        negative_flips=worse_rows(multilabel.gain_by_row),
        constant=_constant_set,
        constant_in_words=lambda metric: "",
        probabilities=sigmoid,
        answers=set_words,
        label_words=lambda labels, names: set_words(np.where(labels > 0.5, 1.0, -1.0), names),
        label_counts=lambda labels, names: dict(zip(names, (int(count) for count in labels.sum(axis=0)), strict=True)),
        by_class=by_label,
        blind_spots=blind_to_labels,
    )


def _constant_set(labels: Array, classes: int, metric: str) -> Array:
    """The best set: the most common one by accuracy; all or the most common labels by an F1; else those of most "
    "rows."""
    shares = labels.mean(axis=0)
    if metric == "accuracy":
        sets, counts = np.unique(labels > 0.5, axis=0, return_counts=True)
        answered = sets[counts.argmax()]
    elif metric == "macro_f1":
        answered = np.ones(classes, dtype=bool)
    elif metric == "micro_f1":
        order = np.argsort(-shares, kind="stable")
        hits = shares[order].cumsum()
        best = int((2 * hits / (np.arange(1, classes + 1) + shares.sum())).argmax())
        answered = np.isin(np.arange(classes), order[: best + 1])
    else:
        answered = shares > 0.5
    return np.tile(np.where(answered, 1.0, -1.0), (len(labels), 1))


MULTI_LABEL = TaskKind(
    name="multi_label_classification",
    labels_in_words="sets of labels",
    has_sets=True,
    name_in_config="multi_label_classification",
    probabilities=sigmoid,
    words=set_words,
    ce_rows=_ce_rows,
    own_labels=_own_labels,
    kd_rows=_kd_rows,
    ce_formula="BCE(σ(z_student), labels) / C (mean over the C classes)",
    kd_formula="T² · BCE(σ(z_student / T), σ(z_teacher / T))",
    make_scoring=_scoring,
    mean_logits=logit_of_mean_sigmoid,
    mean_formula="logit of the teachers' mean σ(z)",
    fit_word_counts=fit_sets,
)
