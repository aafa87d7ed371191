"""The student: an ordinary classifier of the teacher's class with fewer layers, built from the teacher's own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from pkd.encoder.families import cut_config, depth_of, family_of
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
    teacher: PreTrainedModel, layers: int | None = None, start: str | Sequence[int] = "spread"
) -> PreTrainedModel:
    """Build a student from the fine-tuned teacher: some of its layers, and everything else as it is.

    Embeddings, position tables, norms, pooler and head are the teacher's; so is the class, so that a saved student is
    an ordinary folder. The paper starts from the first layers (`start="first"`).

    Args:
        teacher: a classifier of a supported family.
        layers: the student's depth; half the teacher's by default.
        start: the teacher layers to copy: "spread", "first" or a list, counted from 1.

    Returns:
        A model of its own weights, in training mode, on the CPU.

    Raises:
        RecipeError: if the layers asked for do not exist, or `teacher` is no model.
        TeacherError: if the teacher's family cannot be distilled.
    """
    if not isinstance(teacher, PreTrainedModel):
        raise RecipeError(
            f"The teacher is a {type(teacher).__name__}; a student is built from the model itself, as "
            "pkd.load_teacher(folder).model is."
        )
    depth = depth_of(teacher.config)
    chosen = start_layers(start, depth, layers if layers is not None else max(1, depth // 2))
    with torch.random.fork_rng(devices=[]):  # the new weights are overwritten, so their draws must not count
        student = type(teacher)(cut_config(teacher.config, chosen))
    prefix = family_of(teacher.config).layers + "."
    weights = teacher.state_dict()
    student.load_state_dict({name: weights[_in_teacher(name, prefix, chosen)] for name in student.state_dict()})
    student.to(torch.float32)  # type: ignore[arg-type]
    student.train()
    return student


def _in_teacher(name: str, prefix: str, chosen: Sequence[int]) -> str:
    if not name.startswith(prefix):
        return name
    index, rest = name[len(prefix) :].split(".", 1)
    return f"{prefix}{chosen[int(index)] - 1}.{rest}"
