"""Raw columns become what a classifier can use: strings that hold something, and a label a row.

A `RawTable` goes in; a dataset of `text` (or `text_a`, `text_b`; or `text_a`, `choice_0`, ...) and `label` comes out,
with a note for whatever was changed and a `DataError` for what cannot be used.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pkd import progress
from pkd.data.choices import Question, choice_texts, groups_of, right_choices
from pkd.data.lengths import CHARACTERS_A_WORD_PIECE
from pkd.data.raw_labels import LabelReader
from pkd.data.tables import RawTable, places
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import set_to

if TYPE_CHECKING:
    import datasets

OnEmpty = Literal["error", "drop", "keep"]

EMPTY_SHARE = 0.01  # above it empty texts are a fault of the file, below it they happen
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_SHOWN = 5


def clean_rows(
    raw: RawTable, settings: DataSettings, *, on_empty: OnEmpty, cut: bool = True, reader: LabelReader | None = None
) -> datasets.Dataset:
    """Make a dataset of strings and, where there are labels: classes (int64 or strings), scores or sets of names.

    Args:
        raw: the columns as they are in the source.
        settings: `problem_type`, and `max_length`: what lies far from both ends of a text is cut out now.
        on_empty: what to do about empty texts: "error" refuses more than 1 % of them.
        cut: False cuts nothing, since the text is given back.
        reader: reads the labels, as those of all files of the job.

    Raises:
        DataError: if there are no rows, too many empty texts, a row without a label, or labels that are no classes.
    """
    import datasets

    raw, texts, kept = clean_texts(raw, on_empty)
    if raw.labels is not None:
        reader = reader or LabelReader(settings)
        kept = reader.labelled(raw, kept)
    _warn_of_control_characters(raw, texts)
    if cut:
        texts = [_cut(raw, text, CHARACTERS_A_WORD_PIECE * settings.max_length) for text in texts]
    columns: dict[str, Any] = dict(zip(_text_names(raw, len(texts)), texts, strict=True))
    if raw.labels is not None and reader is not None:
        columns["label"] = reader.read(raw, kept)
    if raw.groups is not None and (groups := groups_of(raw.groups)) is not None:
        columns["group"] = pa.array(groups, pa.string())
    table = pa.table(columns)
    if kept is not None:
        table = table.filter(pa.array(kept))
    return datasets.Dataset(table)


def clean_texts(
    raw: RawTable, on_empty: OnEmpty
) -> tuple[RawTable, list[pa.ChunkedArray], np.ndarray[Any, np.dtype[np.bool_]] | None]:
    """The table, of choices with the right ones as its labels; its texts as strings; which rows stay, None for all.

    Raises:
        DataError: if there are no rows, ids stand more than once, or too many texts are empty.
    """
    rows = len(raw.texts[0])
    if rows == 0:
        raise DataError(f"{raw.source} has 0 rows; give a file with examples.")
    _check_ids(raw)
    texts = [_as_strings(raw, column) for column in raw.texts]
    if raw.choices is not None:
        texts = _texts_of_choices(raw, texts)
        raw = dataclasses.replace(raw, labels=_right_choices(raw))
    kept = _kept_rows(raw, texts, on_empty)
    if kept is not None and not kept.any():
        raise DataError(f"{raw.source} has 0 rows left: all {rows:,} have an empty text.")
    return raw, texts, kept


def has_texts(raw: RawTable) -> bool:
    """Whether any row has a text, and both of them where it is a pair."""
    return not _empty([_as_strings(raw, column) for column in raw.texts]).all()


def questions_of(raw: RawTable) -> list[Question]:
    """Questions as they stand in a source, to be answered; they may have different numbers of choices.

    Raises:
        DataError: if there are none.
    """
    assert raw.choices is not None  # the source has questions
    if not len(raw.choices):
        raise DataError(f"{raw.source} has 0 rows; give a file with questions.")
    texts = zip(*(_as_strings(raw, column).to_pylist() for column in raw.texts), strict=True)
    asked = zip(texts, raw.choices.to_pylist(), strict=True)
    return [Question(question, tuple(choices), *context) for (*context, question), choices in asked]


def _texts_of_choices(raw: RawTable, texts: Sequence[pa.ChunkedArray]) -> list[pa.ChunkedArray]:
    """What a model reads of each question: its context, and for each choice what it says of it.

    Raises:
        DataError: if questions have different numbers of choices.
    """
    assert raw.choices is not None  # the source has questions
    counts = pc.list_value_length(raw.choices).to_numpy()
    if (others := np.flatnonzero(counts != counts[0])).size:
        raise DataError(
            f"{raw.source}, {places(raw, others[:1])}: the question has {counts[others[0]]} choices, the first one "
            f"{counts[0]}; give every question as many."
        )
    asked = zip(zip(*(text.to_pylist() for text in texts), strict=True), raw.choices.to_pylist(), strict=True)
    rows = [choice_texts(of, choices) for of, choices in asked]
    return [pa.chunked_array([list(column)], pa.string()) for column in zip(*rows, strict=True)]


def _right_choices(raw: RawTable) -> list[int | None] | None:
    if raw.labels is None:
        return None
    return right_choices(list(raw.labels), lambda row: f"{raw.source}, {places(raw, [row])}")


def _text_names(raw: RawTable, count: int) -> tuple[str, ...]:
    if raw.choices is not None:
        return ("text_a", *(f"choice_{number}" for number in range(count - 1)))
    return ("text",) if count == 1 else ("text_a", "text_b")


def _as_strings(raw: RawTable, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = [value if value is None or isfinite(value) else None for value in column.to_pylist()]
        if any(value is not None for value in values):  # else nothing is missing but the texts
            progress.note(f"{raw.source}: a text column holds numbers ({kind}); they are read as text.")
        column = pa.chunked_array([[None if value is None else str(value) for value in values]], pa.string())
    elif not pa.types.is_string(kind):
        raise DataError(f"{raw.source}: a text column holds values of type {kind}; texts are expected.")
    return column.fill_null("") if column.null_count else column


def _kept_rows(
    raw: RawTable, texts: Sequence[pa.ChunkedArray], on_empty: OnEmpty
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Which rows stay, None where all do."""
    empty = _empty(texts)
    count = int(empty.sum())
    if count == 0:
        return None
    share = count / len(empty)
    told = f"{raw.source}: {count:,} of {len(empty):,} rows ({share:.1%}) have an empty text"
    where = places(raw, np.flatnonzero(empty))
    if on_empty == "drop":
        progress.note(f"{told}; they were dropped.")
        return ~empty
    if on_empty == "error" and share > EMPTY_SHARE:
        raise DataError(
            f"{told} ({where}). Mend them, or choose with {set_to('data.on_empty', 'drop')} or "
            f"{set_to('data.on_empty', 'keep')}."
        )
    progress.warn(f"{told} ({where}); they were kept.")
    return None


