"""The canary: before stored answers are used again, the teacher answers some of their rows again.

The fingerprint of annotated rows covers everything that should matter; this covers what should not and might: another
processor, another build of a library, faulty memory.
"""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import torch

from pkd.data.batching import TEACHER, stored_states
from pkd.data.shards import open_shards
from pkd.data.word_batches import stored_logits
from pkd.distillation.annotation import TeacherPass
from pkd.encoder.inference import PartAnswers

ROWS = 32
# Allowed distance between a row's answer and the stored one, relative to the stored one's length (at least 1). On the
# demo's encoder and reviews, another batch size moves a state by 2e-7 in float32 and 5e-4 in bfloat16, bfloat16 instead
# of float32 by 1e-3, and storing it in float16 by 4e-4; another row's state is at least 2e-2 away.
_ALLOWED = {None: 1e-3, torch.bfloat16: 2e-2}
# With a teacher trained at a high rate, another shape of the batch alone moved single rows' logits by 2.4e-2 in
# bfloat16; other rows, another teacher or other arithmetic move most rows.
_FEW = 1 / 8  # share of the rows that may be further away
_FAR = 5.0  # times the allowed distance, which no row may exceed


def doubt_answers(
    folder: Path, rows: datasets.Dataset, teacher: TeacherPass, *, stored_dtype: torch.dtype | None, seed: int
) -> str | None:
    """Let the teacher answer some rows again; return how its answers differ from the stored ones, or None.

    Args:
        folder: of the stored answers.
        rows: that were answered.
        teacher: as it would answer now, with the layers whose states are stored.
        stored_dtype: the type of matrix products when the answers were stored.
        seed: chooses the rows.
    """
    stored = open_shards(folder)
    if len(stored) != len(rows):
        return f"{len(stored):,} rows are stored, but there are {len(rows):,}"
    if len(rows) == 0:
        return None
    picked = np.sort(np.random.default_rng(seed).permutation(len(rows))[:ROWS])
    answers = teacher.answers(teacher.encoded(rows.select(picked)))
    before = stored.select(picked)
    allowed = max(_ALLOWED.get(dtype, _ALLOWED[torch.bfloat16]) for dtype in (teacher.autocast_dtype, stored_dtype))
    pairs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if isinstance(answers, PartAnswers):
        pairs = _pairs_of_parts(answers, before, teacher)
        picked = np.repeat(picked, answers.counts)
    for name, values in ({} if isinstance(answers, PartAnswers) else answers.columns).items():
        column, called = before[name], name.removeprefix(TEACHER)
        if values.ndim == 2:  # [N, C]
            pairs[called] = (values, np.asarray(column, dtype=np.float32))
            continue
        for index, layer in enumerate(teacher.teacher_layers):  # [N, K, H]
            of_layer = np.asarray([row[str(layer)] for row in column], dtype=np.float32)
            pairs[f"{called} of layer {layer}"] = (values[:, index], of_layer)
    for what, (now, then) in pairs.items():
        far = np.linalg.norm(now - then, axis=1) / np.maximum(np.linalg.norm(then, axis=1), 1.0)
        if not len(far):
            continue
        worst = int(np.argmax(far))
        if is_doubtful(far, allowed):
            return (
                f"asked again, the teacher answers row {picked[worst] + 1:,} otherwise: its {what} is off by "
                f"{far[worst]:.2g} of its length, where {allowed:g} may come of the arithmetic"
            )
    return None


def _pairs_of_parts(
    answers: PartAnswers, stored: datasets.Dataset, teacher: TeacherPass
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The answers of the parts of words, now and stored; states where they are stored, in the place of others now."""
    then = stored_logits(stored)
    if len(then) != len(answers.logits):
        return {"words": (np.ones((1, 1)), np.zeros((1, 1)))}
    pairs = {"logits": (answers.logits, then)}
    if answers.states is None:
        return pairs
    kept = teacher.parts_with_states(answers.counts)
    of_layers = np.concatenate(list(stored_states(stored, teacher.teacher_layers)))  # [P, K, H]
    for index, layer in enumerate(teacher.teacher_layers):
        before = answers.states[:, index].copy()
        before[kept] = of_layers[:, index]
        pairs[f"states of layer {layer}"] = (answers.states[:, index], before)
    return pairs


def is_doubtful(far: np.ndarray, allowed: float) -> bool:
    """Whether too many rows, or one by far, differ from what is stored.

    >>> one, several = np.zeros(32), np.zeros(32)
    >>> one[3], several[:5] = 0.024, 0.024
    >>> is_doubtful(one, 0.02), is_doubtful(several, 0.02), is_doubtful(10 * one, 0.02)
    (False, True, True)
    """
    return bool(np.mean(~(far <= allowed)) > _FEW or not far.max() <= _FAR * allowed)  # NaN is far
