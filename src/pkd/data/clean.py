"""Clean raw columns: non-empty strings, and one label per row.

A `RawTable` goes in; a dataset of `text` (or `text_a`, `text_b`; or `text_a`, `choice_0`, ...) and `label` comes out,
and of `word_offsets` where every word has a class.
Every change is logged; what cannot be used raises a `DataError`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pkd import progress
from pkd.data.batches_by_length import CHARACTERS_A_WORD_PIECE
from pkd.data.choices import Question, choice_texts, groups_of, right_choices, text_of
from pkd.data.read_labels import Kept, LabelReader
from pkd.data.tables import RawTable, name_rows
from pkd.data.tag_rows import RowTagger
from pkd.data.windows import WORDS
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import set_to

if TYPE_CHECKING:
    import datasets

OnEmpty = Literal["error", "drop", "keep"]

EMPTY_SHARE = 0.01  # a larger share of empty texts means that the file is wrong
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_SHOWN = 5


def clean_rows(
    raw: RawTable, settings: DataSettings, *, on_empty: OnEmpty, cut: bool = True, reader: LabelReader | None = None
) -> datasets.Dataset:
    """Make a dataset of strings and, if there are labels, classes (int64 or strings), scores or sets of names.

    Args:
        raw: the columns as they are in the source.
        settings: `problem_type`, and `max_length`, by which the middle of very long texts is cut out.
        on_empty: what to do about empty texts; "error" refuses more than 1 % of them.
        cut: False keeps the whole text, for callers that return it.
        reader: the job's label reader, shared by all its files.

    Raises:
        DataError: if there are no rows, too many empty texts, a row without a label, or labels that are no classes.
    """
    import datasets

    cleaner = RowCleaner(settings, on_empty=on_empty, cut=cut, reader=reader)
    texts = cleaner.add(raw)
    decided = cleaner.decide()
    assert texts is not None  # else there was nothing to decide
    return datasets.Dataset(decided.rows_of(texts, 0, 0, decided.labels))


@dataclass(frozen=True)
class Decided:
    """What is decided over all rows of a source.

    Attributes:
        kept: mask of the rows that are kept; None for all.
        labels: of the kept rows; None if the source has none.
        groups: of the kept rows; None if there are none.
    """

    kept: np.ndarray[Any, np.dtype[np.bool_]] | None
    labels: pa.Array | None
    groups: pa.Array | None

    def rows_of(self, texts: pa.Table, begin: int, stayed: int, labels: pa.Array | None) -> pa.Table:
        """The kept rows of a part, with their labels and groups.

        Args:
            texts: of all rows of the part.
            begin: number of rows before the part.
            stayed: number of those that are kept.
            labels: `labels`, or what they were encoded as.
        """
        if self.kept is not None:
            texts = texts.filter(pa.array(self.kept[begin : begin + len(texts)]))
        for name, column in (("label", labels), ("group", self.groups)):
            if column is not None:
                texts = texts.append_column(name, column.slice(stayed, len(texts)))
        return texts


class RowCleaner:
    """Clean the rows of a source part by part, and decide once what depends on all of them.

    Texts are cleaned within a part. The share of empty texts, duplicate ids, the meaning of labels and answers, and the
    groups need all rows. Little is kept for that: there are few distinct labels, and the text of each is held once.
    """

    def __init__(
        self, settings: DataSettings, *, on_empty: OnEmpty, cut: bool = True, reader: LabelReader | None = None
    ) -> None:
        self._on_empty = on_empty
        self._most = CHARACTERS_A_WORD_PIECE * settings.max_length if cut else None
        self._settings, self._reader = settings, reader
        self._source = ""
        self._rows = self._controls = self._long = 0
        self._empty: list[np.ndarray[Any, np.dtype[np.bool_]]] = []
        self._lines: list[np.ndarray[Any, Any]] = []
        self._ids: list[pa.Array] = []
        self._labels: list[Any] | None = None
        self._groups: list[str] | None = None
        self._spelled: dict[str, str] = {}
        self._kinds_of_numbers: set[str] = set()
        self._choices: int | None = None
        self._tagger = RowTagger(settings)
        self._is_typed = True
        self._fault: DataError | None = None

    def add(self, raw: RawTable) -> pa.Table | None:
        """Clean the texts of the next part: all its rows, as strings.

        Returns None if they are no texts; `decide` then raises the error, once all parts were added.
        """
        texts: list[pa.ChunkedArray] = []
        try:
            if self._fault is None:
                texts = [self._as_strings(raw, column) for column in raw.texts]
                raw = self._with_words(raw, texts)
                if raw.choices is not None:
                    texts = self._texts_of_choices(raw, texts)
        except DataError as error:
            self._fault = error
        self._remember(raw)
        if self._fault is not None:
            return None
        self._empty.append(_empty(texts) if raw.words is None else _without_words(texts[0], raw.words))
        self._controls += sum(pc.sum(pc.match_substring_regex(text, _CONTROL)).as_py() or 0 for text in texts)
        if raw.words is not None:  # of any length: long texts are read in windows
            return pa.table({"text": texts[0], WORDS: raw.words})
        if self._most is not None:
            texts = [self._cut(text, self._most) for text in texts]
        return pa.table(dict(zip(_text_names(raw, len(texts)), texts, strict=True)))

    def decide(self) -> Decided:
        """Decide for all rows, once every part was added.

        Raises:
            DataError: as `decide_texts`; or if a row has no label, or labels are no classes.
        """
        raw, kept = self.decide_texts()
        reader = self._reader or LabelReader(self._settings)
        if raw.labels is not None:
            kept = reader.labelled(raw, kept)
        self._log_changes()
        labels = None if raw.labels is None else reader.read(raw, kept)
        groups = None if self._groups is None else groups_of(self._groups)
        columns = [labels, None if groups is None else pa.array(groups, pa.string())]
        if kept is not None:
            columns = [None if column is None else column.filter(pa.array(kept)) for column in columns]
        return Decided(kept, *columns)

    def decide_texts(self) -> tuple[RawTable, Kept]:
        """The rows as a table without their texts, and the mask of the rows whose texts are kept; None for all.

        Raises:
            DataError: if there are no rows, ids are duplicated, or too many texts are empty.
        """
        if self._rows == 0:
            raise DataError(f"{self._source} has 0 rows; give a file with examples.")
        _check_ids(self._ids, self._source)
        if self._fault is not None:
            raise self._fault
        if self._tagger.conflicts and self._settings.on_uneven == "error":
            raise DataError(
                f"{self._tagger.message(self._source)} Correct these rows, or leave them out with "
                f"{set_to('data.on_uneven', 'drop')}."
            )
        raw = RawTable(
            source=self._source,
            texts=(pa.chunked_array([pa.nulls(self._rows)]),),
            labels=self._labels,
            choices=None if self._choices is None else pa.chunked_array([pa.nulls(self._rows)]),
            words=pa.chunked_array([pa.nulls(self._rows)]) if self._tagger.has_words else None,
            has_spans=self._tagger.has_spans,
            lines=np.concatenate(self._lines) if self._lines else None,
            is_typed=self._is_typed,
        )
        self._labels, self._lines, self._ids = None, [], []  # held no longer than needed
        if self._choices is not None and raw.labels is not None:
            answers = right_choices(list(raw.labels), lambda row: f"{raw.source}, {name_rows(raw, [row])}")
            raw = dataclasses.replace(raw, labels=answers)
        kept = self._without_conflicts(_kept_rows(raw, np.concatenate(self._empty), self._on_empty))
        if kept is not None and not kept.any() and self._tagger.conflicts:
            raise DataError(f"{self._tagger.message(self._source)} No row is left without these.")
        if kept is not None and not kept.any():
            raise DataError(f"{raw.source} has 0 rows left: all {self._rows:,} have an empty text.")
        return raw, kept

    def _without_conflicts(self, kept: Kept) -> Kept:
        """The mask of the rows that are kept, without those whose labels do not fit their words."""
        if not self._tagger.conflicts:
            return kept
        progress.warn(f"{self._tagger.message(self._source)} These rows were dropped.")
        stays = np.ones(self._rows, dtype=bool) if kept is None else kept
        stays[self._tagger.rows_in_conflict] = False
        return stays

    def _remember(self, raw: RawTable) -> None:
        """Keep what `decide` needs from all rows."""
        self._source, self._is_typed = raw.source, raw.is_typed
        self._rows += len(raw.texts[0])
        if raw.lines is not None:
            self._lines.append(raw.lines.astype(np.int32 if raw.lines[-1:].sum() < 2**31 else np.int64))
        if raw.ids is not None:
            self._ids.append(_texts_of_ids(raw.ids))
        if raw.labels is not None:
            values = raw.labels if isinstance(raw.labels, list) else raw.labels.to_pylist()
            once = self._spelled.setdefault
            self._labels = self._labels or []
            self._labels.extend(once(value, value) if isinstance(value, str) else value for value in values)
        if raw.groups is not None:
            self._groups = self._groups or []
            self._groups.extend(self._spelled.setdefault(group, group) for group in raw.groups)

    def _as_strings(self, raw: RawTable, column: pa.ChunkedArray) -> pa.ChunkedArray:
        strings, kind = as_strings(raw, column)
        if kind is not None:
            self._kinds_of_numbers.add(kind)
        return strings

    def _with_words(self, raw: RawTable, texts: Sequence[pa.ChunkedArray]) -> RawTable:
        """The table with the places of its words and their tags, if words are what is learned."""
        kind = self._reader.kind if self._reader is not None else None
        return self._tagger.with_words(raw, texts, None if kind is None else kind.task)

    def _texts_of_choices(self, raw: RawTable, texts: Sequence[pa.ChunkedArray]) -> list[pa.ChunkedArray]:
        """The texts that a model reads for each question: its context, and the question with each choice.

        Raises:
            DataError: if questions have different numbers of choices.
        """
        assert raw.choices is not None  # the source has questions
        counts = pc.list_value_length(raw.choices).to_numpy()
        if self._choices is None and len(counts):
            self._choices = int(counts[0])
        if (others := np.flatnonzero(counts != self._choices)).size:
            raise DataError(
                f"{raw.source}, {name_rows(raw, others[:1])}: the question has {counts[others[0]]} choices, but the "
                f"first one has {self._choices}; give every question the same number."
            )
        asked = zip(zip(*(text.to_pylist() for text in texts), strict=True), raw.choices.to_pylist(), strict=True)
        rows = [choice_texts(of, choices) for of, choices in asked]
        columns: list[list[str]] = [list(column) for column in zip(*rows, strict=True)]
        return [pa.chunked_array([column], pa.string()) for column in columns or [[]] * (1 + (self._choices or 0))]

    def _cut(self, text: pa.ChunkedArray, most: int) -> pa.ChunkedArray:
        """Keep `most` characters at both ends of long texts: the tokenizer's truncation side decides which is read."""
        long = pc.greater(pc.utf8_length(text), 2 * most)
        count = pc.sum(long).as_py()
        if not count:
            return text
        self._long += count
        front, end = pc.utf8_slice_codeunits(text, 0, most), pc.utf8_slice_codeunits(text, -most)
        return pc.if_else(long, pc.binary_join_element_wise(front, end, ""), text)

    def _log_changes(self) -> None:
        self._tagger.note(self._source)
        for kind in sorted(self._kinds_of_numbers):
            progress.note(f"{self._source}: a text column holds numbers ({kind}); they are read as text.")
        if self._controls:
            progress.warn(
                f"{self._source}: {self._controls:,} texts hold NUL or other control characters; is the encoding right?"
            )
        if self._long and self._most is not None:
            progress.note(
                f"{self._source}: {self._long:,} text{'s' * (self._long > 1)} of more than {2 * self._most:,} "
                f"characters cut to the first and the last {self._most:,} before tokenising."
            )


