"""Padded lengths, and batches of similar length; needs only numpy, because serving imports it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LEAST_LENGTH = 3  # word pieces: one between the two special ones
CHARACTERS_A_WORD_PIECE = 50 * 8  # far more than any word piece has: truncation would drop the rest anyway


def round_up(length: int, multiple: int) -> int:
    """Round up to the next multiple.

    >>> round_up(17, 8), round_up(16, 8)
    (24, 16)
    """
    return -(-length // multiple) * multiple


def gpu_length(length: int, positions: int) -> int:
    """Round up to the next multiple of 8, the fastest for a GPU, but not above the model's `positions`.

    >>> gpu_length(17, 66), gpu_length(66, 66)
    (24, 66)
    """
    return min(round_up(length, 8), positions)


def coarse_length(length: int, positions: int) -> int:
    """Round up to one of eight lengths per octave: few batch shapes for some 3 % more word pieces.

    >>> [coarse_length(length, 512) for length in (5, 16, 17, 18, 33, 128, 129)]
    [5, 16, 18, 18, 36, 128, 144]
    """
    return min(round_up(length, 1 << max(0, (length - 1).bit_length() - 4)), positions)


def batches_by_length(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Yield row indices in batches of about `tokens` word pieces at most, padding included; longest rows first."""
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        rows = max(1, tokens // max(1, int(lengths[order[begin]])))
        yield order[begin : begin + rows]
        begin += rows
