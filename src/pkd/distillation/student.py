"""The student: an ordinary classifier of the teacher's class with fewer layers, built from the teacher's own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from pkd.distillation.narrowing import Importance, check_importance, check_width, count_kept, narrowed_layer
from pkd.encoder.families import cut_config, depth_of, family_of, layers_of, neurons_of
from pkd.errors import RecipeError
from pkd.recipe.spelling import named


def start_layers(start: str | Sequence[int], teacher_layers: int, layers: int) -> list[int]:
    """The teacher layers that a student of `layers` layers is copied from, counted from 1.

    "spread" takes layers floor((j − 1) · Nt / Ns) + 1, "first" layers 1 .. Ns (the paper's).

    Raises:
        RecipeError: if that many, or one of the layers named, do not exist.

    >>> start_layers("spread", teacher_layers=12, layers=6)
    [1, 3, 5, 7, 9, 11]
    """
    if not 1 <= layers <= teacher_layers:
        raise RecipeError(
            f"{named('layers')} is {layers}: a student of {layers} layers cannot come from a teacher of "
            f"{teacher_layers}; choose from 1 to {teacher_layers}."
        )
    if start == "first":
        return list(range(1, layers + 1))
    if start == "spread":
        return [j * teacher_layers // layers + 1 for j in range(layers)]
    if isinstance(start, str):
        raise RecipeError(
            f"{named('start')} is {start!r}; it must be spread, first or a list of {layers} teacher layers."
        )
    given = [int(layer) for layer in start]
    in_order = all(before < after for before, after in itertools.pairwise(given))
    if len(given) != layers or not in_order or given[0] < 1 or given[-1] > teacher_layers:
        raise RecipeError(
            f"{named('start')} is {given}; it must name {layers} different teacher layers from 1 to {teacher_layers} "
            "rising."
        )
    return given


def student_from(
    teacher: PreTrainedModel,
    layers: int | None = None,
    start: str | Sequence[int] = "spread",
    *,
    width: float = 1.0,
    importance: Importance | None = None,
) -> PreTrainedModel:
    """Build a student from the fine-tuned teacher: some of its layers, and everything else as it is.

    Embeddings, position tables, norms, pooler and head are the teacher's; so is the class, so that a saved student is
    an ordinary folder. The paper starts from the first layers (`start="first"`). A narrow student keeps the most
    important feed-forward neurons of each layer, and its configuration has a smaller `intermediate_size`.

    Args:
        teacher: a classifier of a supported family.
        layers: the student's depth; half the teacher's by default.
        start: the teacher layers to copy: "spread", "first" or a list, counted from 1.
        width: the fraction of each layer's feed-forward neurons to keep, rounded down to a multiple of 64 (of 8 where
            the teacher has fewer than 512), at least one multiple.
        importance: of the teacher's neurons, as `pkd.neuron_importance(teacher, train, tokenizer)` measures it on
            annotated rows; only a width below 1 needs it.

    Returns:
        A model of its own weights, in training mode, on the CPU.

    Raises:
        RecipeError: if the layers asked for do not exist, a width below 1 has no importance that fits, or `teacher` is
            no model.
        TeacherError: if the teacher's family cannot be distilled.
    """
    if not isinstance(teacher, PreTrainedModel):
        raise RecipeError(
            f"The teacher is a {type(teacher).__name__}; a student is built from the model itself, as "
            "pkd.load_teacher(folder).model is."
        )
    check_width(width)
    depth = depth_of(teacher.config)
    chosen = start_layers(start, depth, layers if layers is not None else max(1, depth // 2))
    neurons = count_kept(neurons_of(teacher.config), width)
    weights = [layers_of(teacher)[layer - 1].state_dict() for layer in chosen]
    if neurons < neurons_of(teacher.config):
        ranks = check_importance(teacher, importance)
        weights = [
            narrowed_layer(of_layer, teacher, ranks[layer - 1], neurons)
            for of_layer, layer in zip(weights, chosen, strict=True)
        ]
    with torch.random.fork_rng(devices=[]):  # the new weights are overwritten, so their draws must not count
        student = type(teacher)(cut_config(teacher.config, chosen, neurons))
    prefix = family_of(teacher.config).layers
    others = {name: tensor for name, tensor in teacher.state_dict().items() if not name.startswith(prefix + ".")}
    numbered = {
        f"{prefix}.{index}.{name}": tensor for index, each in enumerate(weights) for name, tensor in each.items()
    }
    student.load_state_dict(others | numbered)
    student.to(torch.float32)  # type: ignore[arg-type]
    student.train()
    return student