def questions_of(raw: RawTable) -> list[Question]:
    """Questions of a source, to be answered; they may have different numbers of choices.

    Raises:
        DataError: if there are none.
    """
    assert raw.choices is not None  # the source has questions
    if not len(raw.choices):
        raise DataError(f"{raw.source} has 0 rows; give a file with questions.")
    texts = zip(*(as_strings(raw, column)[0].to_pylist() for column in raw.texts), strict=True)
    asked = zip(texts, raw.choices.to_pylist(), strict=True)
    return [Question(question, tuple(choices), *context) for (*context, question), choices in asked]


def _text_names(raw: RawTable, count: int) -> tuple[str, ...]:
    if raw.choices is not None:
        return ("text_a", *(f"choice_{number}" for number in range(count - 1)))
    return ("text",) if count == 1 else ("text_a", "text_b")


def as_strings(raw: RawTable, column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str | None]:
    """A column as strings, nulls as "", and the type of the numbers that were converted, if any.

    Raises:
        DataError: if it holds neither texts nor numbers.
    """
    kind, numbers = column.type, None
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = [text_of(value) for value in column.to_pylist()]
        if any(value is not None for value in values):  # else the column is empty
            numbers = str(kind)
        column = pa.chunked_array([values], pa.string())
    elif not pa.types.is_string(kind):
        raise DataError(f"{raw.source}: a text column holds values of type {kind}; texts are expected.")
    return column.fill_null("") if column.null_count else column, numbers


