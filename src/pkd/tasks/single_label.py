"""One of several classes: the paper's kind of problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.probabilities import predictions, probabilities
from pkd.evaluation.word_counts import fit_classes
from pkd.tasks.kind import TaskKind

if TYPE_CHECKING:
    import torch

    from pkd.evaluation.scoring import Scoring


def class_words(logits: NDArray[Any], names: tuple[str, ...]) -> list[str]:
    """The most probable class per row."""
    return [names[index] for index in predictions(logits)]


def ce_rows(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits [B, C] with class ids [B]."""
    from pkd.losses import ce_loss

    return ce_loss(logits, labels)


def own_labels(logits: torch.Tensor) -> torch.Tensor:
    """The most probable class per row, [B]."""
    return logits.argmax(dim=-1)


def kd_rows(
    logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float, reduction: Literal["mean", "sum"]
) -> torch.Tensor:
    """Divergence of two softened distributions over C classes, from logits [B, C]."""
    from pkd.losses import kd_loss

    return kd_loss(logits, teacher_logits, temperature, reduction)


def scoring() -> Scoring:
    """Accuracy, F1 and Matthews' correlation; differences of accuracy are tested."""
    from pkd.evaluation import fidelity, metrics, significance
    from pkd.evaluation.by_class import blind_to_classes, by_class
    from pkd.evaluation.scoring import Scoring

    return Scoring(
        metric="accuracy",
        choosing=("accuracy", "f1", "macro_f1", "mcc"),
        chance_corrected="mcc",
        gain="accuracy",
        score=metrics.score,
        compare_with_teacher=fidelity.compare_with_teacher,
        bootstrap_samples=significance.bootstrap_samples,
        gain_by_row=_right_by_row,
        negative_flips=fidelity.negative_flips,
        constant=_constant_class,
        constant_in_words=_constant_in_words,
        probabilities=probabilities,
        answers=class_words,
        label_words=lambda labels, names: [names[int(label)] for label in labels],
        label_counts=lambda labels, names: dict(
            zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True)
        ),
        by_class=by_class,
        blind_spots=blind_to_classes,
    )


def _right_by_row(logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(predictions(logits) == labels, dtype=np.float64)


def _constant_class(labels: NDArray[Any], classes: int, metric: str) -> NDArray[Any]:
    """The most common class; for F1 the second class, since predicting the first gives 0."""
    answer = np.zeros(classes)
    answer[1 if metric == "f1" else np.bincount(labels, minlength=classes).argmax()] = 1.0
    return np.tile(answer, (len(labels), 1))


def _constant_in_words(metric: str) -> str:
    return "" if metric == "f1" else ", as the commonest class"


SINGLE_LABEL = TaskKind(
    name="single_label_classification",
    labels_in_words="classes",
    has_classes=True,
    name_in_config="single_label_classification",
    probabilities=probabilities,
    words=class_words,
    ce_rows=ce_rows,
    own_labels=own_labels,
    kd_rows=kd_rows,
    ce_formula="−log p_student(label)",
    kd_formula="T² · KL(softmax(z_teacher / T) ‖ softmax(z_student / T))",
    make_scoring=scoring,
    fit_word_counts=fit_classes,
)
