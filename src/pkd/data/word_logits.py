"""Answers for the parts of words as answers for words; of the large libraries only numpy, as serving imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.data.tags import tag_continuations


def logits_of_words(
    offsets: Sequence[Sequence[int]],
    part_counts: NDArray[Any],
    part_words: NDArray[Any],
    logits: NDArray[Any],
    names: Sequence[str],
) -> NDArray[np.float32]:
    """Logits [N, W, C] of each word's first part, NaN where a row has fewer words.

    A word without a part goes on with the span of the word that it touches, as in "€5", which BERT's tokenizer does not
    part; one that touches none, which the tokenizer drops, is given O.

    Args:
        offsets: [N] of each row the first and last character of its words, as `word_offsets`.
        part_counts: [N] the number of parts of each row.
        part_words: [P] the word of each part in its row, ascending in a row.
        logits: [P, C] of the parts.
        names: [C] of the classes.

    >>> of = logits_of_words([[0, 1, 1, 2], [0, 1]], np.array([1, 0]), np.array([0]), np.array([[1, 3, 2]]), "OBI")
    >>> of.tolist()
    [[[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]], [[1.0, 0.0, 0.0], [nan, nan, nan]]]
    """
    count = np.array([len(of_row) // 2 for of_row in offsets], dtype=np.int64)
    of_words = np.full((len(count), max(1, int(count.max(initial=1))), logits.shape[1]), np.nan, np.float32)
    lacking = np.arange(of_words.shape[1]) < count[:, None]
    of_words[lacking] = np.eye(logits.shape[1], dtype=np.float32)[_unseen_tag(names)]
    rows = np.repeat(np.arange(len(count)), part_counts)
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (rows[1:] != rows[:-1]) | (part_words[1:] != part_words[:-1])
    of_words[rows[first], part_words[first]] = logits[first]
    lacking[rows[first], part_words[first]] = False
    begins, goes_on = _pairs(names)
    for row, word in np.argwhere(lacking):  # ascending: a word may go on with one that goes on
        if word and offsets[row][2 * word] == offsets[row][2 * word - 1]:
            answer = of_words[row, word - 1].copy()
            both = answer[begins], answer[goes_on]
            answer[begins], answer[goes_on] = np.minimum(*both), np.maximum(*both)
            of_words[row, word] = answer
    return of_words


def _pairs(names: Sequence[str]) -> tuple[list[int], list[int]]:
    """The classes that begin a span, and for each the one that goes on with it."""
    inner = tag_continuations(names)
    begins = [number for number, after in enumerate(inner) if after != number]
    return begins, [inner[number] for number in begins]


def _unseen_tag(names: Sequence[str]) -> int:
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
