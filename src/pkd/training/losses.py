"""What the labels teach: L_CE of each kind of head, a value per row, so that the mean over a step's rows is exact.

Shapes: B rows, C classes. Values are float32 or, if that is what comes in, float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from pkd.recipe.settings import ProblemType


def ce_row_losses(logits: torch.Tensor, labels: torch.Tensor, problem_type: ProblemType) -> torch.Tensor:
    """L_CE of each row, [B], by the kind of problem; a choice among C texts is one of C classes.

    A single output is binary cross-entropy: that of two classes whose logits are 0 and the output.
    """
    if problem_type == "regression":
        return score_ce_loss(logits, labels)
    if problem_type == "multi_label_classification":
        return set_ce_loss(logits, labels)
    if problem_type == "binary_classification":
        logits = two_logits(logits)
    return ce_loss(logits, labels)


def two_logits(logits: torch.Tensor) -> torch.Tensor:
    """The logits of two classes, [B, 2], of which a single output [B, 1] is the second's: σ(z) = softmax(0, z)[1]."""
    return torch.cat([torch.zeros_like(logits), logits], dim=-1)


def ce_loss(student_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """L_CE: cross-entropy with the label; 0 for a row whose label is −100.

    Args:
        student_logits: [B, C].
        labels: [B] class ids.

    Returns:
        [B].
    """
    return F.cross_entropy(at_least_float32(student_logits), labels, ignore_index=-100, reduction="none")


def score_ce_loss(student_scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """L_CE of a score: its squared error, as transformers trains regression; NaN labels give 0.

    Args:
        student_scores: [B, 1].
        labels: [B].

    Returns:
        [B].
    """
    scores = at_least_float32(student_scores)[:, 0]
    return torch.where(labels.isnan(), 0.0, (scores - labels.nan_to_num()).square())


def set_ce_loss(student_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """L_CE of a set of labels: binary cross-entropy, a mean over classes as in transformers; NaN labels give 0.

    Args:
        student_logits: [B, C].
        labels: [B, C], 0 or 1.

    Returns:
        [B].
    """
    logits = at_least_float32(student_logits)
    losses = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num().to(logits.dtype), reduction="none")
    return torch.where(labels.isnan(), 0.0, losses).mean(dim=-1)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32; float64 stays as it is."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
