"""Each loss term's value and share of the gradient before the first step, which shows a term without effect.

If a term is given as a share of the gradient, as patience is, its weight follows from the same measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from pkd.data.batching import CLS_STATES, is_labelled
from pkd.data.outputs import outputs_of
from pkd.data.word_batches import LOGITS, STATED, STATES, TAUGHT, mean_of_parts
from pkd.distillation.layers import LayerMap
from pkd.distillation.projection import projected
from pkd.distillation.terms import WEAK, Term, TermInputs, objective_of, rows_with, weighed, weighted
from pkd.encoder.inference import at_places, cls_states_of, model_inputs, request_layers
from pkd.encoder.shortcut import cls_only
from pkd.errors import RecipeError
from pkd.recipe.settings import LossSettings
from pkd.recipe.spelling import set_to
from pkd.tasks import TaskKind

BATCHES = 16  # the first of a training, on which shares are measured


@dataclass(frozen=True)
class PatientLoss:
    """L_PKD of one student.

    Attributes:
        settings: weights and reductions.
        layer_map: which layers patience compares; None without patience.
        deviations: [K, H], of the teacher's units over the training rows, if states are compared by them.
    """

    settings: LossSettings
    layer_map: LayerMap | None = None
    deviations: torch.Tensor | None = None


@dataclass(frozen=True)
class TermEntry:
    """One term: its unweighted value, its weight, and the norm of its weighted gradient over all parameters."""

    name: str
    value: float  # mean over the rows that have the term; only labelled rows have ce
    weight: float  # mean over all rows; an unlabelled row has no ce, and kd with weight 1
    gradient_norm: float  # mean over the batches
    share: float  # of the sum of all terms' norms
    value_error: float | None = None  # standard errors against the values over all training rows; None for a single one
    share_error: float | None = None
    needed: float | None = None  # for a share below WEAK: the α or β that would reach WEAK; None if none does


@dataclass(frozen=True)
class Sizes:
    """How large a student's terms are as it starts.

    Attributes:
        terms: one entry per term.
        rows: number of measured rows.
        labelled: the share of all training rows with a label.
        choices: N of a multiple choice, each of which has its own states; else 1.
    """

    terms: tuple[TermEntry, ...]
    rows: int
    labelled: float
    choices: int = 1


@dataclass(frozen=True)
class BetaElsewhere:
    """The β of the same gradient under other reductions."""

    paper_sum: float  # sum over layers and units (the paper's L_PT)
    reference_mean: float  # mean over rows, layers and units (the reference implementation's)


def measure_terms(
    student: PreTrainedModel,
    batches: Sequence[dict[str, torch.Tensor]],
    loss: PatientLoss,
    *,
    labelled: float | None = None,
    rows: int | None = None,
    rows_at_once: int | None = None,
    autocast_dtype: torch.dtype | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> list[TermEntry]:
    """Measure each term on some batches without dropout; the student's weights, mode and gradients do not change.

    Args:
        student: as it starts, on the device that computes.
        batches: of annotated rows.
        loss: of the student.
        labelled: the share of all training rows with a label; None uses that of the batches.
        rows: number of training rows; None if the batches are a small part of them.
        rows_at_once: rows in a forward pass; None: a whole batch. Gradients are those of whole batches.
        autocast_dtype: the type of matrix products, as in training; None computes in float32.
        on_batch: called after each batch.

    Returns:
        An entry for each of ce, kd and pt that contributes to the loss; shares are of the sum of the gradients' norms.
        A term given as a share has the weight, of four digits, that gives it that share.

    Raises:
        RecipeError: if a term given as a share has no gradient.
    """
    settings = loss.settings
    was_training = student.training
    student.train(False)
    of_batches = torch.cat([is_labelled(batch["labels"]) for batch in batches])
    share = of_batches.double().mean().item() if labelled is None else labelled
    objective = objective_of(settings, unlabelled=share < 1)
    asked = {term.name: of for term in objective if (of := term.share(settings)) is not None}
    settings = weighed(settings, 1.0)
    loss = replace(loss, settings=settings)
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
                of_part = term_rows(student, part, objective, loss, kind)
            has_label = is_labelled(part["labels"])
            for term in objective:
                of_term = weighted(term, of_part[term.name], settings, has_label if share < 1 else None).sum() / size
                gradients = torch.autograd.grad(of_term, parameters, retain_graph=True, allow_unused=True)
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
    """The entries of a student that starts with the states it is taught: its patience, rounding error, counts as 0."""
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
    """The weight that gives a term a share of the mean gradient norms; `norms` are those at weight 1, one per batch."""
    own, rest = sum(norms), sum(map(sum, others))
    weight = share * rest / ((1 - share) * own) if own > 0 else math.inf
    if not math.isfinite(weight):
        raise RecipeError(
            "Patience has no gradient as the student starts, so no weight gives it a share of it: the states that it "
            f"compares are the same already. Give its weight as a number ({set_to('beta', 100)}), other "
            "layers to learn from, or method kd."
        )
    return float(f"{weight:.4g}")  # rounded, so that the same measurement on another machine gives the same loss


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
    """The α or β that would raise a weak term to the share WEAK; None if the term is not weak, or no value would."""
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
    decimals = 2 - math.floor(math.log10(least))  # three digits; near 1, of the distance to 1
    return round(math.ceil(high * 10.0**decimals) / 10.0**decimals, max(0, decimals))


def term_rows(
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    objective: Sequence[Term],
    loss: PatientLoss,
    kind: TaskKind,
) -> dict[str, torch.Tensor]:
    """Each term's value per row, [B], from one forward pass of the student over a batch."""
    student_layers, deviations = loss.layer_map.student if loss.layer_map else (), loss.deviations
    output: Any = model(**model_inputs(inputs, model), **request_layers(student_layers))
    if TAUGHT in inputs:
        batch, stated = _part_inputs(model, output, inputs, loss, kind)
        exists = inputs[TAUGHT] >= 0  # [B, W]
        return {
            term.name: mean_of_parts(term.row_losses(batch), stated if CLS_STATES in term.reads else exists)
            for term in objective
        }
    cls_states = teacher_cls_states = None
    if student_layers:
        states = projected(model, cls_states_of(output.hidden_states, student_layers, len(inputs["labels"])))
        teacher_cls_states = inputs[CLS_STATES].view_as(states).flatten(1, -2)
        cls_states = states.flatten(1, -2)  # [B, K, (N,) H] -> [B, K · N, H]: every choice counts as a layer
        if deviations is not None:
            deviations = deviations.repeat_interleave(cls_states.shape[1] // len(deviations), dim=0)  # [K · N, H]
    batch = TermInputs(
        settings=loss.settings,
        kind=kind,
        logits=output.logits,
        labels=inputs["labels"],
        teacher_logits=inputs.get("teacher_logits"),
        cls_states=cls_states,
        teacher_cls_states=teacher_cls_states,
        deviations=deviations,
    )
    return {term.name: term.row_losses(batch) for term in objective}


def _part_inputs(
    model: torch.nn.Module, output: Any, inputs: dict[str, torch.Tensor], loss: PatientLoss, kind: TaskKind
) -> tuple[TermInputs, torch.Tensor]:
    """What the terms compare where words have tags, every taught part as a row, and which have states, [B, W]."""
    layers = loss.layer_map.student if loss.layer_map else ()
    exists = stated = inputs[TAUGHT] >= 0  # [B, W]
    values = {
        "logits": at_places(output.logits, inputs[TAUGHT]),  # [B, W, C]
        "labels": inputs["labels"],
        **({"teacher_logits": inputs[LOGITS]} if LOGITS in inputs else {}),
    }
    packed: dict[str, Any] = {name: each[exists] for name, each in values.items()}  # [P, ...]
    if layers:
        stated = exists & inputs[STATED]
        states = torch.stack([at_places(output.hidden_states[layer], inputs[TAUGHT]) for layer in layers], dim=2)
        packed["cls_states"] = projected(model, states[stated].float())  # [P, K, H]
        packed["teacher_cls_states"] = inputs[STATES].movedim(1, 2)[stated].to(packed["cls_states"])
    return TermInputs(settings=loss.settings, kind=kind, deviations=loss.deviations, **packed), stated


def _error_of_mean(values: Sequence[float], unseen: float) -> float | None:
    """The standard error of the mean of a sample, whose population has the share `unseen` outside it."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values) * max(0.0, unseen))


def beta_elsewhere(settings: LossSettings, patient_layers: int, hidden_size: int, *, choices: int = 1) -> BetaElsewhere:
    """The same β under the paper's sum and under the reference implementation's mean.

    Args:
        settings: of the loss.
        patient_layers: K.
        hidden_size: H, the teacher's.
        choices: N of a multiple choice, each of which has its own states.

    >>> beta_elsewhere(LossSettings(beta=100), patient_layers=5, hidden_size=768).paper_sum
    0.026041666666666668
    """
    units = patient_layers * choices * hidden_size
    beta = settings.beta or 0.0
    if settings.pt_reduction == "mean":
        return BetaElsewhere(paper_sum=beta / units, reference_mean=beta)
    return BetaElsewhere(paper_sum=beta, reference_mean=beta * units)
