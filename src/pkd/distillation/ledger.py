"""Each loss term's value and its share of the gradient, before step 1: a term that moves nothing is seen at once.

Where a term is asked for by its share of the gradient, as patience is, its weight follows from the same measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from pkd.data.batching import is_labelled
from pkd.data.outputs import outputs_of
from pkd.distillation.layers import LayerMap
from pkd.distillation.projection import projected
from pkd.distillation.terms import WEAK, Term, TermInputs, objective_of, rows_with, weighed, weighted
from pkd.encoder.inference import cls_states_of, model_inputs, request_layers
from pkd.encoder.shortcut import cls_only
from pkd.errors import RecipeError
from pkd.recipe.settings import LossSettings
from pkd.recipe.spelling import set_to
from pkd.tasks import TaskKind

BATCHES = 16  # that a training begins with: what shares are measured on


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
    needed: float | None = None  # of a term whose share is WEAK: what α or β would bring it there; None if nothing does


@dataclass(frozen=True)
class Sizes:
    """How large a student's terms are as it starts.

    Attributes:
        terms: an entry each.
        rows: that they were measured on.
        labelled: which share of all training rows has a label.
        choices: N of a multiple choice, each of which has its states; else 1.
    """

    terms: tuple[TermEntry, ...]
    rows: int
    labelled: float
    choices: int = 1


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
    rows_at_once: int | None = None,
    deviations: torch.Tensor | None = None,
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
        rows_at_once: rows in a forward pass; None: a whole batch. Gradients are those of whole batches.
        deviations: [K, H], of the teacher's units over the training rows, where states are compared by them.
        autocast_dtype: compute matrix products in this type, as training does; None computes in float32.
        on_batch: called after each batch.

    Returns:
        An entry for each of ce, kd and pt that reaches the loss; shares of the sum of the gradients' norms. A term
        that is asked for by its share has the weight, of four digits, that gives it that share.

    Raises:
        RecipeError: if a term has no gradient that a weight could give a share to.
    """
    was_training = student.training
    student.train(False)
    of_batches = torch.cat([is_labelled(batch["labels"]) for batch in batches])
    share = of_batches.double().mean().item() if labelled is None else labelled
    objective = objective_of(settings, unlabelled=share < 1)
    asked = {term.name: of for term in objective if (of := term.share(settings)) is not None}
    settings = weighed(settings, 1.0)
    kind = outputs_of(student.config).kind
    values: dict[str, list[float]] = {term.name: [] for term in objective}
    norms: dict[str, list[float]] = {term.name: [] for term in objective}
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    for batch in batches:
        size = len(batch["labels"])
        summed: dict[str, list[torch.Tensor | None]] = {term.name: [None] * len(parameters) for term in objective}
        for begin in range(0, size, rows_at_once or size):
            part = {name: column[begin:][: rows_at_once or size].to(student.device) for name, column in batch.items()}
            with (
                cls_only(student),
                torch.autocast(student.device.type, autocast_dtype, enabled=autocast_dtype is not None),
            ):
                of_part = term_rows(student, part, objective, settings, layer_map, kind, deviations)
            has_label = is_labelled(part["labels"])
            for term in objective:
                loss = weighted(term, of_part[term.name], settings, has_label if share < 1 else None).sum() / size
                gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                summed[term.name] = [_plus(*both) for both in zip(summed[term.name], gradients, strict=True)]
                values[term.name] += rows_with(term, of_part[term.name], settings, has_label).tolist()
        for name, of_batch in summed.items():
            norm = torch.stack([gradient.norm() for gradient in of_batch if gradient is not None]).norm()
            norms[name].append(norm.item())
        on_batch()
    student.train(was_training)
    for name, of in asked.items():
        beta = _weight_of_share(of, norms[name], [each for other, each in norms.items() if other != name])
        settings = replace(settings, beta=beta)
        norms[name] = [beta * norm for norm in norms[name]]
    mean_norms = {name: sum(each) / len(each) for name, each in norms.items()}
    mean_weights = {term.name: _mean_weight(term, settings, share) for term in objective}
    total = sum(mean_norms.values()) or 1.0
    totals = [sum(of_batch) or 1.0 for of_batch in zip(*norms.values(), strict=True)]
    shares = {name: [norm / of_all for norm, of_all in zip(each, totals, strict=True)] for name, each in norms.items()}
    unseen = 1 - len(of_batches) / rows if rows else 1.0
    return [
        TermEntry(
            name=term.name,
            value=sum(values[term.name]) / max(1, len(values[term.name])),
            weight=mean_weights[term.name],
            gradient_norm=mean_norms[term.name],
            share=mean_norms[term.name] / total,
            value_error=_error_of_mean(values[term.name], unseen),
            share_error=_error_of_mean(shares[term.name], unseen),
            needed=_needed(term, objective, settings, mean_norms, share, asked),
        )
        for term in objective
    ]


