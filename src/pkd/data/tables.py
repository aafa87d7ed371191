"""The tables that file readers return: Arrow columns, and the line that each row begins on, for messages.

Only the columns that are used are kept, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pkd.data.choices import read_answer
from pkd.data.find_columns import Columns
from pkd.data.words import word_offsets, words_of

Choose = Callable[[Sequence[str]], Columns]

WORD_OFFSETS = pa.list_(pa.int32())  # of a row's W words: start and end of each, 2W characters
_ROWS_A_CHUNK = 10_000
_SHOWN = 5


@dataclass(frozen=True)
class RawTable:
    """The unchanged columns of a source; `labels`, `ids` and `lines` are None if it has none.

    For multiple choice, `texts` are the question, after its context if it has one, `choices` the list of each row's
    choices, and a label is the possible readings of the answer (`Readings`). For `label_set` columns a label is the
    list of their values. Where every word has a tag, `words` are the words' characters [2W] in the one text, and a
    label is `Tagged` or the list of tags; with `has_spans` it is the list of the text's spans. `is_typed`: the format
    distinguishes text from numbers; CSV does not. `begin`: number of rows of the source before this part.
    """

    source: str
    texts: tuple[pa.ChunkedArray, ...]
    labels: pa.ChunkedArray | list[Any] | None = None
    ids: pa.ChunkedArray | list[Any] | None = None
    choices: pa.ChunkedArray | None = None
    groups: list[str] | None = None
    words: pa.ChunkedArray | None = None
    has_spans: bool = False
    lines: np.ndarray[Any, np.dtype[np.int64]] | None = None
    is_typed: bool = True
    begin: int = 0


@dataclass
class RowBuffer:
    """Collects rows; packs their texts into Arrow chunks, which are several times smaller."""

    columns: Columns
    is_typed: bool = True  # the format distinguishes text from numbers
    texts: list[list[str | None]] = field(init=False)
    packed: list[list[pa.Array]] = field(init=False)
    choices: list[list[str]] = field(init=False)
    packed_choices: list[pa.Array] = field(init=False)
    labels: list[Any] = field(init=False)
    ids: list[Any] = field(init=False)
    lines: list[int] = field(init=False)
    groups: list[str] = field(init=False)
    words: list[Sequence[int]] = field(init=False)
    packed_words: list[pa.Array] = field(init=False)

    def __post_init__(self) -> None:
        self.texts = [[] for _ in self.columns.text]
        self.packed = [[] for _ in self.columns.text]
        self.choices, self.packed_choices = [], []
        self.labels, self.ids, self.lines, self.groups = [], [], [], []
        self.words, self.packed_words = [], []

    def __len__(self) -> int:
        return len(self.lines)

    def add_record(
        self,
        line: int,
        record: Mapping[str, Any],
        where: str,
        choices: Sequence[str] | None = None,
        choice_labels: Sequence[str] = (),
    ) -> None:
        """Add a row from its named columns; `choices` unless they have their own columns.

        Raises:
            DataError: if the answer to a question is none of its choices.
        """
        columns = self.columns
        row_id = None if columns.row_id is None else record.get(columns.row_id)
        if columns.has_tokens:
            words = words_of(record[columns.text[0]], columns.text[0], where)
            tags = None if columns.label is None else record[columns.label]
            self.add_words(line, " ".join(words), word_offsets(words), tags, row_id)
            return
        texts: Sequence[str | None] = [record[name] for name in columns.text]
        label = None if columns.label is None else record[columns.label]
        if columns.label_set:
            label = [record[name] for name in columns.label_set]
        if columns.has_choices:
            choices = [record[name] for name in columns.choice_set] if choices is None else choices
            label = None if label is None else read_answer(label, choices, where, choice_labels)
            self.choices.append(list(choices))
        if columns.group is not None:
            self.groups.append(str(record.get(columns.group)))
        self.add(line, texts, label, row_id)

    def add(self, line: int, texts: Sequence[str | None], label: Any = None, row_id: Any = None) -> None:
        """Add a row with one text per text column."""
        for column, text in zip(self.texts, texts, strict=True):
            column.append(text)
        self.labels.append(label)
        self.ids.append(row_id)
        self.lines.append(line)
        if len(self.texts[0]) >= _ROWS_A_CHUNK:
            self._pack()

    def add_words(self, line: int, text: str, words: Sequence[int], label: Any, row_id: Any = None) -> None:
        """Add a row whose words are at these characters of its text."""
        self.words.append(words)
        self.add(line, [text], label, row_id)

    def _pack(self) -> None:
        for column, chunks in zip(self.texts, self.packed, strict=True):
            chunks.append(pa.array(column, pa.string()))
            column.clear()
        self.packed_choices.append(pa.array(self.choices, pa.list_(pa.string())))
        self.choices.clear()
        self.packed_words.append(pa.array(self.words, WORD_OFFSETS))
        self.words.clear()

    def take(self, path: Path) -> RawTable:
        """Return the rows that were added, and empty the buffer."""
        self._pack()
        taken = RawTable(
            source=str(path),
            texts=tuple(pa.chunked_array(chunks, pa.string()) for chunks in self.packed),
            labels=self.labels if self.columns.labels else None,
            ids=self.ids if self.columns.row_id is not None else None,
            choices=pa.chunked_array(self.packed_choices) if self.columns.has_choices else None,
            groups=self.groups or None,
            words=pa.chunked_array(self.packed_words) if self.columns.has_tokens else None,
            has_spans=self.columns.has_spans,
            lines=np.asarray(self.lines, dtype=np.int64),
            is_typed=self.is_typed,
        )
        self.__post_init__()
        return taken


def name_rows(raw: RawTable, rows: Sequence[int] | np.ndarray[Any, Any]) -> str:
    """Name rows by line or row number for a message: "lines 2, 7, 9 and 3 more"; counted from 1.

    >>> name_rows(RawTable("train.csv", (), lines=np.array([2, 3, 5])), [0, 2])
    'lines 2, 5'
    """
    word = "row" if raw.lines is None else "line"
    numbers = [int(row) + 1 + raw.begin if raw.lines is None else int(raw.lines[row]) for row in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return f"{word}{'s' if len(rows) > 1 else ''} {', '.join(str(number) for number in numbers)}{more}"
