"""Give rows the places of their words and, from their labels, a tag for each; what does not fit is named by row."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pkd import progress
from pkd.data.spans_to_tags import NAMES, holds_spans, tags_of_spans
from pkd.data.tables import WORD_OFFSETS, RawTable, name_rows
from pkd.data.tags import Tagged
from pkd.data.windows import Span, split_words
from pkd.data.words import items_in, short
from pkd.errors import DataError
from pkd.recipe.settings import Counted, DataSettings
from pkd.recipe.spelling import set_to
from pkd.tasks import TOKEN_CLASSIFICATION, TaskKind, asks_for_tags

_SHOWN = 5


class RowTagger:
    """Tag the rows of a source, part by part.

    Attributes:
        has_words: whether its words are what is learned.
        has_spans: whether its labels are spans.
        conflicts: of all rows so far, each with its row.
        rows_in_conflict: the numbers of these rows in the source, from 0 on.
    """

    def __init__(self, settings: DataSettings) -> None:
        self._problem, self._offsets = settings.problem_type, settings.span_offsets
        self.has_words = self.has_spans = False
        self.conflicts: list[str] = []
        self.rows_in_conflict: list[int] = []
        self._begin = self._rows = self._trimmed = 0  # the rows before this part, and with it
        self._counted: Counter[Counted] = Counter()

    def with_words(self, raw: RawTable, texts: Sequence[pa.ChunkedArray], learned: TaskKind | None) -> RawTable:
        """The table with `words`, and `Tagged` for labels; unchanged if whole texts are learned.

        Args:
            raw: a part of the source.
            texts: its texts, as strings.
            learned: what the job learns, if that is known.

        Raises:
            DataError: if words are learned, but these are pairs or questions, or have one label a row.
        """
        self._begin, self._rows = self._rows, self._rows + len(texts[0])
        values = None if raw.labels is None else raw.labels if isinstance(raw.labels, list) else raw.labels.to_pylist()
        if raw.words is not None:
            self.has_words = True
            return raw if values is None else dataclasses.replace(raw, labels=self._tags_of_lists(raw, values))
        self.has_words = self.has_words or raw.has_spans or self._learns_words(values, learned)
        if not self.has_words or raw.choices is not None:
            return raw
        if len(texts) > 1:
            raise DataError(
                f"{raw.source} has pairs of texts, but {TOKEN_CLASSIFICATION.name} reads single ones. Name the text "
                f"with {set_to('data.text_columns')}."
            )
        told = texts[0].to_pylist()
        words = [split_words(text) for text in told]
        labels = None if values is None else self._tags_of_spans(raw, told, words, values)
        offsets = [[place for span in of_text for place in span] for of_text in words]
        self.has_spans = self.has_spans or labels is not None
        return dataclasses.replace(raw, labels=labels, words=pa.chunked_array([offsets], WORD_OFFSETS))

    def message(self, source: str) -> str:
        """All rows' conflicts, in words."""
        shown = "; ".join(self.conflicts[:_SHOWN])
        more = f"; and {len(self.conflicts) - _SHOWN:,} more" if len(self.conflicts) > _SHOWN else ""
        rows = f"{len(self.rows_in_conflict):,} row{'s' * (len(self.rows_in_conflict) > 1)}"
        return f"{source}: the labels of {rows} do not fit the words. {shown}{more}."

    def note(self, source: str) -> None:
        """Log what was changed."""
        if self._trimmed:
            rows = f"{self._trimmed:,} row{'s' * (self._trimmed > 1)}"
            progress.note(f"{source}: blanks at the ends of spans were left out, in {rows}.")
        for unit, count in self._counted.items():
            progress.note(
                f"{source}: in {count:,} row{'s' * (count > 1)} the spans' own texts show that their offsets count "
                f"{NAMES[unit]}; they are read so."
            )

    def _learns_words(self, values: Sequence[Any] | None, learned: TaskKind | None) -> bool:
        if learned is not None:
            return learned.has_tokens
        if self._problem != "auto" or values is None:
            return asks_for_tags(self._problem)
        lists = (items_in(value) if isinstance(value, str) else value for value in values)  # of CSV as text
        return next((found for found in map(holds_spans, lists) if found is not None), False)

    def _tags_of_lists(self, raw: RawTable, values: Sequence[Any]) -> list[Tagged | None]:
        """The tags that rows list, one for each word."""
        assert raw.words is not None  # with_words
        tagged: list[Tagged | None] = []
        for row, (value, places) in enumerate(zip(values, raw.words.to_pylist(), strict=True)):
            if value is None or isinstance(value, Tagged):
                tagged.append(value)
                continue
            tags, words = items_in(value), len(places) // 2
            if tags is None:
                self._conflict(raw, row, [f"the tags are {value!r}, no list"])
            elif len(tags) != words:
                self._conflict(raw, row, [f"there are {words:,} words, but {len(tags):,} tags"])
            tagged.append(Tagged(tuple(tags or ())))
        return tagged

    def _tags_of_spans(
        self, raw: RawTable, texts: Sequence[str], words: Sequence[Sequence[Span]], values: Sequence[Any]
    ) -> list[Tagged | None]:
        tagged: list[Tagged | None] = []
        for row, (text, of_text, value) in enumerate(zip(texts, words, values, strict=True)):
            spans = items_in(value) if isinstance(value, str) else value
            if value is None or value == "":  # of CSV
                tagged.append(None)
                continue
            if spans is None or holds_spans(spans) is False:
                raise DataError(
                    f"{raw.source}, {name_rows(raw, [row])}: the label is {short(value)}, but "
                    f"{TOKEN_CLASSIFICATION.name} learns a tag for every word. Give a CoNLL file (.conll), rows with "
                    "tokens and their tags, or texts with spans (start, end and label)."
                )
            found = tags_of_spans(text, of_text, spans, self._offsets)
            if found.counted is not None:
                self._counted[found.counted] += 1
            self._trimmed += found.trimmed
            self._conflict(raw, row, found.conflicts)
            tagged.append(Tagged(found.tags))
        return tagged

    def _conflict(self, raw: RawTable, row: int, conflicts: Sequence[str]) -> None:
        self.rows_in_conflict += [self._begin + row] if conflicts else []
        self.conflicts += [f"{name_rows(raw, [row])}: {conflict}" for conflict in conflicts]