def _empty(texts: Sequence[pa.ChunkedArray]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    empty = np.zeros(len(texts[0]), dtype=bool)
    for text in texts:
        empty |= pc.equal(pc.binary_length(pc.utf8_trim_whitespace(text)), 0).to_numpy()
    return empty


def _warn_of_control_characters(raw: RawTable, texts: Sequence[pa.ChunkedArray]) -> None:
    count = sum(pc.sum(pc.match_substring_regex(text, _CONTROL)).as_py() or 0 for text in texts)
    if count:
        progress.warn(f"{raw.source}: {count:,} texts hold NUL or other control characters; is the encoding right?")


def _cut(raw: RawTable, text: pa.ChunkedArray, most: int) -> pa.ChunkedArray:
    """Both ends of long texts, `most` characters each: which one is read is for the tokenizer's truncation side."""
    long = pc.greater(pc.utf8_length(text), 2 * most)
    count = pc.sum(long).as_py()
    if not count:
        return text
    progress.note(
        f"{raw.source}: of {count:,} texts of more than {2 * most:,} characters what lies more than {most:,} from both "
        "ends was cut out, before tokenising."
    )
    ends = pc.binary_join_element_wise(pc.utf8_slice_codeunits(text, 0, most), pc.utf8_slice_codeunits(text, -most), "")
    return pc.if_else(long, ends, text)


def _check_ids(raw: RawTable) -> None:
    if raw.ids is None:
        return
    values = raw.ids if isinstance(raw.ids, list) else raw.ids.to_pylist()
    twice = [value for value, count in Counter(map(str, values)).items() if count > 1 and value not in ("", "None")]
    if twice:
        more = f" and {len(twice) - _SHOWN:,} more" if len(twice) > _SHOWN else ""
        raise DataError(
            f"{raw.source}: ids stand more than once: {', '.join(twice[:_SHOWN])}{more}. Were files put together "
            "twice? Take the copies out, or rename the id column if it does not number the rows."
        )
