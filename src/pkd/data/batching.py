"""Rows become padded batches: length-grouped in an order that depends on seed and epoch alone.

Columns are read from Arrow without a Python object a row, and the teacher's answers come with the row they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import Dataset, Sampler

from pkd.data.labels import IGNORED_LABEL

_BATCHES_A_GROUP = 50


def grouped_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """An order of rows in which each run of `batch_size` rows is of like length.

    Rows are shuffled, cut into groups of 50 batches, sorted by length within a group, and whole batches are shuffled
    again, so that no batch's length tells the step it comes at. A batch that is not full comes last.

    Args:
        lengths: [N] length of each row.
        batch_size: rows a batch.
        seed: of the run.
        epoch: counted from 0.

    Returns:
        [N] a permutation of the row numbers, the same for the same arguments.
    """
    random = np.random.default_rng([seed, epoch])
    shuffled = random.permutation(len(lengths))
    group = batch_size * _BATCHES_A_GROUP
    in_groups = [shuffled[begin : begin + group] for begin in range(0, len(shuffled), group)]
    by_length = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in in_groups] or [shuffled])
    full = len(by_length) // batch_size * batch_size
    batches = by_length[:full].reshape(-1, batch_size)
    return np.concatenate([batches[random.permutation(len(batches))].reshape(-1), by_length[full:]])


class LengthGroupedSampler(Sampler[int]):
    """Yields row numbers in `grouped_order` of the epoch that `set_epoch` names."""

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch's order comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(grouped_order(self.lengths, self.batch_size, self.seed, self.epoch).tolist())

    def __len__(self) -> int:
        return len(self.lengths)


class TokenRows(Dataset[pa.Table]):
    """Encoded rows for a torch DataLoader: a batch's rows come as one Arrow table."""

    def __init__(self, dataset: datasets.Dataset) -> None:
        self.rows = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> pa.Table:
        return self.rows[[index]]

    def __getitems__(self, indices: Sequence[int]) -> pa.Table:
        return self.rows[list(indices)]


class Collator:
    """Pads a table of rows to a batch of tensors.

    Args:
        pad_token_id: what fills the rows up, on the right.
        teacher_layers: the teacher layers whose [CLS] states the loss needs, in its order; () for none.
        multiple_of: lengths are rounded up to a multiple of this (8 suits a GPU).
    """

    def __init__(self, pad_token_id: int, teacher_layers: Sequence[int] = (), multiple_of: int = 1) -> None:
        self.pad_token_id = pad_token_id
        self.teacher_layers = tuple(teacher_layers)
        self.multiple_of = multiple_of

    def __call__(self, table: pa.Table) -> dict[str, torch.Tensor]:
        """Make the batch: B rows, L word pieces, C classes, K layers of H units; of a multiple choice, N choices.

        Returns:
            input_ids, attention_mask and perhaps token_type_ids [B, L] or [B, N, L]; labels where there are any: class
            ids [B] (-100 where a row has none), scores [B] or sets [B, C] (NaN where a row has none); teacher_logits
            [B, C] and teacher_cls_states [B, K, H], or [B, K, N · H], where the rows are annotated.
        """
        several = "choice_lengths" in table.column_names
        lengths = (
            _matrix(_one_chunk(table["choice_lengths"])) if several else table["length"].to_numpy()[:, None]
        )  # [B, N]
        longest = -(-int(lengths.max()) // self.multiple_of) * self.multiple_of
        filled = np.arange(longest) < lengths[:, :, None]  # [B, N, L]
        if not several:
            filled = filled[:, 0]  # [B, L]
        batch = {
            "input_ids": _pad(table["input_ids"], filled, self.pad_token_id),
            "attention_mask": torch.from_numpy(filled.astype(np.int64)),
        }
        if "token_type_ids" in table.column_names:
            batch["token_type_ids"] = _pad(table["token_type_ids"], filled, 0)
        if "label" in table.column_names:
            batch["labels"] = torch.from_numpy(_labels(_one_chunk(table["label"])))
        if "teacher_logits" in table.column_names:
            batch["teacher_logits"] = torch.from_numpy(_matrix(_one_chunk(table["teacher_logits"])))
        if self.teacher_layers:
            batch["teacher_cls_states"] = torch.from_numpy(_cls_states(table, self.teacher_layers))
        return batch


def stored_teacher_layers(dataset: datasets.Dataset) -> tuple[int, ...]:
    """The teacher layers whose [CLS] states the annotated rows carry."""
    states = dataset.features.get("teacher_cls_states")
    return tuple(sorted(int(layer) for layer in states)) if states else ()


def is_labelled(labels: torch.Tensor) -> torch.Tensor:
    """Which rows of a batch have a label, [B] bool, from labels of any kind."""
    if labels.is_floating_point():
        return ~labels.isnan().flatten(1).any(dim=1) if labels.dim() > 1 else ~labels.isnan()
    return labels >= 0


def _labels(column: pa.Array) -> np.ndarray:
    """Class ids [B] int64, scores [B] float32 or sets [B, C] float32; -100 and NaN stand for none."""
    if pa.types.is_integer(column.type):
        ids: np.ndarray = pc.fill_null(column, IGNORED_LABEL).to_numpy(zero_copy_only=False).astype(np.int64)
        return ids
    if not pa.types.is_fixed_size_list(column.type):
        scores: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.float32)  # null becomes NaN
        return scores
    sets = np.full((len(column), column.type.list_size), np.nan, dtype=np.float32)
    sets[column.is_valid().to_numpy(zero_copy_only=False)] = _matrix(column.drop_null())
    return sets


def _pad(column: pa.ChunkedArray, filled: np.ndarray, fill: int) -> torch.Tensor:
    padded = np.full(filled.shape, fill, dtype=np.int64)
    padded[filled] = _one_chunk(column).flatten().to_numpy()
    return torch.from_numpy(padded)


def _cls_states(table: pa.Table, layers: Sequence[int]) -> np.ndarray:
    states = _one_chunk(table["teacher_cls_states"])
    return np.stack([_matrix(pc.struct_field(states, str(layer))) for layer in layers], axis=1)  # [B, K, H]


def _matrix(column: pa.FixedSizeListArray) -> np.ndarray:
    values: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1).copy()  # torch wants memory it may write to


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    chunk = column.combine_chunks()
    return pa.concat_arrays(chunk.chunks) if isinstance(chunk, pa.ChunkedArray) else chunk
