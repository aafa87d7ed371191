"""The teacher's pass: the frozen teacher reads every row once, and its answers become two more columns of that row.

The rows are written in shards, so that a killed pass resumes at the next one. The result is a `datasets.Dataset`,
memory-mapped from them: shuffling, filtering or concatenating it keeps each row with its answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pkd import progress
from pkd.data.batching import CLS_STATES, TEACHER, is_answer
from pkd.data.shards import fixed_lists, write_shards
from pkd.data.taught import evenly
from pkd.data.tokenize import check_row_for_row, encode, joined, without_encoding
from pkd.data.word_batches import LOGITS, STATES, TEACHER_WORDS, of_parts
from pkd.encoder.inference import Answers, PartAnswers, answer_parts, answer_rows
from pkd.errors import TeacherError
from pkd.recipe.settings import AnnotationSettings
from pkd.recipe.spelling import set_to


@dataclass(frozen=True)
class TeacherPass:
    """A frozen teacher and how it answers rows.

    Attributes:
        model: the fine-tuned classifier, on the device that computes.
        tokenizer: the teacher's.
        teacher_layers: the layers whose [CLS] states are stored, counted from 1.
        max_length: word pieces that a row is truncated to.
        states_dtype: of the stored states, "float16" or "float32".
        states_share: where words have tags, the share of a row's parts whose states are stored.
        rows_per_shard: rows in a file.
        autocast_dtype: the type of matrix products; None computes in float32.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    teacher_layers: Sequence[int]
    max_length: int
    states_dtype: str = "float16"
    states_share: float = 1.0
    rows_per_shard: int = 4096
    autocast_dtype: torch.dtype | None = None

    def encoded(self, rows: datasets.Dataset) -> datasets.Dataset:
        """The rows as the teacher reads them; masked words of augmented rows become its own mask token."""
        return encode(rows, self.tokenizer, self.max_length, masks=True)

    def parts_with_states(self, counts: np.ndarray) -> np.ndarray:
        """The indices of the parts whose states are stored, of rows with so many parts each."""
        stored = np.ceil(self.states_share * counts).astype(np.int64)
        begins = np.cumsum(counts) - counts
        kept = [begin + evenly(count, some) for begin, count, some in zip(begins, counts, stored, strict=True)]
        return np.concatenate([*kept, np.zeros(0, dtype=np.int64)])

    def answers(
        self, encoded: datasets.Dataset, on_batch: Callable[[int], None] | None = None
    ) -> Answers | PartAnswers:
        """The teacher's logits and states of encoded rows; where words have tags, of their parts."""
        answer = answer_parts if "taught" in encoded.column_names else answer_rows
        return answer(
            self.model, encoded, layers=self.teacher_layers, autocast_dtype=self.autocast_dtype, on_batch=on_batch
        )


def annotate_rows(
    rows: datasets.Dataset,
    teacher: TeacherPass,
    folder: Path,
    *,
    encoding: datasets.Dataset | None = None,
    stage: progress.Stage | None = None,
) -> datasets.Dataset:
    """Write `rows` with their teacher's answers as Arrow shards into `folder`, keeping finished shards.

    Shards with another number of rows or other layers are made again. Under several ranks each must call this.

    Adds to each row `teacher_logits` (float32 [C]) and, if layers are given, `teacher_cls_states`: one [H] per teacher
    layer, under the layer's number. Where words have tags, `teacher_words` has the word of each of a row's parts,
    `teacher_logits` a [C] for each, and `teacher_word_states` by layer an [H] for each, or for a share of them. Word
    pieces are not stored: they are those of a reader, and not of the row.

    Args:
        rows: text columns and perhaps `label` (class ids; null where a row has none).
        teacher: and how it answers.
        folder: of the shards.
        encoding: the word pieces of the rows as the teacher reads them, row for row; without it they are made here.
        stage: receives the number of finished rows.

    Raises:
        TeacherError: if the teacher computes a value that is not finite.
        RankError: if another rank failed.
        Stopped: if a stop was requested; finished shards are kept.
    """
    rows = without_encoding(rows)

    def answered(begin: int, end: int, advance: Callable[[int], None]) -> pa.Table:
        part = _copied(rows.select(range(begin, end)))
        read = teacher.encoded(part) if encoding is None else joined(part, encoding.select(range(begin, end)))
        answers = teacher.answers(read, advance)
        if isinstance(answers, PartAnswers):
            _check_finite_parts(answers, begin, teacher.states_dtype)
            return _with_part_answers(part, answers, teacher)
        _check_finite(answers, begin, teacher.states_dtype)
        return _with_answers(part, answers, teacher)

    if encoding is not None:
        check_row_for_row(rows, encoding)
    cut = cut_of(teacher.rows_per_shard, teacher.teacher_layers)
    return write_shards(folder, len(rows), answered, rows_per_shard=teacher.rows_per_shard, cut=cut, stage=stage)


def cut_of(rows_per_shard: int, teacher_layers: Sequence[int]) -> dict[str, Any]:
    """What shards of one pass must share, besides the inputs of their stage."""
    return {"rows_per_shard": rows_per_shard, "teacher_layers": sorted(teacher_layers)}


