"""Text files become Arrow columns, each row with the line it begins on, so that every message can name it.

Python's own `csv` in strict mode, not a reader that guesses types: "NA" is a text, "01" is not 1, and a row of the
wrong length is an error. Only the columns that are used are kept, a chunk of rows at a time.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import pyarrow as pa

from pkd import progress
from pkd.data.opening import open_text
from pkd.data.tasks import Columns
from pkd.errors import DataError, RecipeError

Choose = Callable[[Sequence[str]], Columns]

_ROWS_A_CHUNK = 10_000
_LONGEST_FIELD = 2**31 - 1  # the csv module refuses fields of more than 128 KiB unless told otherwise
_ONE_OBJECT_A_LINE = "Give one object a line (`jq -c '.[]'` makes that of an array)."
_SHOWN = 5
_SEPARATORS = {",": ",", ";": ";", "\t": "a tab", "|": "|"}


@dataclass(frozen=True)
class RawTable:
    """Columns as they are in a source: `labels` and `ids` None where there are none, `lines` where rows have none.

    Of a multiple choice `texts` are the context and, for each choice, what it says of it. Of `label_set` columns a
    row's label is the list of their values.
    """

    source: str
    texts: tuple[pa.ChunkedArray, ...]
    labels: pa.ChunkedArray | list[Any] | None = None
    ids: pa.ChunkedArray | list[Any] | None = None
    choices: bool = False
    groups: list[str] | None = None
    lines: np.ndarray[Any, np.dtype[np.int64]] | None = None


@dataclass
class _Rows:
    """Rows as they are read; texts are packed into Arrow every so often, which is several times smaller."""

    columns: Columns
    width: int  # columns of text
    texts: list[list[str | None]] = field(init=False)
    packed: list[list[pa.Array]] = field(init=False)
    labels: list[Any] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.texts = [[] for _ in range(self.width)]
        self.packed = [[] for _ in range(self.width)]

    def add(self, line: int, texts: Sequence[str | None], label: Any, row_id: Any) -> None:
        for column, text in zip(self.texts, texts, strict=True):
            column.append(text)
        self.labels.append(label)
        self.ids.append(row_id)
        self.lines.append(line)
        if len(self.texts[0]) >= _ROWS_A_CHUNK:
            self._pack()

    def _pack(self) -> None:
        for column, chunks in zip(self.texts, self.packed, strict=True):
            chunks.append(pa.array(column, pa.string()))
            column.clear()

    def table(self, path: Path) -> RawTable:
        self._pack()
        return RawTable(
            source=str(path),
            texts=tuple(pa.chunked_array(chunks, pa.string()) for chunks in self.packed),
            labels=self.labels if self.columns.labels else None,
            ids=self.ids if self.columns.row_id is not None else None,
            choices=self.columns.choices is not None,
            groups=self.groups or None,
            lines=np.asarray(self.lines, dtype=np.int64),
        )


def places(raw: RawTable, rows: Sequence[int] | np.ndarray[Any, Any]) -> str:
    """Where rows are in their file: "lines 2, 7, 9 and 3 more"; counted from 1.

    >>> places(RawTable("train.csv", (), lines=np.array([2, 3, 5])), [0, 2])
    'lines 2, 5'
    """
    word = "row" if raw.lines is None else "line"
    numbers = [int(row) + 1 if raw.lines is None else int(raw.lines[row]) for row in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return f"{word}{'s' if len(rows) > 1 else ''} {', '.join(str(number) for number in numbers)}{more}"


def read_delimited(
    path: Path,
    choose: Choose,
    *,
    sep: str | None,
    encoding: str,
    column_names: Sequence[str] = (),
    on_uneven: Literal["error", "drop"] = "error",
) -> RawTable:
    """Read a CSV file, or a TSV file, in which a quote is text like any other character.

    Args:
        path: the file; its first row names the columns, unless `column_names` does.
        choose: takes the names and says which columns to keep.
        sep: separator; None is a comma, in a .tsv file a tab.
        encoding: of the file.
        column_names: of a file without a header.
        on_uneven: whether rows with more or fewer fields than the header are an error or left out.

    Raises:
        DataError: naming the line, if rows do not have the header's fields, a quote is not closed, or bytes are not in
            this encoding.
    """
    tabbed = path.suffix.lower() == ".tsv"
    delimiter = _delimiter(sep) or ("\t" if tabbed else ",")
    quoting = csv.QUOTE_NONE if tabbed else csv.QUOTE_MINIMAL
    with open_text(path, encoding, newline="") as file:
        reader = _records(file, path, delimiter, quoting)
        header = list(column_names) if column_names else next(reader, (0, []))[1]
        names = _clean_header(header, path, delimiter, encoding)
        columns = choose([name for name in names if name])
        text = [names.index(name) for name in columns.text]
        label = names.index(columns.label) if columns.label is not None else None
        label_set = [names.index(name) for name in columns.label_set]
        row_id = names.index(columns.row_id) if columns.row_id is not None else None
        rows, width = _Rows(columns, len(text)), len(names)
        uneven: list[tuple[int, int]] = []
        for line, record in reader:
            if len(record) == width:
                rows.add(
                    line,
                    [record[index] for index in text],
                    [record[index] for index in label_set] if label_set else None if label is None else record[label],
                    None if row_id is None else record[row_id],
                )
            else:
                uneven.append((line, len(record)))
    if uneven and on_uneven == "drop":
        progress.note(f"{path}: {len(uneven):,} rows do not have the header's {width} fields; they were left out.")
    elif uneven:
        raise DataError(_uneven_message(path, uneven, width, delimiter, tabbed=tabbed))
    return rows.table(path)


def read_json_lines(path: Path, choose: Choose, *, encoding: str) -> RawTable:
    """Read a file of one JSON object a line.

    Raises:
        DataError: naming the line, if it is no JSON object or lacks a column.
    """
    rows: _Rows | None = None
    with open_text(path, encoding) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            record = _json_object(path, line, text)
            if rows is None:
                columns = choose(list(record))
                rows = _Rows(
                    columns, 1 + len(_choices(path, line, record, columns)) if columns.choices else len(columns.text)
                )
            columns = rows.columns
            absent = [
                name for name in columns.all if name not in (columns.row_id, columns.group) and name not in record
            ]
            if absent:
                raise DataError(
                    f"{path}, line {line}: the object has no key '{absent[0]}', which the first line has; its keys: "
                    f"{', '.join(record)}. Give every line the same keys."
                )
            texts: Sequence[str | None] = [_json_text(path, line, name, record[name]) for name in columns.text]
            label: Any = None if columns.label is None else record[columns.label]
            if columns.label_set:
                label = [record[name] for name in columns.label_set]
            for value in label if isinstance(label, list) else [label]:
                _require_characters(path, line, str(columns.label), value)
            if columns.choices:
                choices = _choices(path, line, record, columns)
                if len(choices) + 1 != rows.width:
                    raise DataError(
                        f"{path}, line {line}: the question has {len(choices)} choices, the first one "
                        f"{rows.width - 1}; give every question as many."
                    )
                label = None if label is None else right_choice(label, choices, f"{path}, line {line}")
                texts = choice_texts([text or "" for text in texts], choices)
            if columns.group is not None:
                rows.groups.append(_json_text(path, line, columns.group, record.get(columns.group)) or "")
            rows.add(line, texts, label, None if columns.row_id is None else record.get(columns.row_id))
    if rows is None:
        raise DataError(f"{path} has 0 rows; give a file with one JSON object a line.")
    return rows.table(path)


def choice_texts(texts: Sequence[str], choices: Sequence[str]) -> list[str]:
    """What a model reads of a question with choices: the context, and for each choice the question answered by it.

    A blank (`_`) in the question is filled in, as is usual for RACE; otherwise the choice stands behind the question.

    >>> choice_texts(["An article.", "Who is _ ?"], ["he", "she"])
    ['An article.', 'Who is he ?', 'Who is she ?']
    """
    if len(texts) == 1:
        return [texts[0], *choices]
    context, question = texts
    return [
        context,
        *(question.replace("_", choice) if "_" in question else f"{question} {choice}" for choice in choices),
    ]


def right_choice(answer: Any, choices: Sequence[str], where: str) -> int:
    """The place of the right choice, from 0: by its letter, its place, or its text.

    Raises:
        DataError: if the answer is none of these.
    """
    if isinstance(answer, str):
        word = answer.strip()
        if word in choices:
            return list(choices).index(word)
        if len(word) == 1 and word.isalpha() and ord(word.upper()) - ord("A") < len(choices):
            return ord(word.upper()) - ord("A")
        if word.isdecimal():
            answer = int(word)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    raise DataError(
        f"{where}: the answer is {answer!r}; give the letter of the right choice (A to {chr(64 + len(choices))}), its "
        f"place (0 to {len(choices) - 1}), or its text."
    )


def read_lines(path: Path, *, encoding: str) -> RawTable:
    """Read a file of one text a line; empty lines are kept."""
    rows = _Rows(Columns(("text",)), 1)
    with open_text(path, encoding) as file:
        for line, text in enumerate(file, start=1):
            rows.add(line, [text.rstrip("\n")], None, None)
    return rows.table(path)


def _records(file: TextIO, path: Path, delimiter: str, quoting: Any) -> Iterator[tuple[int, list[str]]]:
    """Each record that holds anything with the line it begins on; a quoted field may go over several."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
    begins = 1
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(_quote_message(path, begins, reader.line_num, str(error))) from error
    finally:
        csv.field_size_limit(before)


