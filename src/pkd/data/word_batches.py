"""Batches of rows whose words have tags: windows of word pieces, and what is taught at the parts of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pkd.data.label_kinds import IGNORED_LABEL
from pkd.data.taught import evenly

if TYPE_CHECKING:
    import datasets

LOGITS, STATES, TEACHER_WORDS = "teacher_logits", "teacher_word_states", "teacher_words"
TAUGHT, STATED = "taught", "stated"  # in a batch


@dataclass(frozen=True)
class _Lists:
    """A column of lists: all values one after the other, and how many each of B rows has."""

    values: np.ndarray
    counts: np.ndarray  # [B]

    @property
    def begins(self) -> np.ndarray:
        """[B] where each row's values begin."""
        begins: np.ndarray = np.cumsum(self.counts) - self.counts
        return begins

    @property
    def rows(self) -> np.ndarray:
        """The row of each value."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def word_batch(
    table: pa.Table,
    pad_token_id: int,
    teacher_layers: Sequence[int],
    round_length: Callable[[int], int],
    continuations: Sequence[int] | None,
) -> dict[str, torch.Tensor]:
    """Build a batch: B rows of at most N windows of L word pieces, W taught parts, C classes, K layers of H units.

    Where a row was annotated by a reader with other parts, the first part of each word that both have is taught alone.

    Args:
        table: encoded rows, annotated or not.
        pad_token_id: fills windows up on the right.
        teacher_layers: the teacher layers whose states the loss needs, in the loss's order.
        round_length: maps the longest window to the padded length.
        continuations: for each class the class of a further part of the same word; None: the same one.

    Returns:
        input_ids, attention_mask [B, L], or [B, N, L] if a row has several windows; taught [B, W], the place of each
        part in a row's N · L word pieces, -1 where a row has fewer; labels [B, W], -100 there and in unlabelled rows;
        of annotated rows teacher_logits [B, W, C], teacher_word_states [B, K, W, H] and stated [B, W], whether a
        part's states are stored.
    """
    windows, pieces = _lists(table["window_lengths"]), _lists(table["input_ids"])
    lengths = _padded(windows.values, windows.counts, 0)  # [B, N]
    rows, most = lengths.shape
    longest = round_length(int(lengths.max(initial=1)))
    filled = np.arange(longest) < lengths[:, :, None]  # [B, N, L]
    input_ids = np.full(filled.shape, pad_token_id, dtype=np.int64)
    input_ids[filled] = pieces.values
    attended = filled.astype(np.int64)
    attended[:, :, 0] = 1  # a window that a row does not have: attention needs something to look at
    shape = (rows, longest) if most == 1 else filled.shape
    parts, words = _lists(table["taught"]), _lists(table["taught_words"])
    kept, of_teacher = _shared(words, _lists(table[TEACHER_WORDS]) if TEACHER_WORDS in table.column_names else None)
    counts = np.bincount(words.rows[kept], minlength=rows)
    place = np.flatnonzero(filled)[parts.values + pieces.begins[parts.rows]] - parts.rows * most * longest
    batch = {
        "input_ids": torch.from_numpy(input_ids.reshape(shape)),
        "attention_mask": torch.from_numpy(attended.reshape(shape)),
        TAUGHT: torch.from_numpy(_padded(place[kept], counts, -1)),
    }
    if "label" in table.column_names:
        labels = _labels(table["label"], words, continuations)
        batch["labels"] = torch.from_numpy(_padded(labels[kept], counts, IGNORED_LABEL))
    if LOGITS in table.column_names:
        logits = vectors_of(table[LOGITS])  # [P, C] of the teacher's parts
        batch[LOGITS] = torch.from_numpy(_padded(logits[of_teacher], counts, 0))
    if STATES in table.column_names and teacher_layers:
        states, stated = _states(table, teacher_layers, of_teacher, counts)
        batch |= {STATES: states, STATED: stated}
    return batch


def stored_logits(rows: datasets.Dataset) -> np.ndarray:
    """The stored logits [P, C] of the parts of annotated rows, one row after the other."""
    return vectors_of(rows.select_columns([LOGITS]).with_format("arrow")[:][LOGITS])


def stored_parts(rows: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The words [P] of the parts of annotated rows, and each row's number of them [N]."""
    lists = _lists(rows.select_columns([TEACHER_WORDS]).with_format("arrow")[:][TEACHER_WORDS])
    return lists.values, lists.counts


