"""Files of one JSON object a line become tables, one of a whole file or one after another of its parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from pkd.data.json_shapes import advice_for, holds_rows
from pkd.data.opening import open_text
from pkd.data.tables import Choose, RawTable, RowBuffer
from pkd.data.tasks import Columns
from pkd.errors import DataError

_ONE_OBJECT_A_LINE = 'Give one object a line, as {"text": "a text", "label": "a label"}.'
_DECODER = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))  # NaN is a null


def read_json_lines(
    path: Path, choose: Choose, *, encoding: str, rows_a_table: int | None = None
) -> Iterator[RawTable]:
    """Read a file of one JSON object a line; `rows_a_table` as `read_delimited` has it.

    Raises:
        DataError: naming the line, if it is no JSON object or lacks a column.
    """
    rows: RowBuffer | None = None
    with open_text(path, encoding) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                record = _json_object(path, line, text)
            except DataError as error:
                raise DataError(f"{error} {advice_for(path, encoding) or _ONE_OBJECT_A_LINE}") from error
            if rows is None:
                columns = _choose(choose, path, line, record, encoding)
                rows = RowBuffer(columns, len(_choices(path, line, record, columns)))
            _check_keys(path, line, record, rows.columns)
            choices = _choices(path, line, record, rows.columns)
            if len(choices) != rows.choices:
                raise DataError(
                    f"{path}, line {line}: the question has {len(choices)} choices, the first one {rows.choices}; give "
                    "every question as many."
                )
            for name in (*rows.columns.text, *filter(None, [rows.columns.group])):
                record[name] = _json_text(path, line, name, record.get(name))
            for name in rows.columns.labels:
                for value in record[name] if isinstance(record[name], list) else [record[name]]:
                    _require_characters(path, line, name, value)
            if len(rows) == rows_a_table:
                yield rows.take(path)
            rows.add_record(line, record, f"{path}, line {line}", choices)
    if rows is None:
        raise DataError(f"{path} has 0 rows; give a file with one JSON object a line.")
    yield rows.take(path)


def _json_object(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        record = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {line}, column {error.colno}: this is no JSON ({error.msg}).") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise DataError(f"{path}, line {line}: a number has too many digits to be read. Give it as text.") from error
    except RecursionError as error:
        raise DataError(f"{path}, line {line}: the JSON is nested too deeply.") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}, line {line}: expected a JSON object, found a {type(record).__name__}.")
    return record


def _choose(choose: Choose, path: Path, line: int, record: dict[str, Any], encoding: str) -> Columns:
    """The columns of the first object; one that holds all the rows is told for what it is."""
    fault = None
    try:
        columns = choose(list(record))
    except DataError as error:
        fault = error
    is_wrong = fault is not None or any(isinstance(record[name], list | dict) for name in columns.text)
    if is_wrong and holds_rows(record) and (advice := advice_for(path, encoding)):
        raise DataError(f"{path}, line {line}: the object has the keys {', '.join(record)}. {advice}") from fault
    if fault:
        raise fault
    return columns


def _check_keys(path: Path, line: int, record: dict[str, Any], columns: Columns) -> None:
    optional = (columns.row_id, columns.group)
    absent = [name for name in columns.all if name not in optional and name not in record]
    if absent:
        raise DataError(
            f"{path}, line {line}: the object has no key '{absent[0]}', which the first line has; its keys: "
            f"{', '.join(record)}. Give every line the same keys."
        )


def _choices(path: Path, line: int, record: dict[str, Any], columns: Columns) -> list[str]:
    if columns.choices is None:
        return [_json_text(path, line, name, record.get(name)) or "" for name in columns.choice_set]
    choices = record.get(columns.choices)
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(f"{path}, line {line}: '{columns.choices}' must be a list of two choices or more.")
    return [_json_text(path, line, columns.choices, choice) or "" for choice in choices]


def _json_text(path: Path, line: int, name: str, value: Any) -> str | None:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return None
    if not isinstance(value, str | int | float):
        raise DataError(f"{path}, line {line}: '{name}' is a {type(value).__name__}; a text is expected.")
    text = str(value)
    _require_characters(path, line, name, text)
    return text


def _require_characters(path: Path, line: int, name: str, value: Any) -> None:
    """JSON can write half of a pair of surrogates, which is no character."""
    if not isinstance(value, str) or value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}, line {line}: '{name}' holds \\u{ord(value[error.start]):04x}, half of a character, which "
            "cannot be saved. Mend the text or take the line out."
        ) from error