def _quote_message(path: Path, begins: int, line: int, error: str) -> str:
    if "unexpected end" in error:
        return (
            f'{path}, line {begins}: a quote (") that opens in the row beginning here is never closed. Close it, or '
            f'double a quote that is text (""), or save the file as .tsv, in which quotes are text.'
        )
    where = f"line {begins}" if line == begins else f"lines {begins} to {line}"
    return (
        f'{path}, {where}: the row cannot be read ({error}). A quote (") inside a quoted field must be doubled (""); '
        f"a quote that opens in line {begins} may not be closed."
    )


def _clean_header(header: list[str], path: Path, delimiter: str, encoding: str) -> list[str]:
    if not any(name.strip() for name in header):
        raise DataError(f"{path} has 0 rows and no header; give a file whose first row names the columns.")
    if any("\0" in name for name in header):
        raise DataError(
            f"{path} is not {encoding} text: its first line holds NUL characters, as UTF-16 read as {encoding} does. "
            "Try --set data.encoding=utf-16, or save it as UTF-8."
        )
    names = [name.strip() for name in header]
    if names != header:
        progress.warn(f"{path}: spaces around column names were taken away ({', '.join(filter(None, names))}).")
    if len(names) == 1:
        inside = [separator for separator in _SEPARATORS if separator != delimiter and separator in names[0]]
        if inside:
            given = "'\\t'" if inside[0] == "\t" else f"'{inside[0]}'"
            raise DataError(
                f"{path} has one column only ('{names[0]}'); it looks separated by {_SEPARATORS[inside[0]]}. "
                f"Use --set data.sep={given}."
            )
    named = [name for name in names if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}: the header names {', '.join(repr(name) for name in twice)} more than once. Give every column "
            "a name of its own; if the first row is data, put a row of names above it."
        )
    if len(named) < len(names):
        progress.note(f"{path}: a column without a name (an index?) was left out.")
    return names


