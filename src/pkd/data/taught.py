"""The word pieces of rows whose words have tags: windows, and the places where a word's parts are taught."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pkd import progress
from pkd.data.arrays import column_values
from pkd.data.windows import WORDS, Span, Windows, pieces_of, spans_of, special_around, windows_of
from pkd.errors import TeacherError

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

MASK = "[MASK]"  # a masked word in a text without a label
_ROWS_AT_A_TIME = 1000
_UNREAD = 0.01  # share of the words without a part from which it is said
_SHOWN = 3


def words_a_row(dataset: datasets.Dataset) -> list[int]:
    """The number of words of each row."""
    return [len(offsets) // 2 for offsets in column_values(dataset, WORDS)]


def windowed(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, *, masks: bool = False
) -> Iterator[Windows]:
    """What a model reads of every row, in order.

    Args:
        dataset: rows with `text` and `word_offsets`.
        tokenizer: a fast one.
        max_length: word pieces of a window, special tokens included.
        masks: a word `[MASK]` of a row without a label becomes the tokenizer's own mask token, or is left out.

    Raises:
        TeacherError: if the tokenizer does not say where its word pieces are.
    """
    if not tokenizer.is_fast:
        raise TeacherError(
            f"The tokenizer {type(tokenizer).__name__} does not say which characters a word piece stands for, which "
            "tags of words need. Take a model whose folder has a tokenizer.json."
        )
    special = special_around(tokenizer("a").encodings[0])
    columns = ["text", WORDS, *(["label"] if masks and "label" in dataset.column_names else [])]
    rows_of = dataset.select_columns(columns).with_format(None)
    for begin in range(0, len(dataset), _ROWS_AT_A_TIME):
        rows = rows_of[begin : begin + _ROWS_AT_A_TIME]
        texts: list[str] = rows["text"]
        words: list[Sequence[Span]] = [spans_of(flat) for flat in rows[WORDS]]
        if masks:
            labels = rows.get("label", [None] * len(texts))
            for index, label in enumerate(labels):
                if label is None and MASK in texts[index]:
                    texts[index], words[index] = _with_mask(texts[index], words[index], tokenizer.mask_token)
        encodings = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False).encodings
        for text, of_text, encoding in zip(texts, words, encodings or [], strict=True):
            yield windows_of(text, of_text, pieces_of(encoding), special=special, max_length=max_length)


def word_columns(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, *, masks: bool = False
) -> pa.Table:
    """The encoding of rows whose words have tags, as `windowed` reads them.

    Returns:
        `input_ids` (all windows of a row, one after the other), `window_lengths`, `length` (of all windows), and for
        each part of a word `taught` (the index of its first word piece in `input_ids`) and `taught_words` (its word).
    """
    rows = list(windowed(dataset, tokenizer, max_length, masks=masks))
    lists = {
        "input_ids": [row.input_ids for row in rows],
        "window_lengths": [row.lengths for row in rows],
        "taught": [row.taught for row in rows],
        "taught_words": [row.words for row in rows],
    }
    columns = {name: pa.array(values, pa.list_(pa.int32())) for name, values in lists.items()}
    return pa.table({**columns, "length": pa.array([len(row.input_ids) for row in rows], pa.int32())})


def warn_of_unread_words(rows: datasets.Dataset, encoding: datasets.Dataset) -> None:
    """Warn if many words of labelled rows have no part in their encoding: nothing is learned of them."""
    labels = column_values(rows, "label") if "label" in rows.column_names else iter([None] * len(rows))
    words = 0
    unread: list[str] = []
    columns = column_values(rows, "text"), column_values(rows, WORDS), column_values(encoding, "taught_words")
    for text, offsets, taught, label in zip(*columns, labels, strict=True):
        if label is None:  # a masked word is left out on purpose
            continue
        of_row = spans_of(offsets)
        words += len(of_row)
        if len(known := set(taught)) < len(of_row):
            unread += [text[slice(*span)] for number, span in enumerate(of_row) if number not in known]
    if len(unread) > _UNREAD * words:
        told = ", ".join(repr(word) for word in dict.fromkeys(unread[:_SHOWN]))
        progress.warn(
            f"{len(unread) / words:.0%} of the words have no word piece of their own in this tokenizer ({told}), so "
            "nothing is learned of their tags; each is given that of the word it touches, or O."
        )


def _with_mask(text: str, words: Sequence[Span], mask: str | None) -> tuple[str, list[Span]]:
    """The text with the masked words as this tokenizer writes them, and where the words are then."""
    parts: list[str] = []
    moved: list[Span] = []
    length = end = 0
    for start, stop in words:
        word = text[start:stop]
        between = text[end:start]
        parts += [between, (mask or "") if word == MASK else word]
        begins = length + len(between)
        length = begins + len(parts[-1])
        moved.append((begins, length))
        end = stop
    return "".join([*parts, text[end:]]), moved


def evenly(parts: int, count: int) -> np.ndarray:
    """The `count` of `parts` parts whose states are stored, as evenly spaced as whole numbers allow.

    >>> evenly(10, 4)
    array([1, 3, 6, 8])
    """
    return ((np.arange(count) + 0.5) * parts / max(1, count)).astype(np.int64)
