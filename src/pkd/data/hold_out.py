"""Hold out a tenth of the training rows as development rows, if none are named.

The choice depends only on the seed and the texts: a teacher's fine-tuning and its distillation hold out the same rows
of the same file, whatever else they read.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from pkd.data.arrays import column_values
from pkd.data.tokenize import text_columns

if TYPE_CHECKING:
    import datasets

MOST_ROWS = 1_000
_SHARE = 10  # one in ten


def hold_out(rows: datasets.Dataset, seed: int) -> tuple[datasets.Dataset, datasets.Dataset] | None:
    """Split training rows into those that train and those that choose epochs and starts; both keep their order.

    Rows with the same text stay together, so that none is in both parts.

    Args:
        rows: with their texts.
        seed: the recipe's first.

    Returns:
        The two parts; None if there are fewer than ten rows or only one text.
    """
    held = _are_held_out(rows, seed)
    if not held.any():
        return None
    return rows.select(np.flatnonzero(~held)), rows.select(np.flatnonzero(held))


def _are_held_out(rows: datasets.Dataset, seed: int) -> np.ndarray:
    """The mask of the rows that are held out, [N] bool: those whose texts have the smallest hashes."""
    columns = (column_values(rows, column) for column in text_columns(rows))
    hashes = np.fromiter((_hash(seed, texts) for texts in zip(*columns, strict=True)), dtype=np.uint64, count=len(rows))
    _, of_text, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    most, taken = min(MOST_ROWS, len(rows) // _SHARE), 0
    chosen = np.zeros(len(counts), dtype=bool)
    for text, count in enumerate(counts if len(counts) > 1 else ()):
        if taken + count <= most:
            chosen[text] = True
            taken += int(count)
        if taken == most:
            break
    held: np.ndarray = chosen[of_text]
    return held


def _hash(seed: int, texts: tuple[str, ...]) -> int:
    parts = "\0".join([str(seed), *(text.strip() for text in texts)])
    return int.from_bytes(hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