def without_patience(terms: Sequence[TermEntry]) -> list[TermEntry]:
    """The entries of a student that starts as what it is taught: its patience is rounding there, and counts as 0."""
    rest = sum(entry.gradient_norm for entry in terms if entry.name != "pt") or 1.0
    return [
        replace(entry, gradient_norm=0.0, share=0.0, share_error=0.0, needed=None)
        if entry.name == "pt"
        else replace(entry, share=entry.gradient_norm / rest)
        for entry in terms
    ]


def _plus(one: torch.Tensor | None, other: torch.Tensor | None) -> torch.Tensor | None:
    return other if one is None else one if other is None else one + other


def _weight_of_share(share: float, norms: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """The weight that gives a term a share of the mean gradient norms; `norms` are those of weight 1, one a batch."""
    own, rest = sum(norms), sum(map(sum, others))
    weight = share * rest / ((1 - share) * own) if own > 0 else math.inf
    if not math.isfinite(weight):
        raise RecipeError(
            "Patience has no gradient as the student starts, so no weight gives it a share of it: the states that it "
            f"compares are the same already. Give its weight as a number ({set_to('beta', 100)}), other "
            "layers to learn from, or method kd."
        )
    return float(f"{weight:.4g}")  # as it is told, so that the same measurement on another machine is the same loss


def _mean_weight(term: Term, settings: LossSettings, labelled: float) -> float:
    return labelled * term.weight(settings) + (1 - labelled) * term.unlabelled_weight(settings)


def _needed(
    term: Term,
    objective: Sequence[Term],
    settings: LossSettings,
    norms: dict[str, float],
    labelled: float,
    asked: dict[str, float],
) -> float | None:
    """What a weak term's dial would have to be for a share that is not; None where it is not weak, or nothing would."""
    unit = {
        each.name: norms[each.name] / weight for each in objective if (weight := _mean_weight(each, settings, labelled))
    }

    def share_at(value: float) -> float:
        changed: dict[str, Any] = {term.dial: value}
        weights = {each.name: _mean_weight(each, replace(settings, **changed), labelled) for each in objective}
        of = {name: norm * weights[name] for name, norm in unit.items() if name not in asked}
        return of[term.name] * (1 - sum(asked.values())) / (sum(of.values()) or 1.0)

    if not term.dial or term.name in asked or term.name not in unit:
        return None
    low = float(getattr(settings, term.dial))
    high = 1.0 if term.dial == "alpha" else low * 1e12
    if share_at(low) >= WEAK or share_at(high) < WEAK:
        return None
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if share_at(middle) >= WEAK else (middle, high)
    least = min(high, 1 - high) if term.dial == "alpha" and high < 1 else high
    decimals = 2 - math.floor(math.log10(least))  # three digits, near 1 of what is left to it: there they decide
    return round(math.ceil(high * 10.0**decimals) / 10.0**decimals, max(0, decimals))


def term_rows(
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    objective: Sequence[Term],
    settings: LossSettings,
    layer_map: LayerMap | None,
    kind: TaskKind,
    deviations: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Each term's value per row, [B], from one forward pass of the student over a batch.

    `deviations`: [K, H], of the teacher's units, where states are compared by them.
    """
    student_layers = layer_map.student if layer_map else ()
    output: Any = model(**model_inputs(inputs, model), **request_layers(student_layers))
    cls_states = teacher_cls_states = None
    if student_layers:
        states = projected(model, cls_states_of(output.hidden_states, student_layers, len(inputs["labels"])))
        teacher_cls_states = inputs["teacher_cls_states"].view_as(states).flatten(1, -2)
        cls_states = states.flatten(1, -2)  # [B, K, (N,) H] -> [B, K · N, H]: every choice counts as a layer
        if deviations is not None:
            deviations = deviations.repeat_interleave(cls_states.shape[1] // len(deviations), dim=0)  # [K · N, H]
    batch = TermInputs(
        settings=settings,
        kind=kind,
        logits=output.logits,
        labels=inputs["labels"],
        teacher_logits=inputs.get("teacher_logits"),
        cls_states=cls_states,
        teacher_cls_states=teacher_cls_states,
        deviations=deviations,
    )
    return {term.name: term.row_losses(batch) for term in objective}


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
    beta = settings.beta or 0.0
    if settings.pt_reduction == "mean":
        return BetaElsewhere(paper_sum=beta / units, reference_mean=beta)
    return BetaElsewhere(paper_sum=beta, reference_mean=beta * units)
