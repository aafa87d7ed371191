"""Narrower students: how much each feed-forward neuron of the teacher matters, and which of them a student keeps.

The importance of a neuron is how much the loss of a row would change without it, to first order: |h · ∂L/∂h|, where the
product is summed over the row's positions before its absolute value is taken, as a mean over rows. That is the Taylor
criterion of Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference" (arXiv
1611.06440), which Michel et al. 2019 (arXiv 1905.10650) use for heads. Neurons are ranked within their layer, so that
no scaling between layers is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pkd.data.arrays import column_array
from pkd.data.batching import TokenRows, first_batches, is_labelled
from pkd.data.outputs import outputs_of
from pkd.data.tokenize import encode
from pkd.encoder.families import depth_of, family_of, layers_of, longest_input, neurons_of
from pkd.encoder.inference import collator_for, label_losses, model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.errors import DataError, RecipeError
from pkd.recipe.spelling import named
from pkd.tasks import TaskKind

BATCHES = 200  # that importance is measured on
BATCH_SIZE = 32
_SEED = 0  # of their order; not the recipe's, so that students of every seed start from the same neurons
_UNITS = ((512, 64), (1, 8))  # from so many neurons on a layer keeps a multiple of this number

Importance = NDArray[np.float64]  # [teacher layers, neurons]


def neuron_importance(
    teacher: PreTrainedModel,
    annotated: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    batches: int = BATCHES,
    on_batch: Callable[[], None] = lambda: None,
) -> Importance:
    """Measure how much each feed-forward neuron of the teacher matters, for `student_from(..., width=0.5)`.

    The loss is the cross-entropy L_CE of the kind of problem with the row's label; of a row without one with the
    teacher's stored answer. Scores have no such answer, so there only rows with a label count. No dropout; batches of
    32 rows in training order.

    Args:
        teacher: a classifier of a supported family, on the device that computes; its mode and weights do not change.
        annotated: rows of `pkd.annotate`.
        tokenizer: the teacher's; not needed for rows with their word pieces.
        batches: the maximum number of batches.
        on_batch: called after each.

    Returns:
        [layers, neurons]: the higher, the more important.

    Raises:
        DataError: if no row has anything to learn from.
        RecipeError: if the rows have no word pieces and there is no tokenizer.
        TeacherError: if the teacher's family is not supported.

    >>> importance = pkd.neuron_importance(teacher, train, tokenizer)  # doctest: +SKIP
    >>> pkd.student_from(teacher, layers=3, width=0.5, importance=importance)  # doctest: +SKIP
    """
    if "input_ids" not in annotated.column_names:
        if tokenizer is None:
            raise RecipeError("The rows are texts; give tokenizer=, the teacher's.")
        longest = min(tokenizer.model_max_length, longest_input(teacher.config))
        annotated = encode(annotated, tokenizer, longest, masks=True)
    lengths, kind = column_array(annotated, "length"), outputs_of(teacher.config).kind
    order = first_batches(len(annotated), lambda rows: lengths[rows], BATCH_SIZE, _SEED, accumulation=1, most=batches)
    collate, table = collator_for(teacher.config), TokenRows(annotated)
    total, rows = np.zeros((depth_of(teacher.config), neurons_of(teacher.config))), 0
    was_training = teacher.training
    teacher.train(False)
    try:
        for picked in order:
            batch = collate(table.__getitems__(picked.tolist()))
            of_rows = row_importance(teacher, batch, kind)
            total += of_rows.sum(dim=0).cpu().double().numpy()
            rows += len(of_rows)
            on_batch()
    finally:
        teacher.train(was_training)
    if not rows:
        raise DataError(
            "The importance of the teacher's neurons cannot be measured: none of the rows has a label, and a teacher "
            "that gives scores has no other answer to hold it against. Name rows with labels."
        )
    return total / rows


def row_importance(teacher: PreTrainedModel, batch: dict[str, torch.Tensor], kind: TaskKind) -> torch.Tensor:
    """|Σ h · ∂L/∂h|, summed over positions and choices, [rows that count, layers, neurons]."""
    labels = _learnt_labels(batch, kind).to(teacher.device)
    counts = is_labelled(labels)
    with torch.enable_grad(), _neurons(teacher) as neurons, cls_only(teacher):
        output: Any = teacher(**model_inputs(batch, teacher, teacher.device))
        loss = label_losses(kind, output.logits, labels, batch).sum()  # a row's gradient is that of its own loss
        flat = [part for parts in neurons for part in parts]
        gradients = iter(torch.autograd.grad(loss, flat))
    of_layers = []
    for parts in neurons:
        products = [(part * next(gradients)).detach().sum(dim=1) for part in parts]  # [B · choices, neurons]
        of_layers.append(sum(products[1:], products[0]).view(len(labels), -1, products[0].shape[-1]).sum(dim=1).abs())
    return torch.stack(of_layers, dim=1)[counts]


def kept_neurons(importance: Importance, neurons: int) -> NDArray[np.int64]:
    """The indices of a layer's most important neurons, in the layer's order; of equal ones the first.

    >>> kept_neurons(np.array([0.1, 0.4, 0.4, 0.3]), 2).tolist()
    [1, 2]
    """
    return np.sort(np.argsort(-importance, kind="stable")[:neurons])


def count_kept(neurons: int, width: float) -> int:
    """How many neurons a layer keeps: the fraction, rounded down to a multiple of 64 (of 8 below 512), at least one.

    >>> count_kept(3072, 0.5), count_kept(1536, 0.3), count_kept(24, 0.5), count_kept(24, 0.1)
    (1536, 448, 8, 8)
    """
    if width == 1:
        return neurons
    unit = next(unit for least, unit in _UNITS if neurons >= least)
    return min(neurons, unit * max(1, int(width * neurons / unit + 1e-9)))


def fingerprint_importance(importance: Importance) -> str:
    """The sha256 of the values, of which narrow students depend on their order."""
    return hashlib.sha256(np.ascontiguousarray(importance).tobytes()).hexdigest()


def check_importance(teacher: PreTrainedModel, importance: Importance | None) -> Importance:
    """The importance, if it fits the teacher.

    Raises:
        RecipeError: if it is missing, or of another shape.
    """
    if importance is None:
        raise RecipeError(
            f"{named('width')} is below 1, but the importance of the teacher's neurons is not given. Measure it: "
            "importance=pkd.neuron_importance(teacher, annotated rows)."
        )
    shape, given = (depth_of(teacher.config), neurons_of(teacher.config)), np.asarray(importance, dtype=np.float64)
    if given.shape != shape or not np.isfinite(given).all():
        raise RecipeError(
            f"The importance is an array of shape {list(given.shape)}; the teacher has {shape[0]} layers of {shape[1]} "
            "neurons, each of which needs a finite number. Measure it: pkd.neuron_importance(teacher, annotated rows)."
        )
    return given


def check_width(width: float) -> None:
    """Check that a width is a fraction.

    Raises:
        RecipeError: if it is none.
    """
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 1:
        raise RecipeError(
            f"{named('width')} is {width!r}; it must be a fraction of the teacher's neurons, above 0 and at most 1."
        )


def narrowed_layer(
    weights: dict[str, torch.Tensor], teacher: PreTrainedModel, importance: Importance, neurons: int
) -> dict[str, torch.Tensor]:
    """The weights of one layer with its most important neurons alone.

    Args:
        weights: of the layer, by their names in it.
        teacher: that the layer is of.
        importance: of the layer's neurons.
        neurons: how many are kept.
    """
    parts = family_of(teacher.config).feed_forward
    kept = torch.from_numpy(kept_neurons(importance, neurons)).to(teacher.device)
    rows = torch.cat([kept, kept + len(importance)]) if parts.gated else kept
    made = {f"{parts.inner}.weight": (0, rows), f"{parts.inner}.bias": (0, rows), f"{parts.outer}.weight": (1, kept)}
    return {name: tensor.index_select(*made[name]) if name in made else tensor for name, tensor in weights.items()}


def _learnt_labels(batch: dict[str, torch.Tensor], kind: TaskKind) -> torch.Tensor:
    """The labels, and the teacher's own answers where there are none."""
    labels, logits = batch.get("labels"), batch.get("teacher_logits")
    if labels is not None and (logits is None or bool(is_labelled(labels).all())):
        return labels
    if logits is None:
        raise DataError(
            "The rows have neither labels nor the teacher's answers. Annotate them first: train = pkd.annotate(train, "
            "teacher, output=...)."
        )
    own = kind.own_labels(logits)
    if labels is None:
        return own
    has_label = is_labelled(labels)
    return torch.where(has_label.view(-1, *[1] * (labels.dim() - 1)), labels, own.to(labels.dtype))


@contextlib.contextmanager
def _neurons(teacher: PreTrainedModel) -> Iterator[list[list[torch.Tensor]]]:
    """Inside the block a forward collects each layer's neurons, [B, L, neurons]; in parts where the layer works so."""
    outer = family_of(teacher.config).feed_forward.outer
    collected: list[list[torch.Tensor]] = [[] for _ in layers_of(teacher)]

    def collect(number: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
        def hook(module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            states = given[0] if given[0].requires_grad else given[0].detach().requires_grad_()  # frozen weights
            collected[number].append(states)
            return (states, *given[1:])

        return hook

    hooks = [
        layer.get_submodule(outer).register_forward_pre_hook(collect(number))
        for number, layer in enumerate(layers_of(teacher))
    ]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()
