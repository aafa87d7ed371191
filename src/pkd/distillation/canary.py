"""The canary: before stored answers are used again, the teacher answers some of their rows anew.

The fingerprint of annotated rows covers everything that should matter; this is for what should not and might: another
processor, a library that was built otherwise, a fault of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pkd.data.tokenize import encode
from pkd.distillation.annotation import open_shards
from pkd.encoder.inference import answer_rows

ROWS = 32
# How far a row's answer may lie from the stored one, in units of the stored one's length (of 1, if it is shorter).
# On the demo's encoder and reviews, batches of other sizes move a state by 2e-7 in float32 and 5e-4 in bfloat16,
# bfloat16 against float32 moves it by 1e-3, and storing it in float16 by 4e-4; another row's lies 2e-2 away at least.
_ALLOWED = {None: 1e-3, torch.bfloat16: 2e-2}
# A teacher trained at a high rate moved single rows' logits by 2.4e-2 in bfloat16, by the shape of the batch alone;
# other rows, another teacher or other arithmetic move most of them.
_FEW = 1 / 8  # share of the rows that may lie further away
_FAR = 5.0  # times what is allowed, which no row may


def doubt_answers(
    folder: Path,
    rows: datasets.Dataset,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    teacher_layers: Sequence[int],
    max_length: int,
    autocast_dtype: torch.dtype | None,
    stored_dtype: torch.dtype | None,
    seed: int,
) -> str | None:
    """Why the stored answers to `rows` should not be relied on; None where some rows answered anew agree with them.

    Args:
        folder: of the stored answers.
        rows: what they are answers to.
        teacher: the classifier, on the device to compute on.
        tokenizer: the teacher's.
        teacher_layers: whose states are stored.
        max_length: word pieces a row is cut to.
        autocast_dtype: what matrix products are computed in now.
        stored_dtype: what they were computed in then.
        seed: chooses the rows.
    """
    stored = open_shards(folder)
    if len(stored) != len(rows):
        return f"{len(stored):,} rows are stored, but there are {len(rows):,}"
    if len(rows) == 0:
        return None
    picked = np.sort(np.random.default_rng(seed).permutation(len(rows))[:ROWS])
    some = encode(rows.select(picked), tokenizer, max_length, masks=True)
    answers = answer_rows(teacher, some, layers=teacher_layers, autocast_dtype=autocast_dtype)
    before = stored.select(picked)
    allowed = max(_ALLOWED.get(dtype, _ALLOWED[torch.bfloat16]) for dtype in (autocast_dtype, stored_dtype))
    pairs = {"its logits": (answers.logits, np.asarray(before["teacher_logits"], dtype=np.float32))}
    if answers.cls_states is not None:
        states = before["teacher_cls_states"]
        for place, layer in enumerate(teacher_layers):
            of_layer = np.asarray([row[str(layer)] for row in states], dtype=np.float32)
            pairs[f"the [CLS] state of layer {layer}"] = (answers.cls_states[:, place], of_layer)
    for what, (now, then) in pairs.items():
        far = np.linalg.norm(now - then, axis=1) / np.maximum(np.linalg.norm(then, axis=1), 1.0)
        worst = int(np.argmax(far))
        if is_doubtful(far, allowed):
            return (
                f"asked again, the teacher answers row {picked[worst] + 1:,} otherwise: {what} is off by "
                f"{far[worst]:.2g} of its length, where {allowed:g} may come of the arithmetic"
            )
    return None


def is_doubtful(far: np.ndarray, allowed: float) -> bool:
    """Whether rows lie too far from what is stored: more than a few of them, or one by far.

    >>> one, several = np.zeros(32), np.zeros(32)
    >>> one[3], several[:5] = 0.024, 0.024
    >>> is_doubtful(one, 0.02), is_doubtful(several, 0.02), is_doubtful(10 * one, 0.02)
    (False, True, True)
    """
    return bool(np.mean(~(far <= allowed)) > _FEW or not far.max() <= _FAR * allowed)  # NaN is far