def _kept_rows(raw: RawTable, empty: np.ndarray[Any, np.dtype[np.bool_]], on_empty: OnEmpty) -> Kept:
    """The mask of the rows that are kept; None for all."""
    count = int(empty.sum())
    if count == 0:
        return None
    share = count / len(empty)
    problem = f"{raw.source}: {count:,} of {len(empty):,} rows ({share:.1%}) have an empty text"
    where = name_rows(raw, np.flatnonzero(empty))
    if on_empty == "drop":
        progress.note(f"{problem}; they were dropped.")
        return ~empty
    if on_empty == "error" and share > EMPTY_SHARE:
        raise DataError(
            f"{problem} ({where}). Fix them, or use {set_to('data.on_empty', 'drop')} or "
            f"{set_to('data.on_empty', 'keep')}."
        )
    if on_empty == "error" and raw.words is not None:
        progress.note(f"{problem} ({where}); they have no word, and were dropped.")
        return ~empty
    progress.warn(f"{problem} ({where}); they were kept.")
    return None


def _empty(texts: Sequence[pa.ChunkedArray]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    empty = np.zeros(len(texts[0]), dtype=bool)
    for text in texts:
        empty |= pc.equal(pc.binary_length(pc.utf8_trim_whitespace(text)), 0).to_numpy()
    return empty


def _without_words(text: pa.ChunkedArray, words: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows without a word, or whose only one has no character; a word of blanks alone has a tag and counts."""
    counts = pc.list_value_length(words)
    return np.asarray(pc.or_(pc.equal(counts, 0), pc.equal(pc.binary_length(text), 0)).to_numpy())


def _texts_of_ids(ids: pa.ChunkedArray | list[Any]) -> pa.Array:
    values = ids if isinstance(ids, list) else ids.to_pylist()
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _check_ids(ids: Sequence[pa.Array], source: str) -> None:
    """Refuse duplicate ids, which are found by their hashes: 8 MB per million."""
    hashes = [np.fromiter(map(hash, part.to_pylist()), dtype=np.int64, count=len(part)) for part in ids]
    if not hashes:
        return
    found, counts = np.unique(np.concatenate(hashes), return_counts=True)
    several = found[counts > 1]
    values: Counter[str] = Counter()
    for part, of_part in zip(ids, hashes, strict=True):
        values.update(part.filter(pa.array(np.isin(of_part, several))).drop_null().to_pylist())
    if twice := [value for value, count in values.items() if count > 1 and value not in ("", "None")]:
        more = f" and {len(twice) - _SHOWN:,} more" if len(twice) > _SHOWN else ""
        raise DataError(
            f"{source}: ids occur more than once: {', '.join(twice[:_SHOWN])}{more}. Were files concatenated "
            "twice? Remove the copies, or rename the id column if it does not identify rows."
        )
