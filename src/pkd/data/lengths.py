"""How much of a text can count, and rows of like length together; numpy alone, for a served model needs it too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHARACTERS_A_WORD_PIECE = 50 * 8  # far more than any word piece has: what is cut here, truncation would cut later


def batches_by_length(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Row numbers in batches of at most about `tokens` word pieces, padding included; the longest rows first."""
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        rows = max(1, tokens // max(1, int(lengths[order[begin]])))
        yield order[begin : begin + rows]
        begin += rows