def _uneven_message(path: Path, uneven: list[tuple[int, int]], width: int, delimiter: str, *, tabbed: bool) -> str:
    told = ", ".join(f"line {line}: {fields} of {width} fields" for line, fields in uneven[:5])
    more = f", and {len(uneven) - 5:,} more rows" if len(uneven) > 5 else ""
    if tabbed:
        advice = "A .tsv file is read without quoting: a text with a tab or a line break in it needs a .csv file."
    else:
        advice = f"A text that holds {_SEPARATORS.get(delimiter, delimiter)} must stand in quotes."
    return f"{path} has rows that do not have the {width} fields of the header; {told}{more}. {advice}"


def _delimiter(sep: str | None) -> str | None:
    if sep is None:
        return None
    char = "\t" if sep in ("\\t", "tab") else sep
    if len(char) != 1 or char in '"\r\n':
        raise RecipeError(f"data.sep is {sep!r}; give one character, for instance ';' or '\\t'.")
    return char


def _json_object(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        if line == 1 and text.strip() in ("[", "{"):
            raise DataError(f"{path}, line 1: the JSON goes over several lines. {_ONE_OBJECT_A_LINE}") from error
        raise DataError(f"{path}, line {line}, column {error.colno}: this is no JSON ({error.msg}).") from error
    except RecursionError as error:
        raise DataError(f"{path}, line {line}: the JSON is nested too deeply. {_ONE_OBJECT_A_LINE}") from error
    if not isinstance(record, dict):
        raise DataError(
            f"{path}, line {line}: expected a JSON object, found a {type(record).__name__}. {_ONE_OBJECT_A_LINE}"
        )
    return record


def _choices(path: Path, line: int, record: dict[str, Any], columns: Columns) -> list[str]:
    choices = record.get(str(columns.choices))
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(f"{path}, line {line}: '{columns.choices}' must be a list of two choices or more.")
    return [_json_text(path, line, str(columns.choices), choice) or "" for choice in choices]


def _json_text(path: Path, line: int, name: str, value: Any) -> str | None:
    if value is None:
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
