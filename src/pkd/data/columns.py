"""Raw columns become what a classifier can use: strings that hold something, and one class a row.

A `RawTable` goes in; a dataset of `text` (or `text_a`, `text_b`) and `label` comes out, with a note for whatever was
changed and a `DataError` for what cannot be one class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pkd import progress
from pkd.data.tables import RawTable
from pkd.errors import DataError

if TYPE_CHECKING:
    import datasets

OnEmpty = Literal["error", "drop", "keep"]

EMPTY_SHARE = 0.01  # above it empty texts are a fault of the file, below it they happen
CHARACTERS_A_WORD_PIECE = 50 * 8  # far more than any word piece has: what is cut here, truncation would cut later
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_WHOLE = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LEADING_ZERO = re.compile(r"[-+]?0\d+")
_TRUTH = {"true": 1, "false": 0}
_SHOWN = 5


def clean_rows(raw: RawTable, *, on_empty: OnEmpty, max_length: int | None) -> datasets.Dataset:
    """Make a dataset of strings and, where there are labels, classes: int64 or strings.

    Args:
        raw: the columns as they are in the source.
        on_empty: what to do about empty texts: "error" refuses more than 1 % of them.
        max_length: word pieces a text is cut to later; what lies far behind them is cut off now; None cuts
            nothing, since the text is given back.

    Raises:
        DataError: if there are no rows, too many empty texts, a row without a label, or labels that are no classes.
    """
    import datasets

    rows = len(raw.texts[0])
    if rows == 0:
        raise DataError(f"{raw.source} has 0 rows; give a file with examples.")
    _check_ids(raw)
    texts = [_as_strings(raw, column) for column in raw.texts]
    kept = _kept_rows(raw, texts, on_empty)
    if kept is not None and not kept.any():
        raise DataError(f"{raw.source} has 0 rows left: all {rows:,} have an empty text.")
    _warn_of_control_characters(raw, texts)
    if max_length is not None:
        texts = [_cut(raw, text, CHARACTERS_A_WORD_PIECE * max_length) for text in texts]
    columns = dict(zip(("text",) if len(texts) == 1 else ("text_a", "text_b"), texts, strict=True))
    if raw.labels is not None:
        columns["label"] = _classes(raw, kept)
    table = pa.table(columns)
    if kept is not None:
        table = table.filter(pa.array(kept))
    return datasets.Dataset(table)


def places(raw: RawTable, rows: Sequence[int] | np.ndarray[Any, Any]) -> str:
    """Where rows are in their file: "lines 2, 7, 9 and 3 more"; counted from 1.

    >>> places(RawTable("train.csv", (), lines=np.array([2, 3, 5])), [0, 2])
    'lines 2, 5'
    """
    word = "row" if raw.lines is None else "line"
    numbers = [int(row) + 1 if raw.lines is None else int(raw.lines[row]) for row in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return f"{word}{'s' if len(rows) > 1 else ''} {', '.join(str(number) for number in numbers)}{more}"


def _as_strings(raw: RawTable, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        progress.note(f"{raw.source}: a text column holds numbers ({kind}); they are read as text.")
        column = pa.chunked_array(
            [[None if value is None else str(value) for value in column.to_pylist()]], pa.string()
        )
    elif not pa.types.is_string(kind):
        raise DataError(f"{raw.source}: a text column holds values of type {kind}; texts are expected.")
    return column.fill_null("") if column.null_count else column


def _kept_rows(
    raw: RawTable, texts: Sequence[pa.ChunkedArray], on_empty: OnEmpty
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Which rows stay, None where all do."""
    empty = np.zeros(len(texts[0]), dtype=bool)
    for text in texts:
        empty |= pc.equal(pc.binary_length(pc.utf8_trim_whitespace(text)), 0).to_numpy()
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
            f"{told} ({where}). Mend them, or choose with --set data.on_empty=drop or --set data.on_empty=keep."
        )
    progress.warn(f"{told} ({where}); they were kept.")
    return None


