"""Greedy layer dropping: which layer the teacher's logits miss least, one after the other, by forward passes alone.

Peer et al. 2021, Greedy-layer Pruning (arXiv 2105.14839); they drop by the score on labelled rows, here it is the
distance from the stored logits, which needs no labels and sees more than whether an answer is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel

from pkd.data.arrays import column_array
from pkd.data.word_batches import TEACHER_WORDS, stored_logits
from pkd.distillation.student import student_from
from pkd.encoder.inference import answer_parts, answer_rows
from pkd.tasks import TaskKind

ROWS = 500  # that the distance is measured on


def rows_to_drop_by(annotated: datasets.Dataset) -> datasets.Dataset:
    """At most `ROWS` annotated rows, evenly spaced: files are often sorted by their label."""
    if len(annotated) <= ROWS:
        return annotated
    return annotated.select(np.linspace(0, len(annotated) - 1, ROWS).astype(int))


def least_missed(
    teacher: PreTrainedModel,
    kept: Sequence[int],
    rows: datasets.Dataset,
    kind: TaskKind,
    on_model: Callable[[], None] = lambda: None,
) -> tuple[int, float]:
    """The layer without which the teacher stays closest to its stored logits, and that distance.

    The distance is L_DS at T = 1, summed over classes, as a mean over rows (where words have tags, over their parts):
    for classes the KL divergence, for sets of labels the cross-entropy, for scores the squared difference. Of equally
    good layers the lowest is returned.

    Args:
        teacher: as it was fine-tuned.
        kept: its layers that are still there, counted from 1.
        rows: annotated rows.
        kind: of problem.
        on_model: called after each model that lacks one of them.
    """
    tagged = TEACHER_WORDS in rows.column_names
    of_rows = stored_logits(rows) if tagged else column_array(rows, "teacher_logits")
    stored = torch.tensor(of_rows, dtype=torch.float32)
    distances = {}
    for layer in kept:
        rest = [other for other in kept if other != layer]
        without = student_from(teacher, len(rest), rest).to(teacher.device)  # type: ignore[arg-type]
        answer = answer_parts if tagged else answer_rows
        logits = torch.from_numpy(answer(without, rows).logits)
        distances[layer] = float(kind.kd_rows(logits, stored, 1.0, "sum").mean())
        on_model()
    layer = min(distances, key=lambda each: distances[each])
    return layer, distances[layer]


def left_after_dropping(dropped: Sequence[int], teacher_layers: int, layers: int) -> list[int]:
    """The layers that a student of `layers` layers keeps, from the order in which the teacher's are dropped.

    >>> left_after_dropping([3, 2, 4, 1], teacher_layers=5, layers=3)
    [1, 4, 5]
    """
    gone = set(dropped[: teacher_layers - layers])
    return [layer for layer in range(1, teacher_layers + 1) if layer not in gone]