def of_parts(values: pa.Array, counts: np.ndarray) -> pa.ListArray:
    """Values one after the other as lists of so many each."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def mean_of_parts(values: torch.Tensor, exists: torch.Tensor) -> torch.Tensor:
    """The mean over each row's parts, [B]; 0 for a row without any.

    Args:
        values: [P], of the parts that exist, row by row.
        exists: [B, W].
    """
    of_rows = values.new_zeros(exists.shape).masked_scatter(exists, values)
    return of_rows.sum(dim=1) / exists.sum(dim=1).clamp(min=1)


def _states(
    table: pa.Table, layers: Sequence[int], of_teacher: np.ndarray, counts: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, K, W, H], zeros where a part has none, and whether it has some, [B, W]."""
    stored = one_chunk(table[STATES])
    parts = _lists(table[TEACHER_WORDS])
    by_layer = [pc.struct_field(stored, str(layer)) for layer in layers]
    stored_counts = pc.list_value_length(by_layer[0]).to_numpy(zero_copy_only=False).astype(np.int64)
    index = np.full(len(parts.values), -1)  # of each of the teacher's parts among the stored states
    begins = np.cumsum(stored_counts) - stored_counts
    for row, (begin, count, stored_count) in enumerate(zip(parts.begins, parts.counts, stored_counts, strict=True)):
        index[begin + evenly(int(count), int(stored_count))] = begins[row] + np.arange(stored_count)
    picked = index[of_teacher]
    of_layers = []
    for each in by_layer:
        vectors = vectors_of(each)
        values = np.zeros((len(picked), vectors.shape[1] if vectors.ndim > 1 else 0), dtype=vectors.dtype)
        values[picked >= 0] = vectors[picked[picked >= 0]]
        of_layers.append(_padded(values, counts, 0))
    return torch.from_numpy(np.stack(of_layers, axis=1)), torch.from_numpy(_padded(picked >= 0, counts, fill=False))


def _shared(words: _Lists, of_teacher: _Lists | None) -> tuple[np.ndarray, np.ndarray]:
    """The parts that are taught, and for each the teacher's part that teaches it.

    Of a row whose parts are the teacher's, all; of another row the first of each word that both have.
    """
    if of_teacher is None or (
        np.array_equal(words.counts, of_teacher.counts) and np.array_equal(words.values, of_teacher.values)
    ):
        every = np.arange(len(words.values))
        return every, every
    kept, teaching = [], []
    for row in range(len(words.counts)):
        own = words.values[words.begins[row] :][: words.counts[row]]
        other = of_teacher.values[of_teacher.begins[row] :][: of_teacher.counts[row]]
        if np.array_equal(own, other):
            mine = its = np.arange(len(own))
        else:
            _, mine, its = np.intersect1d(own, other, return_indices=True)  # of equal ones the first
        kept.append(words.begins[row] + mine)
        teaching.append(of_teacher.begins[row] + its)
    return np.concatenate(kept).astype(np.int64), np.concatenate(teaching).astype(np.int64)


def _labels(column: pa.ChunkedArray, words: _Lists, continuations: Sequence[int] | None) -> np.ndarray:
    """The label of every part, -100 in rows without."""
    tags = _lists(column)
    labels = np.full(len(words.values), IGNORED_LABEL, dtype=np.int64)
    has_label = (tags.counts > 0)[words.rows]
    labels[has_label] = tags.values[(tags.begins[words.rows] + words.values)[has_label]]
    if continuations is not None:
        further = np.zeros(len(labels), dtype=bool)
        further[1:] = (words.values[1:] == words.values[:-1]) & (words.rows[1:] == words.rows[:-1])
        of_word = further & (labels >= 0)
        labels[of_word] = np.asarray(continuations)[labels[of_word]]
    return labels


def _padded(values: np.ndarray, counts: np.ndarray, fill: float) -> np.ndarray:
    """Values of rows one after the other as [B, W, ...]."""
    filled = np.arange(max(1, int(counts.max(initial=0)))) < counts[:, None]  # [B, W]
    padded = np.full((*filled.shape, *values.shape[1:]), fill, dtype=values.dtype)
    padded[filled] = values
    return padded


def _lists(column: pa.ChunkedArray) -> _Lists:
    lists = one_chunk(column)
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return _Lists(lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64), counts)


def vectors_of(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """[P, C] of a column of lists of vectors."""
    vectors = (one_chunk(column) if isinstance(column, pa.ChunkedArray) else column).flatten()
    values: np.ndarray = vectors.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(vectors), -1).copy()


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column of a table as one array."""
    chunk = column.combine_chunks()
    return pa.concat_arrays(chunk.chunks) if isinstance(chunk, pa.ChunkedArray) else chunk
