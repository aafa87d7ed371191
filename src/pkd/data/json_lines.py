"""Read files with one JSON object per line into tables: one for the whole file, or one per part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.data.choices import Question, listed_choices, questions_of_article, text_of
from pkd.data.decode import open_text
from pkd.data.find_columns import Columns
from pkd.data.find_words import TOKENS
from pkd.data.json_shapes import advice_for, holds_rows
from pkd.data.tables import Choose, RawTable, RowBuffer
from pkd.errors import DataError

_ONE_OBJECT_A_LINE = 'Give one object per line, such as {"text": "a text", "label": "a label"}.'
_ANSWERS = ("accept", "reject", "ignore")  # of Prodigy
_MARKED = ("spans", "label", "options", "relations")  # what it asks for
_DECODER = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))  # NaN is a null


def read_json_lines(
    path: Path, choose: Choose, *, encoding: str, rows_a_table: int | None = None
) -> Iterator[RawTable]:
    """Read a file with one JSON object per line; `rows_a_table` as in `read_delimited`.

    Raises:
        DataError: naming the line, if it is no JSON object or lacks a column.
    """
    rows: RowBuffer | None = None
    refused = 0
    with open_text(path, encoding) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                record = _json_object(path, line, text)
            except DataError as error:
                raise DataError(f"{error} {advice_for(path, encoding) or _ONE_OBJECT_A_LINE}") from error
            for row in questions_of_article(record) or [_of_prodigy(record)]:
                if rows is None:
                    rows = RowBuffer(_choose(choose, path, line, row, encoding))
                if rows.columns.has_spans and _is_refused(row):
                    refused += 1
                    continue
                if len(rows) == rows_a_table:
                    yield rows.take(path)
                _add(rows, path, line, row)
    if rows is None:
        raise DataError(f"{path} has 0 rows; give a file with one JSON object per line.")
    if refused:
        progress.note(f"{path}: {refused:,} row{'s' * (refused > 1)} that Prodigy's answers reject or ignore left out.")
    yield rows.take(path)


def read_questions(lines: Iterable[str], source: str, choose: Choose) -> Iterator[Question]:
    """Yield the question of each line, a JSON object; blank lines are skipped.

    Raises:
        DataError: naming the line, if it holds no question with choices.
    """
    path = Path(source)
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        record = _json_object(path, line, text)
        for row in questions_of_article(record) or [record]:
            columns = choose(list(row))
            choices, _ = _choices(path, line, row, columns)
            *context, question = (_json_text(path, line, name, row[name]) or "" for name in columns.text)
            yield Question(question, tuple(choices), *context)


def _of_prodigy(record: dict[str, Any]) -> dict[str, Any]:
    """A row; one of Prodigy's with `spans`, which it leaves out where a text has none."""
    lacks_spans = record.get("answer") in _ANSWERS and "text" in record and not any(map(record.__contains__, _MARKED))
    return {**record, "spans": []} if lacks_spans else record


def _is_refused(record: dict[str, Any]) -> bool:
    """Whether the spans are no right answer: Prodigy exports those that were rejected or passed over as well."""
    return record.get("answer") in _ANSWERS[1:]


def _add(rows: RowBuffer, path: Path, line: int, record: dict[str, Any]) -> None:
    """Check an object's keys and values, then add it to the rows."""
    columns = rows.columns
    _check_keys(path, line, record, columns)
    choices, labels = _choices(path, line, record, columns)
    of_text = () if columns.has_tokens else columns.text
    for name in (*of_text, *filter(None, [columns.group])):
        record[name] = _json_text(path, line, name, record.get(name))
    for name in (*columns.labels, *(columns.text if columns.has_tokens else ())):
        for value in record[name] if isinstance(record[name], list) else [record[name]]:
            _require_characters(path, line, name, value)
    rows.add_record(line, record, f"{path}, line {line}", choices, labels)


def _json_object(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        record = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {line}, column {error.colno}: this is no JSON ({error.msg}).") from error
    except ValueError as error:  # Python limits the digits of an integer
        raise DataError(f"{path}, line {line}: a number has too many digits to be read. Give it as text.") from error
    except RecursionError as error:
        raise DataError(f"{path}, line {line}: the JSON is nested too deeply.") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}, line {line}: expected a JSON object, found a {type(record).__name__}.")
    return record


def _choose(choose: Choose, path: Path, line: int, record: dict[str, Any], encoding: str) -> Columns:
    """The columns of the first object; the error says so if that object holds all rows."""
    fault = None
    try:
        columns = choose(list(record))
        columns = columns.holding(record[columns.text[0]])
    except DataError as error:
        fault = error
    is_wrong = fault is not None or (
        any(isinstance(record[name], list | dict) for name in columns.text) and not columns.has_tokens
    )
    if is_wrong and not _has_tokens(record) and holds_rows(record) and (advice := advice_for(path, encoding)):
        raise DataError(f"{path}, line {line}: the object has the keys {', '.join(record)}. {advice}") from fault
    if fault:
        raise fault
    return columns


def _has_tokens(record: dict[str, Any]) -> bool:
    """Whether an object is a row with a list of words, and not one of lists that hold all rows."""
    return any(
        isinstance(record.get(name), list) and all(isinstance(each, str) for each in record[name]) for name in TOKENS
    )


def _check_keys(path: Path, line: int, record: dict[str, Any], columns: Columns) -> None:
    optional = (columns.row_id, columns.group)
    absent = [name for name in columns.all if name not in optional and name not in record]
    if absent:
        raise DataError(
            f"{path}, line {line}: the object has no key '{absent[0]}', which the first line has; its keys: "
            f"{', '.join(record)}. All lines need the same keys."
        )


def _choices(path: Path, line: int, record: dict[str, Any], columns: Columns) -> tuple[list[str], list[str]]:
    """The choices of a question and their labels; both empty if the row is no question."""
    if columns.choices is None:
        return [_json_text(path, line, name, record.get(name)) or "" for name in columns.choice_set], []
    listed = listed_choices(record.get(columns.choices))
    if listed is None:
        raise DataError(f"{path}, line {line}: '{columns.choices}' must be a list of two or more choices, all texts.")
    for choice in listed[0]:
        _require_characters(path, line, columns.choices, choice)
    return listed


def _json_text(path: Path, line: int, name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str | int | float):
        raise DataError(f"{path}, line {line}: '{name}' is a {type(value).__name__}; a text is expected.")
    text = text_of(value)
    _require_characters(path, line, name, text)
    return text


def _require_characters(path: Path, line: int, name: str, value: Any) -> None:
    """Refuse a lone surrogate, which JSON can write but which is no character."""
    if not isinstance(value, str) or value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}, line {line}: '{name}' holds \\u{ord(value[error.start]):04x}, half of a character, which "
            "cannot be saved. Fix the text or remove the line."
        ) from error