def fingerprint_answers(rows: datasets.Dataset) -> dict[str, str]:
    """The sha256 of each part of annotated rows' answers, as `parts_read` names them."""
    parts: dict[str, list[pa.Array]] = {}
    for column in filter(is_answer, rows.column_names):
        values = rows.data.column(column)
        if pa.types.is_struct(values.type):
            for layer in values.type:
                parts[_part(column, layer.name)] = [chunk.field(layer.name) for chunk in values.chunks]
        else:
            parts[_part(column)] = values.chunks
    prints = {}
    for name, chunks in parts.items():
        digest = hashlib.sha256()
        for chunk in chunks:
            flat = chunk.flatten()
            if not pa.types.is_primitive(flat.type):  # vectors of parts
                flat = flat.flatten()
            digest.update(flat.to_numpy().tobytes())
        prints[name] = digest.hexdigest()
    return prints


def parts_read(columns: Collection[str], layers: Sequence[int], stored: Iterable[str]) -> list[str]:
    """The stored parts of answers that a loss reads: whole columns, and its layers of those that have layers.

    Where words have tags, states are those of their parts, and which words these are is always read.

    >>> parts_read({"teacher_logits", "teacher_cls_states"}, [2], ["logits", "cls_states.2", "cls_states.4"])
    ['logits', 'cls_states.2']
    """
    of_states = [CLS_STATES, STATES] if CLS_STATES in columns else []
    read = {_part(column) for column in (*columns, TEACHER_WORDS)}
    read |= {_part(column, layer) for column in (*columns, *of_states) for layer in layers}
    return [part for part in stored if part in read]


def _part(column: str, layer: int | str | None = None) -> str:
    """The name of a column of answers, or of one layer in it."""
    name = column.removeprefix(TEACHER)
    return name if layer is None else f"{name}.{layer}"


def bytes_per_row(
    classes: int, hidden_size: int, teacher_layers: int, settings: AnnotationSettings, *, parts: float = 1
) -> int:
    """About how many bytes an annotated row takes on disk, without its text.

    Where words have tags, a part of a word takes 4 · C + 4 bytes, and K · H · 2 (in float32 4) for its states.

    Args:
        classes: C, of the head.
        hidden_size: H.
        teacher_layers: K, whose states are stored.
        settings: how they are stored.
        parts: answers of a row: one, one for each choice of a question, or one for each part of a word.

    >>> bytes_per_row(13, 384, 2, AnnotationSettings(), parts=20), bytes_per_row(2, 768, 5, AnnotationSettings())
    (31856, 7708)
    """
    state = hidden_size * np.dtype(settings.states_dtype).itemsize * settings.states_share
    return int(parts * (4 * classes + 4 + teacher_layers * state)) + 16


def _copied(rows: datasets.Dataset) -> datasets.Dataset:
    """A few rows that are no selection of many: an encoding would be spread over all of those."""
    return datasets.Dataset(rows.with_format("arrow")[:]) if len(rows) else rows


def _with_answers(shard: datasets.Dataset, answers: Answers, teacher: TeacherPass) -> pa.Table:
    table: pa.Table = shard.data.table
    layers = [str(layer) for layer in teacher.teacher_layers]
    for name, values in answers.columns.items():
        if values.ndim == 2:  # [N, C]
            table = table.append_column(name, fixed_lists(values))
        else:  # [N, K, H]
            by_layer = [fixed_lists(values[:, k].astype(teacher.states_dtype)) for k in range(len(layers))]
            table = table.append_column(name, pa.StructArray.from_arrays(by_layer, layers))
    return table


def _with_part_answers(shard: datasets.Dataset, answers: PartAnswers, teacher: TeacherPass) -> pa.Table:
    table: pa.Table = shard.data.table
    table = table.append_column(TEACHER_WORDS, of_parts(pa.array(answers.words.astype(np.int32)), answers.counts))
    table = table.append_column(LOGITS, of_parts(fixed_lists(answers.logits), answers.counts))
    if answers.states is None:
        return table
    stored = np.ceil(teacher.states_share * answers.counts).astype(np.int64)
    states = answers.states[teacher.parts_with_states(answers.counts)].astype(teacher.states_dtype)
    by_layer = [of_parts(fixed_lists(states[:, k]), stored) for k in range(len(teacher.teacher_layers))]
    names = [str(layer) for layer in teacher.teacher_layers]
    return table.append_column(STATES, pa.StructArray.from_arrays(by_layer, names))


def _check_finite_parts(answers: PartAnswers, begin: int, states_dtype: str) -> None:
    """Check the answers of the parts of words as `_check_finite` does, row by row."""
    states = answers.states
    bad = ~np.isfinite(answers.logits).all(axis=1)
    if states is not None:
        bad |= ~(np.abs(states) <= np.finfo(states_dtype).max).all(axis=(1, 2))
    if bad.any():
        rows = np.unique(np.repeat(np.arange(len(answers.counts)), answers.counts)[bad])
        raise TeacherError(_not_finite(begin + int(rows[0]), len(rows), states_dtype))


def _check_finite(answers: Answers, begin: int, states_dtype: str) -> None:
    bad = np.zeros(len(answers.logits), dtype=bool)
    for values in answers.columns.values():
        bad |= ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if values.ndim > 2:  # a state beyond what the type holds (65504 for float16) would be stored as infinity
            bad |= np.abs(values).max(axis=(1, 2)) > np.finfo(states_dtype).max
    if bad.any():
        raise TeacherError(_not_finite(begin + int(np.argmax(bad)), int(bad.sum()), states_dtype))


def _not_finite(row: int, rows: int, states_dtype: str) -> str:
    return (
        f"The teacher answers row {row:,} (and {rows - 1} more) with values that are not finite or do not fit "
        f"{states_dtype}. Its weights are damaged, or its precision is too low: try "
        f"{set_to('annotation.precision', 'float32')} and {set_to('annotation.states_dtype', 'float32')}."
    )
