"""CSV, TSV and plain lines become tables, one of a whole file or one after another of its parts.

Python's own `csv` in strict mode, not a reader that guesses types: "NA" is a text, "01" is not 1, and a row of the
wrong length is an error.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from pkd import progress
from pkd.data.opening import open_text
from pkd.data.tables import Choose, RawTable, RowBuffer
from pkd.data.tasks import Columns
from pkd.errors import DataError, RecipeError

_LONGEST_FIELD = 2**31 - 1  # the csv module refuses fields of more than 128 KiB unless told otherwise
_SEPARATORS = {",": ",", ";": ";", "\t": "a tab", "|": "|"}


def read_delimited(
    path: Path,
    choose: Choose,
    *,
    sep: str | None,
    encoding: str,
    column_names: Sequence[str] = (),
    on_uneven: Literal["error", "drop"] = "error",
    rows_a_table: int | None = None,
) -> Iterator[RawTable]:
    """Read a CSV file, or a TSV file, in which a quote is text like any other character.

    Args:
        path: the file; its first row names the columns, unless `column_names` does.
        choose: takes the names and says which columns to keep.
        sep: separator; None is a comma, in a .tsv file a tab.
        encoding: of the file.
        column_names: of a file without a header.
        on_uneven: whether rows with more or fewer fields than the header are an error or left out.
        rows_a_table: of a file that is read in parts, of which only one is in the memory; None reads all into one.

    Raises:
        DataError: naming the line, if rows do not have the header's fields, a quote is not closed, or bytes are not in
            this encoding.
    """
    delimiter, quoting = _dialect_of(path, sep)
    with open_text(path, encoding, newline="") as file:
        reader = _records(file, path, delimiter, quoting)
        header = list(column_names) if column_names else next(reader, (0, []))[1]
        names = _clean_header(header, path, delimiter, encoding)
        columns = choose([name for name in names if name])
        if columns.choices is not None:
            raise DataError(
                f"{path}: the column '{columns.choices}' seems to hold several choices, which a field cannot. Give "
                "JSON lines with a list, or a column a choice, as choice_0, choice_1; or name the text column."
            )
        rows, width = RowBuffer(columns, len(columns.choice_set)), len(names)
        uneven: list[tuple[int, int]] = []
        for line, record in reader:
            if len(record) != width:
                uneven.append((line, len(record)))
                continue
            if len(rows) == rows_a_table:
                if uneven and on_uneven == "error":
                    break
                yield rows.take(path)
            rows.add_record(line, dict(zip(names, record, strict=True)), f"{path}, line {line}")
    if uneven and on_uneven == "drop":
        progress.note(f"{path}: {len(uneven):,} rows do not have the header's {width} fields; they were left out.")
    elif uneven:
        raise DataError(_uneven_message(path, uneven, width, delimiter, tabbed=quoting == csv.QUOTE_NONE))
    yield rows.take(path)


def read_lines(path: Path, *, encoding: str, rows_a_table: int | None = None) -> Iterator[RawTable]:
    """Read a file of one text a line; empty lines are kept."""
    rows = RowBuffer(Columns(("text",)))
    with open_text(path, encoding) as file:
        for line, text in enumerate(file, start=1):
            if len(rows) == rows_a_table:
                yield rows.take(path)
            rows.add(line, [text.rstrip("\n")])
    yield rows.take(path)


def _dialect_of(path: Path, sep: str | None) -> tuple[str, Literal[0, 3]]:
    """The delimiter of a file and how quotes are meant (of the csv module): in a .tsv file they are text."""
    tabbed = path.suffix.lower() == ".tsv"
    return _delimiter(sep) or ("\t" if tabbed else ","), csv.QUOTE_NONE if tabbed else csv.QUOTE_MINIMAL


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
