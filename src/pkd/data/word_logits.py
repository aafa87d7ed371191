"""Answers for the parts of words as answers for words; needs only numpy, because serving imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def logits_of_words(
    words: Sequence[int], part_counts: NDArray[Any], part_words: NDArray[Any], logits: NDArray[Any], unseen: int
) -> NDArray[np.float32]:
    """Logits [N, W, C] of each word's first part, NaN where a row has fewer words.

    A word without a part, which the tokenizer drops, is given the class `unseen`.

    Args:
        words: [N] the number of words of each row.
        part_counts: [N] the number of parts of each row.
        part_words: [P] the word of each part in its row, ascending in a row.
        logits: [P, C] of the parts.
        unseen: a class id.

    >>> logits_of_words([2, 1], np.array([2, 0]), np.array([0, 0]), np.array([[1, 2], [3, 4]]), 0).tolist()
    [[[1.0, 2.0], [1.0, 0.0]], [[1.0, 0.0], [nan, nan]]]
    """
    count = np.asarray(words, dtype=np.int64)
    of_words = np.full((len(count), max(1, int(count.max(initial=1))), logits.shape[1]), np.nan, np.float32)
    of_words[np.arange(of_words.shape[1]) < count[:, None]] = np.eye(logits.shape[1], dtype=np.float32)[unseen]
    rows = np.repeat(np.arange(len(count)), part_counts)
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (rows[1:] != rows[:-1]) | (part_words[1:] != part_words[:-1])
    of_words[rows[first], part_words[first]] = logits[first]
    return of_words


def unseen_tag(names: Sequence[str]) -> int:
    """The class of a word that a tokenizer drops: O, or the first class where there is none."""
    return list(names).index("O") if "O" in names else 0


def stacked(parts: Sequence[NDArray[Any]], like: NDArray[Any] | None = None) -> NDArray[Any]:
    """Logits of rows, in several arrays, as one; those of words as wide as the longest row, NaN behind a row's end.

    Args:
        parts: of some rows each.
        like: logits of all words; the result is as wide.
    """
    if not parts or parts[0].ndim < 3:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts) if like is None else like.shape[1]
    ends = [((0, 0), (0, width - part.shape[1]), (0, 0)) for part in parts]
    return np.concatenate([np.pad(part, end, constant_values=np.nan) for part, end in zip(parts, ends, strict=True)])
