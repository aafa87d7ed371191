"""Padded batches of similar length, in an order that depends only on seed and epoch.

Columns are read from Arrow without a Python object per row; the teacher's logits and states come with their row.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import Dataset, Sampler

from pkd.data.label_kinds import IGNORED_LABEL
from pkd.data.tokenize import count_choices
from pkd.data.word_batches import STATES, one_chunk, vectors_of, word_batch
from pkd.runs.fingerprint import fingerprint

if TYPE_CHECKING:
    import datasets

TEACHER = "teacher_"  # begins the names of the columns that hold its answers
CLS_STATES = "teacher_cls_states"  # the [CLS] states among them
STAND_IN = "stand_in"  # marks padding rows, which the loss ignores
_BATCHES_A_GROUP = 50
_ROWS_AT_A_TIME = 10_000


def grouped_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Order rows so that each run of `batch_size` rows has similar length.

    Shuffle the rows, cut them into groups of 50 batches, sort each group by length, then shuffle whole batches, so that
    a batch's length is independent of its step. A batch that is not full comes last.

    Args:
        lengths: [N] length of each row.
        batch_size: rows per batch.
        seed: of the run.
        epoch: counted from 0.

    Returns:
        [N] a permutation of the row indices, the same for the same arguments.
    """
    shuffled, turns = _drawn(len(lengths), batch_size, seed, epoch)
    group = batch_size * _BATCHES_A_GROUP
    in_groups = [shuffled[begin : begin + group] for begin in range(0, len(shuffled), group)]
    by_length = np.concatenate([_by_length(rows, lengths[rows]) for rows in in_groups] or [shuffled])
    full = len(turns) * batch_size
    return np.concatenate([by_length[:full].reshape(-1, batch_size)[turns].reshape(-1), by_length[full:]])


