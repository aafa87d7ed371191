"""Each loss term's value and its share of the gradient, before step 1: a term that moves nothing is seen at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from pkd.data.batching import is_labelled
from pkd.data.outputs import outputs_of
from pkd.distillation.layers import LayerMap
from pkd.distillation.terms import objective_of, rows_with, weighted
from pkd.distillation.trainer import term_rows
from pkd.encoder.shortcut import cls_only
from pkd.recipe.settings import LossSettings


@dataclass(frozen=True)
class TermEntry:
    """One term: its unweighted value, its weight, and the norm of its gradient in the mean loss over all weights."""

    name: str
    value: float  # mean over the rows that have the term: ce is of labelled ones
    weight: float  # mean over all rows: an unlabelled one has none of ce and kd whole
    gradient_norm: float  # mean over the batches
    share: float  # of the norms of all terms
    value_error: float | None = None  # standard errors: how far the training rows' own may lie from these; None of one
    share_error: float | None = None


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
    *,
    labelled: float | None = None,
    rows: int | None = None,
    autocast_dtype: torch.dtype | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> list[TermEntry]:
    """Measure each term on some batches, without dropout; weights, mode and gradients of the student stay as they were.

    Args:
        student: as it starts, on the device to compute on.
        batches: of annotated rows.
        settings: of the loss.
        layer_map: None where there is no patience.
        labelled: which share of all training rows has a label; None where that of the batches is meant.
        rows: how many training rows there are; None where the batches are a small part of them.
        autocast_dtype: compute matrix products in this type, as training does; None computes in float32.
        on_batch: called after each batch.

    Returns:
        An entry for each of ce, kd and pt that reaches the loss; shares of the sum of the gradients' norms.
    """
    was_training = student.training
    student.train(False)
    of_batches = torch.cat([is_labelled(batch["labels"]) for batch in batches])
    share = of_batches.double().mean().item() if labelled is None else labelled
    objective = objective_of(settings, unlabelled=share < 1)
    kind = outputs_of(student.config).kind
    values: dict[str, list[float]] = {term.name: [] for term in objective}
    norms: dict[str, list[float]] = {term.name: [] for term in objective}
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    for batch in batches:
        batch = {name: column.to(student.device) for name, column in batch.items()}
        with cls_only(student), torch.autocast(student.device.type, autocast_dtype, enabled=autocast_dtype is not None):
            of_batch = term_rows(student, batch, objective, settings, layer_map, kind)
        has_label = is_labelled(batch["labels"])
        for term in objective:
            part = weighted(term, of_batch[term.name], settings, has_label if share < 1 else None).mean()
            gradients = torch.autograd.grad(part, parameters, retain_graph=True, allow_unused=True)
            norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
            values[term.name] += rows_with(term, of_batch[term.name], settings, has_label).tolist()
            norms[term.name].append(norm.item())
        on_batch()
    student.train(was_training)
    mean_norms = {name: sum(each) / len(each) for name, each in norms.items()}
    total = sum(mean_norms.values()) or 1.0
    totals = [sum(of_batch) or 1.0 for of_batch in zip(*norms.values(), strict=True)]
    shares = {name: [norm / of_all for norm, of_all in zip(each, totals, strict=True)] for name, each in norms.items()}
    unseen = 1 - len(of_batches) / rows if rows else 1.0
    return [
        TermEntry(
            name=term.name,
            value=sum(values[term.name]) / max(1, len(values[term.name])),
            weight=share * term.weight(settings) + (1 - share) * term.unlabelled_weight(settings),
            gradient_norm=mean_norms[term.name],
            share=mean_norms[term.name] / total,
            value_error=_error_of_mean(values[term.name], unseen),
            share_error=_error_of_mean(shares[term.name], unseen),
        )
        for term in objective
    ]


def _error_of_mean(values: Sequence[float], unseen: float) -> float | None:
    """The standard error of the mean of some of many values, of which the share `unseen` is not among them."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values) * max(0.0, unseen))


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
