"""The terms of L_PKD as pure functions, a value per row, so that the mean over a step's rows is exact.

Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression", arXiv 1908.09355:
L_PKD = (1 − α) L_CE + α L_DS + β L_PT. Shapes: B rows, C classes, K patient layers, H hidden units. Values are
float32 or, if that is what comes in, float64.

The paper's terms are for classes, which include a choice among C texts. Scores and sets of labels use the usual losses
of such heads for L_CE and L_DS; the rest is the same.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

Reduction = Literal["mean", "sum"]
Comparison = Literal["length", "none", "units"]


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


def kd_loss(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float, reduction: Reduction = "sum"
) -> torch.Tensor:
    """L_DS: KL(softmax(z_t / T) ‖ softmax(z_s / T)) · T².

    The paper writes it as a cross-entropy of the same two distributions, which has the same gradient up to the factor
    T²; Hinton et al. 2015 use that factor to keep the term's weight independent of T.

    Args:
        student_logits: [B, C].
        teacher_logits: [B, C].
        temperature: T, above 0.
        reduction: over the C classes: "sum" (the textbook's divergence, which means the same for 2 and for 150) or
            "mean" (the reference implementation's, which the published α and T were tuned with).

    Returns:
        [B].

    >>> kd_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]]), temperature=10)
    tensor([0.])
    """
    # At a high T the two distributions are nearly equal and their terms cancel: in float32 a row's value would be off
    # by more than 1e-5. There are few classes, so float64 costs nothing; only Apple's GPU lacks it.
    wide = torch.float32 if student_logits.device.type == "mps" else torch.float64
    student = F.log_softmax(student_logits.to(wide) / temperature, dim=-1)
    teacher = F.log_softmax(teacher_logits.to(wide) / temperature, dim=-1)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True)  # [B, C]
    loss = _reduce(divergence, reduction, dim=(-1,)) * temperature**2
    return loss.to(at_least_float32(student_logits).dtype)


def score_kd_loss(student_scores: torch.Tensor, teacher_scores: torch.Tensor) -> torch.Tensor:
    """L_DS of a score: the squared distance to the teacher's, without temperature.

    Args:
        student_scores: [B, 1].
        teacher_scores: [B, 1].

    Returns:
        [B].
    """
    return (at_least_float32(student_scores) - at_least_float32(teacher_scores))[:, 0].square()


def set_kd_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """L_DS of a set of labels: binary cross-entropy of sigmoid(z_s / T) with sigmoid(z_t / T), times T².

    A mean over the labels, like L_CE, because each is a separate decision. Minimal, though not zero, when the student
    matches the teacher; the divergence, which `kd_loss` computes for classes, has the same gradient.

    Args:
        student_logits: [B, C].
        teacher_logits: [B, C].
        temperature: T, above 0.

    Returns:
        [B].
    """
    student = at_least_float32(student_logits) / temperature
    teacher = torch.sigmoid(at_least_float32(teacher_logits) / temperature)
    losses = F.binary_cross_entropy_with_logits(student, teacher, reduction="none")  # [B, C]
    return losses.mean(dim=-1) * temperature**2


def pt_loss(
    student_cls_states: torch.Tensor,
    teacher_cls_states: torch.Tensor,
    normalize: Comparison | bool = "length",
    reduction: Reduction = "mean",
    deviations: torch.Tensor | None = None,
) -> torch.Tensor:
    """L_PT: squared distance of the [CLS] states of layer pairs.

    Args:
        student_cls_states: [B, K, H], of the student layers of the map.
        teacher_cls_states: [B, K, H], of the teacher layers that teach them.
        normalize: "length" brings each state to length 1 (the paper), "none" compares them as they are (an option of
            the reference implementation), "units" standardises both by each unit's mean and deviation in the teacher,
            of which the means cancel; True and False are the first two.
        reduction: over the K layers and H units: "mean" (the reference implementation's, which the published β was
            tuned with) or "sum" (the paper's); the sum is K · H times the mean.
        deviations: [K, H], each unit's over the training rows in the teacher; "units" alone needs them.

    Returns:
        [B].
    """
    student = at_least_float32(student_cls_states)
    teacher = at_least_float32(teacher_cls_states)
    if normalize in ("length", True):
        student, teacher = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    difference = student - teacher
    if normalize == "units":
        if deviations is None:
            raise ValueError("normalize is 'units', which needs the deviations of the teacher's units.")
        difference = difference / deviations.to(difference)
    return _reduce(difference.square(), reduction, dim=(-2, -1))


def pkd_loss(
    ce: torch.Tensor,
    kd: torch.Tensor,
    pt: torch.Tensor,
    alpha: float,
    beta: float,
    labelled: torch.Tensor | None = None,
) -> torch.Tensor:
    """L_PKD: (1 − α) ce + α kd + β pt for a labelled row, kd + β pt for an unlabelled one.

    Args:
        ce: [B]; ignored for unlabelled rows.
        kd: [B].
        pt: [B].
        alpha: α, from 0 to 1.
        beta: β, at least 0.
        labelled: [B] bool; None if every row has a label.

    Returns:
        [B].
    """
    of_ce, of_kd = (1 - alpha) * ce, alpha * kd
    if labelled is not None:
        of_ce, of_kd = torch.where(labelled, of_ce, 0.0), torch.where(labelled, of_kd, kd)
    return of_ce + of_kd + beta * pt


def _reduce(values: torch.Tensor, reduction: Reduction, dim: tuple[int, ...]) -> torch.Tensor:
    if reduction == "mean":
        return values.mean(dim)
    if reduction == "sum":
        return values.sum(dim)
    raise ValueError(f"reduction is {reduction!r}; it must be 'mean' or 'sum'.")


def two_logits(logits: torch.Tensor) -> torch.Tensor:
    """The logits (0, z) of two classes, [B, 2], from one output z, [B, 1]: σ(z) = softmax(0, z)[1]."""
    return torch.cat([torch.zeros_like(logits), logits], dim=-1)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32; float64 is unchanged."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
