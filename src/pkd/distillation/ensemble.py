"""The mean of several teachers: their stored answers to the same rows become the one column that a student learns from.

The logits of the mean take the place of a single teacher's; the [CLS] states are those of one teacher, the lead, whose
layers a student starts from. No teacher is run, so that another teacher costs its own pass alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from pkd import progress
from pkd.data.arrays import column_array
from pkd.data.shards import fixed_lists, open_shards, shard_name, write_shard
from pkd.data.word_batches import TEACHER_WORDS, of_parts, stored_logits, stored_parts
from pkd.encoder.inference import PartAnswers
from pkd.errors import CacheError
from pkd.tasks import TaskKind


@dataclass(frozen=True)
class StoredAnswers:
    """A teacher's answers to some rows.

    Attributes:
        folder: of its annotated rows.
        order: the index in its outputs of each of the lead's outputs; None if they are the same.
        names: of the classes where words have tags, in the lead's order.
    """

    folder: Path
    order: Sequence[int] | None = None
    names: Sequence[str] = ()

    def logits(self) -> np.ndarray:
        """The logits [N, C] of all rows, where words have tags [N, W, C], in the order of the lead's outputs."""
        rows = open_shards(self.folder)
        if TEACHER_WORDS not in rows.column_names:
            return self.stored(0, len(rows))
        words, counts = stored_parts(rows)
        return PartAnswers(counts, words, self.stored(0, len(rows))).of_words(rows, self.names)

    def stored(self, begin: int, end: int) -> np.ndarray:
        """The logits [N, C] of some rows, or [P, C] of the parts of their words, in the order of the lead's outputs."""
        rows = open_shards(self.folder).select(range(begin, end))
        tagged = TEACHER_WORDS in rows.column_names
        logits = stored_logits(rows) if tagged else column_array(rows, "teacher_logits")
        return logits if self.order is None else logits[:, list(self.order)]


def average_answers(
    teachers: Sequence[StoredAnswers],
    lead: int,
    kind: TaskKind,
    folder: Path,
    *,
    rows_per_shard: int,
    stage: progress.Stage | None = None,
) -> datasets.Dataset:
    """Write the lead's annotated rows with the mean of all teachers' logits in place of its own, as shards.

    Args:
        teachers: the answers of each.
        lead: the index of the teacher whose states are kept.
        kind: of problem, which defines the mean.
        folder: of the shards.
        rows_per_shard: rows in a file.
        stage: receives the number of finished rows.

    Raises:
        CacheError: if the teachers answered different numbers of rows.
    """
    rows = open_shards(teachers[lead].folder)
    for each in teachers:
        if (count := len(open_shards(each.folder))) != len(rows):
            raise CacheError(
                f"{each.folder} holds {count:,} rows, but {teachers[lead].folder} {len(rows):,}: not the same rows. "
                "Remove the folder that is wrong; the same command makes it again."
            )
    whole, column = rows.with_format("arrow"), rows.column_names.index("teacher_logits")
    for number, begin in enumerate(range(0, max(len(rows), 1), rows_per_shard)):
        end = min(begin + rows_per_shard, len(rows))
        table = rows.data.table
        if len(rows):
            mean = kind.mean_logits([each.stored(begin, end) for each in teachers])  # [N, C]
            stored: pa.Array = fixed_lists(mean)
            if TEACHER_WORDS in rows.column_names:
                stored = of_parts(stored, stored_parts(rows.select(range(begin, end)))[1])
            table = whole[begin:end].set_column(column, "teacher_logits", stored)
        write_shard(table, folder / shard_name(number))
        if stage:
            stage.reach(end)
    return open_shards(folder)