def first_batches(
    rows: int,
    lengths_of: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
    seed: int,
    *,
    accumulation: int,
    most: int,
) -> list[np.ndarray]:
    """Return the row indices of the first batches that `LengthGroupedBatches` yields to a single process.

    Args:
        rows: number of rows.
        lengths_of: maps row indices to lengths; called only for the groups that the batches come from.
        batch_size: rows per batch.
        seed: of the run.
        accumulation: batches per optimiser step.
        most: maximum number of batches.
    """
    step = batch_size * accumulation
    group = step * _BATCHES_A_GROUP
    shuffled, turns = _drawn(rows, step, seed, 0)

    @functools.cache
    def sorted_group(number: int) -> np.ndarray:
        of_group = shuffled[number * group : (number + 1) * group]
        return _by_length(of_group, lengths_of(of_group))

    begins = [int(turn) * step for turn in turns[: -(-most // accumulation)]]
    if len(begins) * accumulation < most and len(turns) * step < rows:  # the partial one comes last
        begins.append(len(turns) * step)
    steps = [sorted_group(begin // group)[begin % group :][:step] for begin in begins]
    return [rows[begin : begin + batch_size] for rows in steps for begin in range(0, len(rows), batch_size)][:most]


def _drawn(rows: int, batch_size: int, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the rows, and the order of the full batches."""
    random = np.random.default_rng([seed, epoch])
    return random.permutation(rows), random.permutation(rows // batch_size)


def _by_length(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return rows[np.argsort(lengths, kind="stable")]


def stand_in(row: int) -> int:
    """Encode a row index as a padding row; its own inverse.

    >>> stand_in(0), stand_in(stand_in(7))
    (-1, 7)
    """
    return ~row


class LengthGroupedBatches(Sampler[list[int]]):
    """Yield a rank's share of each batch, in the `grouped_order` of the current epoch.

    An optimiser step has the rows that one process without accumulation would have in a batch of that size. A step is
    cut into `accumulation` batches of similar length (the last step possibly into fewer). A batch is cut into one part
    per rank; sizes differ by at most one, so that every row counts exactly once. If the last batch has fewer rows than
    there are ranks, a rank without rows must still join the collective: it gets the batch's first row as a padding row
    (`stand_in`), which the loss ignores.

    Args:
        lengths: [N] length of each row.
        batch_size: rows per batch, over all ranks.
        seed: of the run.
        rank: the rank whose share is yielded.
        ranks: number of ranks.
        accumulation: batches per optimiser step.
        drop_last: drop a partial batch.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        accumulation: int = 1,
        drop_last: bool = False,
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.accumulation = accumulation
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order comes next."""
        self.epoch = epoch

    def order(self) -> np.ndarray:
        """[N] the row indices in this epoch's order."""
        return grouped_order(self.lengths, self.batch_size * self.accumulation, self.seed, self.epoch)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order()
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            mine = batch[len(batch) * self.rank // self.ranks : len(batch) * (self.rank + 1) // self.ranks]
            yield mine.tolist() or [stand_in(int(batch[0]))]

    def __len__(self) -> int:
        return len(self.lengths) // self.batch_size if self.drop_last else -(-len(self.lengths) // self.batch_size)


class TokenRows(Dataset[pa.Table]):
    """Encoded rows for a torch DataLoader, which returns a batch as one Arrow table."""

    def __init__(self, dataset: datasets.Dataset) -> None:
        self.rows = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> pa.Table:
        return self.rows[[index]]

    def __getitems__(self, indices: Sequence[int]) -> pa.Table:
        if indices[0] < 0:
            return self.rows[[stand_in(index) for index in indices]].append_column(
                STAND_IN, pa.array([True] * len(indices))
            )
        return self.rows[list(indices)]


def fingerprint_batches(dataset: datasets.Dataset) -> str:
    """Hash (sha256) the columns that training reads, in row order, independent of how they are stored.

    The teacher's states are left out: they are a hundred times larger, and another teacher has other logits.
    """
    values: dict[str, Callable[[pa.Array], np.ndarray]] = {
        "length": lambda column: column.to_numpy(zero_copy_only=False),
        "input_ids": lambda column: column.flatten().to_numpy(zero_copy_only=False),
        "label": _values,
        "teacher_logits": _values,
        "teacher_words": _values,
        "taught": _values,
        "taught_words": _values,
    }
    digests = {name: hashlib.sha256() for name in values if name in dataset.column_names}
    rows = dataset.select_columns(list(digests)).with_format("arrow")
    for begin in range(0, len(dataset), _ROWS_AT_A_TIME):
        table = rows[begin : begin + _ROWS_AT_A_TIME]
        for name, digest in digests.items():
            digest.update(values[name](one_chunk(table[name])).tobytes())
    return fingerprint({name: digest.hexdigest() for name, digest in digests.items()})


def is_answer(column: str) -> bool:
    """Whether a column of annotated rows holds answers of the teacher."""
    return column.startswith(TEACHER)


class Collator:
    """Pad a table of rows to a batch of tensors.

    Args:
        pad_token_id: fills rows up on the right.
        teacher_layers: the teacher layers whose [CLS] states the loss needs, in the loss's order; () for none.
        round_length: maps the longest length in a batch to the padded length; `int` adds nothing.
        continuations: where words have tags, for each class that of a further part of the same word; None: the same.
    """

    def __init__(
        self,
        pad_token_id: int,
        teacher_layers: Sequence[int] = (),
        round_length: Callable[[int], int] = int,
        continuations: Sequence[int] | None = None,
    ) -> None:
        self.pad_token_id = pad_token_id
        self.teacher_layers = tuple(teacher_layers)
        self.round_length = round_length
        self.continuations = continuations

    def __call__(self, table: pa.Table) -> dict[str, torch.Tensor]:
        """Build the batch: B rows, L word pieces, C classes, K layers of H units; N choices for multiple choice.

        Returns:
            input_ids, attention_mask and, if the model uses them, token_type_ids [B, L] or [B, N, L]; labels, if there
            are any: class ids [B] (-100 for an unlabelled row), scores [B] or sets [B, C] (NaN for an unlabelled row);
            for annotated rows every column of the teacher's: teacher_logits [B, C], and of those that hold a vector
            per layer the requested layers: teacher_cls_states [B, K, H], or [B, K, N · H]. Where words have tags, what
            `word_batch` makes.
        """
        if "taught" in table.column_names:
            batch = word_batch(table, self.pad_token_id, self.teacher_layers, self.round_length, self.continuations)
            return batch | _stand_in_of(table)
        several = "choice_lengths" in table.column_names
        lengths = (
            _matrix(one_chunk(table["choice_lengths"])) if several else table["length"].to_numpy()[:, None]
        )  # [B, N]
        longest = self.round_length(int(lengths.max()))
        filled = np.arange(longest) < lengths[:, :, None]  # [B, N, L]
        if not several:
            filled = filled[:, 0]  # [B, L]
        batch = _stand_in_of(table) | {
            "input_ids": _pad(table["input_ids"], filled, self.pad_token_id),
            "attention_mask": torch.from_numpy(filled.astype(np.int64)),
        }
        if "token_type_ids" in table.column_names:
            batch["token_type_ids"] = _pad(table["token_type_ids"], filled, 0)
        if "label" in table.column_names:
            batch["labels"] = torch.from_numpy(_labels(one_chunk(table["label"])))
        for name in filter(is_answer, table.column_names):
            kind = table.schema.field(name).type
            if pa.types.is_fixed_size_list(kind):
                batch[name] = torch.from_numpy(_matrix(one_chunk(table[name])))
            elif pa.types.is_struct(kind) and self.teacher_layers:
                batch[name] = torch.from_numpy(_by_layer(table, name, self.teacher_layers))
        return batch


def _stand_in_of(table: pa.Table) -> dict[str, torch.Tensor]:
    """The mark of padding rows, if the table has it."""
    return {STAND_IN: torch.from_numpy(table[STAND_IN].to_numpy())} if STAND_IN in table.column_names else {}


def stored_teacher_layers(dataset: datasets.Dataset) -> tuple[int, ...]:
    """The teacher layers whose states the annotated rows carry: of [CLS], or of the parts of words."""
    states = dataset.features.get(CLS_STATES) or dataset.features.get(STATES)
    return tuple(sorted(int(layer) for layer in states)) if states else ()


def stored_states(dataset: datasets.Dataset, layers: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the teacher's states of annotated rows in chunks, [B, K, H]: of [CLS], of each choice, or of each part."""
    rows = dataset.with_format("arrow")
    if STATES in dataset.column_names:
        for begin in range(0, len(dataset), _ROWS_AT_A_TIME // 10):
            stored = one_chunk(rows.select_columns([STATES])[begin : begin + _ROWS_AT_A_TIME // 10][STATES])
            yield np.stack([vectors_of(pc.struct_field(stored, str(layer))) for layer in layers], axis=1)
        return
    choices = max(1, count_choices(dataset.column_names))
    for begin in range(0, len(dataset), _ROWS_AT_A_TIME):
        table = rows.select_columns([CLS_STATES])[begin : begin + _ROWS_AT_A_TIME]
        states = _by_layer(table, CLS_STATES, layers)  # [B, K, N · H]
        of_choices = states.reshape(*states.shape[:2], choices, -1)  # [B, K, N, H]
        yield of_choices.swapaxes(1, 2).reshape(-1, len(layers), of_choices.shape[-1])


def is_labelled(labels: torch.Tensor) -> torch.Tensor:
    """Mask of the rows that have a label, [B] bool, for labels of any kind."""
    if labels.is_floating_point():
        return ~labels.isnan().flatten(1).any(dim=1) if labels.dim() > 1 else ~labels.isnan()
    return (labels >= 0).flatten(1).any(dim=1) if labels.dim() > 1 else labels >= 0


def has_unlabelled(dataset: datasets.Dataset) -> bool:
    """Whether any row of a data set has no label."""
    if len(dataset) == 0 or "label" not in dataset.column_names:
        return len(dataset) > 0
    column = dataset.select_columns(["label"]).with_format("arrow")[:]["label"]
    if pa.types.is_list(column.type):
        return bool(column.null_count)
    return not bool(is_labelled(torch.from_numpy(_labels(one_chunk(column)))).all())


def _labels(column: pa.Array) -> np.ndarray:
    """Class ids [B] int64, scores [B] float32 or sets [B, C] float32; -100 and NaN mean no label."""
    if pa.types.is_integer(column.type):
        ids: np.ndarray = pc.fill_null(column, IGNORED_LABEL).to_numpy(zero_copy_only=False).astype(np.int64)
        return ids
    if not pa.types.is_fixed_size_list(column.type):
        scores: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.float32)  # null becomes NaN
        return scores
    sets = np.full((len(column), column.type.list_size), np.nan, dtype=np.float32)
    sets[column.is_valid().to_numpy(zero_copy_only=False)] = _matrix(column.drop_null())
    return sets


def _values(column: pa.Array) -> np.ndarray:
    """Every number of a column of labels or vectors, of ragged ones after the rows' counts."""
    if not pa.types.is_list(column.type):
        return _labels(column)
    counts = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    flat = column.flatten()
    while not pa.types.is_primitive(flat.type):
        flat = flat.flatten()
    return np.concatenate([counts.astype(np.float64), flat.to_numpy(zero_copy_only=False).astype(np.float64)])


def _pad(column: pa.ChunkedArray, filled: np.ndarray, fill: int) -> torch.Tensor:
    padded = np.full(filled.shape, fill, dtype=np.int64)
    padded[filled] = one_chunk(column).flatten().to_numpy()
    return torch.from_numpy(padded)


def _by_layer(table: pa.Table, name: str, layers: Sequence[int]) -> np.ndarray:
    states = one_chunk(table[name])
    return np.stack([_matrix(pc.struct_field(states, str(layer))) for layer in layers], axis=1)  # [B, K, H]


def _matrix(column: pa.FixedSizeListArray) -> np.ndarray:
    values: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), column.type.list_size).copy()  # torch wants memory it may write to
