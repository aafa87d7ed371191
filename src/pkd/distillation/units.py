"""The deviations of the teacher's [CLS] units over the training rows, by which `normalize: units` scales states."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import numpy as np
import torch

from pkd.data.batching import stored_states

_LEAST = 0.01  # of a layer's typical deviation: a unit that hardly varies must not dominate the distance


def unit_deviations(rows: datasets.Dataset, teacher_layers: Sequence[int]) -> torch.Tensor:
    """The standard deviation of each unit over annotated rows, [K, H]; of a multiple choice over its choices too.

    Computed in float64 and in the order of the rows, so that every process gets the same bits. The smallest deviation
    is a hundredth of the layer's root mean square; if no unit of a layer varies, all are 1.

    Args:
        rows: with the states of `teacher_layers`.
        teacher_layers: K of them, in the order of the result.
    """
    count, first, sums, squares = 0, None, np.zeros(()), np.zeros(())
    for states in stored_states(rows, teacher_layers):  # [B, K, H]
        states = states.astype(np.float64)
        if first is None:  # from the first row: squares of a large mean would lose precision
            first, sums, squares = states[0].copy(), np.zeros(states.shape[1:]), np.zeros(states.shape[1:])
        away = states - first
        count += len(away)
        sums = sums + away.sum(axis=0)
        squares = squares + np.square(away).sum(axis=0)
    variances = np.maximum(squares / count - np.square(sums / count), 0.0)
    typical = np.sqrt(variances.mean(axis=1, keepdims=True))  # [K, 1]
    deviations = np.maximum(np.sqrt(variances), _LEAST * typical)
    return torch.from_numpy(np.where(typical > 0, deviations, 1.0)).float()
