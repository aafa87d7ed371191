"""Each loss term's value and its share of the gradient, before step 1: a term that moves nothing is seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from pkd.data.batching import is_labelled
from pkd.data.labels import outputs_of
from pkd.distillation.layers import LayerMap
from pkd.distillation.terms import objective_of, rows_with, weighted
from pkd.distillation.trainer import term_rows
from pkd.recipe.settings import LossSettings


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
        student: as it starts, on the device to compute on.
        batches: of annotated rows.
        settings: of the loss.
        layer_map: None where there is no patience.

    Returns:
        An entry for each of ce, kd and pt that reaches the loss; shares of the sum of the gradients' norms.
    """
    was_training = student.training
    student.train(False)
    labelled = torch.cat([is_labelled(batch["labels"]) for batch in batches])
    share = labelled.double().mean().item()
    objective = objective_of(settings, unlabelled=share < 1)
    problem_type = outputs_of(student.config).problem_type
    values: dict[str, list[float]] = {term.name: [] for term in objective}
    norms: dict[str, list[float]] = {term.name: [] for term in objective}
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    for batch in batches:
        batch = {name: column.to(student.device) for name, column in batch.items()}
        of_batch = term_rows(student, batch, objective, settings, layer_map, problem_type)
        has_label = is_labelled(batch["labels"])
        for term in objective:
            part = weighted(term, of_batch[term.name], settings, has_label if share < 1 else None).mean()
            gradients = torch.autograd.grad(part, parameters, retain_graph=True, allow_unused=True)
            norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
            values[term.name] += rows_with(term, of_batch[term.name], settings, has_label).tolist()
            norms[term.name].append(norm.item())
    student.train(was_training)
    mean_norms = {name: sum(each) / len(each) for name, each in norms.items()}
    total = sum(mean_norms.values()) or 1.0
    return [
        TermEntry(
            name=term.name,
            value=sum(values[term.name]) / max(1, len(values[term.name])),
            weight=share * term.weight(settings) + (1 - share) * term.unlabelled_weight(settings),
            gradient_norm=mean_norms[term.name],
            share=mean_norms[term.name] / total,
        )
        for term in objective
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