def _warn_of_control_characters(raw: RawTable, texts: Sequence[pa.ChunkedArray]) -> None:
    count = sum(pc.sum(pc.match_substring_regex(text, _CONTROL)).as_py() or 0 for text in texts)
    if count:
        progress.warn(f"{raw.source}: {count:,} texts hold NUL or other control characters; is the encoding right?")


def _cut(raw: RawTable, text: pa.ChunkedArray, most: int) -> pa.ChunkedArray:
    count = pc.sum(pc.greater(pc.utf8_length(text), most)).as_py()
    if not count:
        return text
    progress.note(f"{raw.source}: {count:,} texts of more than {most:,} characters were cut there, before tokenising.")
    return pc.utf8_slice_codeunits(text, 0, most)


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


def _classes(raw: RawTable, kept: np.ndarray[Any, np.dtype[np.bool_]] | None) -> pa.Array:
    """The labels as int64 or strings; rows that are dropped need none, and get null."""
    assert raw.labels is not None
    values = raw.labels if isinstance(raw.labels, list) else raw.labels.to_pylist()
    values = [_stripped(value) for value in values]
    if kept is not None:
        values = [value if keep else None for value, keep in zip(values, kept, strict=True)]
    present = [value for value in values if value is not None]
    missing = [
        row for row, value in enumerate(values) if (value is None or value != value) and (kept is None or kept[row])
    ]
    if missing:
        raise DataError(
            f"{raw.source}: {len(missing):,} of {len(values):,} rows have no label ({places(raw, missing)}). Label "
            "them, take them out, or give them as unlabelled text (--unlabelled)."
        )
    kinds = {type(value) for value in present}
    if kinds == {str}:
        return _classes_of_strings(raw, values)
    if kinds == {bool}:
        return _truth(raw, values)
    if kinds == {int}:
        return _int64(raw, values)
    if kinds <= {int, float}:
        return _classes_of_floats(raw, values)
    raise DataError(_mixed_message(raw, values))


def _stripped(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.strip() or None


def _classes_of_strings(raw: RawTable, values: list[str | None]) -> pa.Array:
    distinct = {value for value in values if value is not None}
    if {value.casefold() for value in distinct} <= _TRUTH.keys():
        return _truth(raw, [None if value is None else _TRUTH[value.casefold()] for value in values])
    if all(_WHOLE.fullmatch(value) for value in distinct):
        if any(_LEADING_ZERO.fullmatch(value) for value in distinct):
            progress.note(f"{raw.source}: labels such as '{min(distinct)}' begin with a zero; they are read as names.")
            return pa.array(values, pa.string())
        return _int64(raw, [None if value is None else int(value) for value in values])
    if all(_DECIMAL.fullmatch(value) for value in distinct):
        return _classes_of_floats(raw, [None if value is None else float(value) for value in values])
    return pa.array(values, pa.string())


def _truth(raw: RawTable, values: Sequence[int | None]) -> pa.Array:
    progress.note(f"{raw.source}: the labels are true and false; they are read as 1 and 0.")
    return pa.array([None if value is None else int(value) for value in values], pa.int64())


def _classes_of_floats(raw: RawTable, values: Sequence[float | None]) -> pa.Array:
    for row, value in enumerate(values):
        if value is not None and not float(value).is_integer():
            raise DataError(
                f"{raw.source}, {places(raw, [row])}: the label is {value}; labels must be classes, one a row. "
                "Regression is not supported yet: turn scores into classes first."
            )
    progress.note(f"{raw.source}: the labels are whole numbers written as decimals; they are read as integers.")
    return _int64(raw, [None if value is None else int(value) for value in values])


def _int64(raw: RawTable, values: list[int | None]) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise DataError(f"{raw.source}: a label is a number of more than 64 bits; labels must be classes.") from error


def _mixed_message(raw: RawTable, values: Sequence[Any]) -> str:
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(type(value).__name__, row)
    told = ", ".join(f"{kind} ({places(raw, [row])})" for kind, row in first.items())
    several = "" if len(first) == 1 else " Write them all as names, or all as numbers."
    return f"{raw.source}: labels must be classes, one name or integer a row; found {told}.{several}"
