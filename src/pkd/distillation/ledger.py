"""Each loss term's value and its share of the gradient, before step 1: a term that moves nothing is seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from pkd.data.batching import is_labelled
from pkd.data.labels import outputs_of
from pkd.distillation.layers import LayerMap
from pkd.distillation.trainer import patient_row_parts
from pkd.recipe.settings import LossSettings, ProblemType


@dataclass(frozen=True)
class TermEntry:
    """One term: its unweighted value, its weight, and the norm of its gradient in the mean loss over all weights."""

    name: str
    value: float  # mean over the rows that have the term: ce is of labelled ones
    weight: float  # mean over all rows: an unlabelled one has none of ce and kd whole
    gradient_norm: float
    share: float


@dataclass(frozen=True)
class BetaElsewhere:
    """What this β would be under other reductions, with the same gradient."""

    paper_sum: float  # sum over layers and units (the paper's L_PT)
    reference_mean: float  # mean over rows, layers and units (the reference implementation's)


def measure_terms(
    student: PreTrainedModel,
    batches: Sequence[dict[str, torch.Tensor]],
    settings: LossSettings,
    layer_map: LayerMap | None,
) -> list[TermEntry]:
    """Measure each term on a few batches; weights, mode and gradients of the student are left as they were.

    Args:
        student: as it starts.
        batches: of annotated rows.
        settings: of the loss.
        layer_map: None where there is no patience.

    Returns:
        An entry for each of ce, kd and pt that reaches the loss; shares of the sum of the gradients' norms.
    """
    was_training = student.training
    student.train(False)
    labelled = torch.cat([is_labelled(batch["labels"]) for batch in batches]).double().mean().item()  # their share
    weights = {
        "ce": (1 - settings.alpha) * labelled,
        "kd": settings.alpha * labelled + 1 - labelled,
        "pt": settings.beta,
    }
    problem_type = outputs_of(student.config).problem_type
    values: dict[str, list[float]] = {}
    norms: dict[str, list[float]] = {}
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    for batch in batches:
        parts, terms = patient_row_parts(
            student, batch, settings, layer_map, problem_type=problem_type, unlabelled=labelled < 1
        )
        for name, part in zip(("ce", "kd", "pt"), parts, strict=True):
            if name not in terms:
                continue
            gradients = torch.autograd.grad(part.mean(), parameters, retain_graph=True, allow_unused=True)
            norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
            values.setdefault(name, []).extend(terms[name].tolist())
            norms.setdefault(name, []).append(norm.item())
    student.train(was_training)
    mean_norms = {name: sum(each) / len(each) for name, each in norms.items()}
    total = sum(mean_norms.values()) or 1.0
    return [
        TermEntry(name, sum(values[name]) / max(1, len(values[name])), weights[name], norm, norm / total)
        for name, norm in mean_norms.items()
    ]


def beta_elsewhere(settings: LossSettings, patient_layers: int, hidden_size: int, *, choices: int = 1) -> BetaElsewhere:
    """What β is called under the paper's sum and under the reference implementation's mean.

    Args:
        settings: of the loss.
        patient_layers: K.
        hidden_size: H, the teacher's.
        choices: N of a multiple choice, each of which has its states.

    >>> beta_elsewhere(LossSettings(beta=100), patient_layers=5, hidden_size=768).paper_sum
    0.026041666666666668
    """
    units = patient_layers * choices * hidden_size
    if settings.pt_reduction == "mean":
        return BetaElsewhere(paper_sum=settings.beta / units, reference_mean=settings.beta)
    return BetaElsewhere(paper_sum=settings.beta, reference_mean=settings.beta * units)


def formula(
    settings: LossSettings,
    layer_map: LayerMap | None,
    problem_type: ProblemType = "single_label_classification",
    *,
    unlabelled: bool = False,
) -> str:
    """The loss in words, with its weights and reductions as they will be computed."""
    over = "/classes" if settings.kd_reduction == "mean" else ""
    ce, kd = "CE", f"T²·KL(teacher‖student){over} at T={settings.temperature:g}"
    if problem_type == "regression":
        ce, kd = "(score − label)²", "(score − the teacher's)²"
    elif problem_type == "multi_label_classification":
        ce, kd = "BCE/classes", f"T²·BCE with the teacher's answers{over} at T={settings.temperature:g}"
    parts = [f"{1 - settings.alpha:g}·{ce}"] if settings.alpha < 1 else []
    states = "[CLS] states brought to length 1" if settings.normalize else "[CLS] states as they are"
    per = "mean" if settings.pt_reduction == "mean" else "sum"
    pt = f"{settings.beta:g}·{per} over layers and units of the squared difference of {states}"
    if settings.alpha > 0:
        parts.append(f"{settings.alpha:g}·{kd}")
    if layer_map:
        parts.append(pt)
    text = "loss of a row = " + " + ".join(parts)
    if unlabelled:
        text += "; of an unlabelled row = " + " + ".join([kd] + ([pt] if layer_map else []))
    return text
