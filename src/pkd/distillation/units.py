"""How far the units of the teacher's [CLS] states vary over the training rows: what `normalize: units` compares by."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import numpy as np
import torch

from pkd.data.batching import stored_states

_LEAST = 0.01  # of a layer's typical deviation: a unit that hardly moves must not decide the distance


def unit_deviations(rows: datasets.Dataset, teacher_layers: Sequence[int]) -> torch.Tensor:
    """The standard deviation of each unit over annotated rows, [K, H]; of a multiple choice over its choices too.

    In float64 and in the order of the rows, so that every process comes to the same bits. A unit that varies less than
    a hundredth as much as its layer does, in the root mean square, is given that hundredth; where no unit of a layer
    varies, all are given 1.

    Args:
        rows: with the states of `teacher_layers`.
        teacher_layers: K of them, in the order wanted.
    """
    count, first, sums, squares = 0, None, np.zeros(()), np.zeros(())
    for states in stored_states(rows, teacher_layers):  # [B, K, H]
        states = states.astype(np.float64)
        if first is None:  # distances from some row: squares of a large mean would lose what varies
            first, sums, squares = states[0].copy(), np.zeros(states.shape[1:]), np.zeros(states.shape[1:])
        away = states - first
        count += len(away)
        sums = sums + away.sum(axis=0)
        squares = squares + np.square(away).sum(axis=0)
    variances = np.maximum(squares / count - np.square(sums / count), 0.0)
    typical = np.sqrt(variances.mean(axis=1, keepdims=True))  # [K, 1]
    deviations = np.maximum(np.sqrt(variances), _LEAST * typical)
    return torch.from_numpy(np.where(typical > 0, deviations, 1.0)).float()
