"""Read CSV, TSV and plain lines into tables: one for the whole file, or one per part.

Uses Python's `csv` in strict mode and no reader that guesses types: "NA" is a text, "01" is not 1, and a row of the
wrong length is an error.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from pkd import progress
from pkd.data.choices import listed_choices
from pkd.data.decode import open_text, text_lines
from pkd.data.find_columns import Columns, is_usual_name
from pkd.data.tables import Choose, RawTable, RowBuffer
from pkd.data.words import python_value
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import TABS
from pkd.recipe.spelling import named, set_to

Quotes = Literal["auto", "csv", "text"]

_LONGEST_FIELD = 2**31 - 1  # the csv module's default limit is 128 KiB
_SEPARATORS = {",": ",", ";": ";", "\t": "a tab", "|": "|"}
_SEP_LINE = re.compile(r'"?sep=(\\t|.)"?', re.IGNORECASE)  # a first line with which spreadsheets name the separator
_QUOTED = re.compile(r'"(?:[^"]|"")*"')  # a field as CSV quotes it


@dataclass(frozen=True)
class _Dialect:
    """How a file's fields are separated and quoted."""

    delimiter: str
    quoting: Literal[0, 3]  # of the csv module: QUOTE_MINIMAL or QUOTE_NONE

    @property
    def quotes_are_text(self) -> bool:
        """Whether quotes are ordinary characters."""
        return self.quoting == csv.QUOTE_NONE


def read_delimited(
    path: Path,
    choose: Choose,
    *,
    sep: str | None,
    encoding: str,
    quotes: Quotes = "auto",
    column_names: Sequence[str] = (),
    on_uneven: Literal["error", "drop"] = "error",
    rows_a_table: int | None = None,
) -> Iterator[RawTable]:
    """Read a CSV file, or a TSV file, in which quotes are ordinary characters.

    Args:
        path: the file. Its first row names the columns unless `column_names` does; a line `sep=;` before it names the
            separator.
        choose: maps the column names to the columns to keep.
        sep: separator; None means the one that the file names, else a comma, or a tab in a .tsv file.
        encoding: of the file.
        quotes: "csv" if quotes enclose fields, "text" if they are text; "auto" means "text" for a .tsv file.
        column_names: of a file without a header.
        on_uneven: whether rows with more or fewer fields than the header are an error or dropped.
        rows_a_table: rows per table, to hold only one part in memory; None reads the whole file into one table.

    Raises:
        DataError: naming the line, if a row has another number of fields than the header, a quote is not closed, or
            bytes are not in this encoding.
    """
    with open_text(path, encoding, newline="") as file:
        dialect, lines, begins = _dialect_of(path, file, sep, quotes)
        if begins > 1:
            progress.note(f"{path}: the first line names the separator; the rows begin after it.")
        ends: dict[str, int] = {}
        reader = _records(lines, path, dialect, begins, ends)
        header = list(column_names) if column_names else next(reader, (0, []))[1]
        names = _clean_header(header, path, dialect.delimiter, encoding)
        columns = _choose(choose, names, path, dialect, encoding)
        rows, width = RowBuffer(columns, is_typed=False), len(names)
        uneven: list[tuple[int, int]] = []
        quoted: int | None = None  # the first line with a field in quotes, where quotes are text
        for line, record in reader:
            if quoted is None and dialect.quotes_are_text and any(field.startswith('"') for field in record):
                quoted = line
            if len(record) != width:
                uneven.append((line, len(record)))
                continue
            if uneven and on_uneven == "error":
                continue  # the error is certain; go on to count the uneven rows
            if len(rows) == rows_a_table:
                yield rows.take(path)
            row = dict(zip(names, record, strict=True))
            choices = None if columns.choices is None else _choices(row[columns.choices], columns.choices, path, line)
            rows.add_record(line, row, f"{path}, line {line}", choices)
    as_csv = quoted is not None and _reads_as_csv(path, dialect.delimiter, encoding, width)
    stray = ""
    if {"\r", "\n"} <= ends.keys():
        stray = (
            f"The row of line {ends[chr(13)]} ends in a carriage return alone, others end in a line feed; if it "
            "belongs to a text, replace it by a space."
        )
    if uneven and on_uneven == "error":
        raise DataError(f"{_uneven_message(path, uneven, width, dialect, as_csv=as_csv)} {stray}".rstrip())
    if uneven:
        progress.note(f"{path}: {len(uneven):,} rows do not have the header's {width} fields; they were dropped.")
    if stray:
        progress.warn(f"{path}: {stray[0].lower()}{stray[1:]}")
    if as_csv:
        progress.warn(
            f"{path}: quotes such as those in line {quoted} look like CSV quoting, but a .tsv file's quotes are kept "
            f"as text; {set_to('data.quotes', 'csv')} reads them as CSV does."
        )
    yield rows.take(path)


def _choices(field: str, name: str, path: Path, line: int) -> list[str]:
    """The choices in a field that holds a list, as JSON, Python, numpy or pandas write it."""
    for read in (json.loads, python_value):
        try:
            listed = listed_choices(read(field))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if listed is not None:
            return listed[0]
    raise DataError(
        f'{path}, line {line}: \'{name}\' must hold a list of two or more choices, such as ["he", "she"]. Or use one '
        f"column per choice (choice_0, choice_1, ...) or JSON lines; or name the text column with "
        f"{set_to('data.text_columns')}."
    )


def read_lines(path: Path, *, encoding: str, rows_a_table: int | None = None) -> Iterator[RawTable]:
    """Read a file with one text per line; empty lines are kept."""
    rows = RowBuffer(Columns(("text",)))
    with open_text(path, encoding, newline="\n") as file:
        for line, text in enumerate(text_lines(file, str(path)), start=1):
            if len(rows) == rows_a_table:
                yield rows.take(path)
            rows.add(line, [text])
    yield rows.take(path)


def _dialect_of(path: Path, file: TextIO, sep: str | None, quotes: Quotes) -> tuple[_Dialect, Iterable[str], int]:
    """The dialect of a file, the lines to read in it, and the number of the first of them.

    A first line that names the separator is skipped; `sep` overrides it.
    """
    tabbed = path.suffix.lower() == ".tsv"
    first = file.readline()
    sep_line = _SEP_LINE.fullmatch(first.rstrip("\r\n"))
    delimiter = _delimiter(sep) or _delimiter(str(sep_line[1]) if sep_line else None) or ("\t" if tabbed else ",")
    dialect = _Dialect(
        delimiter, csv.QUOTE_NONE if quotes == "text" or (quotes == "auto" and tabbed) else csv.QUOTE_MINIMAL
    )
    if sep_line is None:
        return dialect, itertools.chain([first], file), 1
    return dialect, file, 2


def _records(
    lines: Iterable[str], path: Path, dialect: _Dialect, begins: int, ends: dict[str, int]
) -> Iterator[tuple[int, list[str]]]:
    """Yield each non-empty record with the line it begins on; a quoted field may span several lines.

    Fills in `ends`: line end -> the first line that has it.
    """
    before, skipped = csv.field_size_limit(_LONGEST_FIELD), begins - 1
    last = ""

    def watched() -> Iterator[str]:
        nonlocal last
        for line in lines:
            last = line
            yield line

    reader = csv.reader(watched(), delimiter=dialect.delimiter, quoting=dialect.quoting, strict=True)
    try:
        for record in reader:
            if record:
                ends.setdefault(last[-1:], begins)
                yield begins, record
            begins = skipped + reader.line_num + 1
    except csv.Error as error:
        raise DataError(_quote_message(path, begins, skipped + reader.line_num, str(error))) from error
    finally:
        csv.field_size_limit(before)


def _choose(choose: Choose, names: Sequence[str], path: Path, dialect: _Dialect, encoding: str) -> Columns:
    """The columns to keep; the error says so if only quotes around the names hide them."""
    try:
        return choose([name for name in names if name])
    except DataError as error:
        in_quotes = [name for name in names if _QUOTED.fullmatch(name)]
        if in_quotes and dialect.quotes_are_text and _reads_as_csv(path, dialect.delimiter, encoding, len(names)):
            raise DataError(
                f"{path}: the column names are in quotes ({', '.join(in_quotes)}), which look like CSV quoting, but in "
                f"a .tsv file quotes are text; {set_to('data.quotes', 'csv')} reads them as CSV does."
            ) from error
        raise


def _reads_as_csv(path: Path, delimiter: str, encoding: str, width: int) -> bool:
    """Whether quotes that were read as text are CSV quoting.

    All rows must parse as CSV, and one more sign is needed, since a text may be quoted for its own reasons: a doubled
    quote inside a quoted field, a quoted field in every row, or a row that has the header's fields only as CSV.
    """
    with open_text(path, encoding, newline="") as file:
        _, lines, begins = _dialect_of(path, file, delimiter, "csv")
        kept: list[list[str]] = []

        def watched() -> Iterator[str]:
            for line in lines:
                if text := line.rstrip("\r\n"):
                    kept.append(text.split(delimiter))
                yield line

        doubled = uneven = False
        always = True
        try:
            for _, record in _records(watched(), path, _Dialect(delimiter, csv.QUOTE_MINIMAL), begins, {}):
                fields = list(itertools.chain.from_iterable(kept))
                uneven |= len(kept) > 1 or len(fields) != width
                in_quotes = [field for field in fields if len(field) > 1 and _QUOTED.fullmatch(field)]
                doubled |= any('""' in field[1:-1] for field in in_quotes)
                always &= bool(in_quotes)
                kept.clear()
                if len(record) != width:
                    return False
        except DataError:
            return False
    return doubled or uneven or always


def _quote_message(path: Path, begins: int, line: int, error: str) -> str:
    if "unexpected end" in error:
        return (
            f'{path}, line {begins}: a quote (") that opens in the row beginning here is never closed. Close it, or '
            'double a quote that is text (""); if all quotes are text, use '
            f"{set_to('data.quotes', 'text')}."
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
            f"{path} is not {encoding} text: its first line holds NUL characters, like UTF-16 read as {encoding}. "
            f"Try {set_to('data.encoding', 'utf-16')}, or save it as UTF-8."
        )
    names = [name.strip() for name in header]
    if names != header:
        progress.warn(f"{path}: spaces around column names were removed ({', '.join(filter(None, names))}).")
    if len(names) == 1 and (other := _other_separator(names[0], delimiter)) is not None:
        raise DataError(
            f"{path} has only one column ('{names[0]}'); it looks separated by {_SEPARATORS.get(other, other)}. "
            f"Use {set_to('data.sep', other)}."
        )
    named = [name for name in names if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}: the header names {', '.join(repr(name) for name in twice)} more than once. Give every column "
            "its own name; if the first row is data, add a header row above it."
        )
    if len(named) < len(names):
        progress.note(f"{path}: a column without a name (an index?) was ignored.")
    return names


def _other_separator(header: str, delimiter: str) -> str | None:
    """The likely separator of a header that was read as one name: a usual one, else one that yields usual names."""
    marks = dict.fromkeys(mark for mark in itertools.chain(_SEPARATORS, header) if mark in header)
    for mark in marks:
        if mark == delimiter or mark.isalnum() or mark in " _\"'":
            continue
        usual = sum(is_usual_name(part.strip(" \"'")) for part in header.split(mark))
        if mark in _SEPARATORS or usual >= 2:
            return mark
    return None


def _uneven_message(path: Path, uneven: list[tuple[int, int]], width: int, dialect: _Dialect, *, as_csv: bool) -> str:
    shown = ", ".join(f"line {line}: {fields} of {width} fields" for line, fields in uneven[:5])
    more = f", and {len(uneven) - 5:,} more rows" if len(uneven) > 5 else ""
    if as_csv:
        advice = (
            "Quotes are text in a .tsv file, but these look like CSV quoting: "
            f"{set_to('data.quotes', 'csv')} reads them as CSV does."
        )
    elif dialect.quotes_are_text:
        advice = (
            "Quotes are text here, so they cannot enclose a separator or a line break; if they are CSV quoting, use "
            f"{set_to('data.quotes', 'csv')}."
        )
    else:
        advice = f"A text that holds {_SEPARATORS.get(dialect.delimiter, dialect.delimiter)} must be in quotes."
    return f"{path} has rows that do not have the {width} fields of the header; {shown}{more}. {advice}"


def _delimiter(sep: str | None) -> str | None:
    if sep is None:
        return None
    char = "\t" if sep in TABS else str(sep)
    if len(char) != 1 or char in '"\r\n':
        raise RecipeError(f"{named('data.sep')} is {sep!r}; give one character, for instance ';' or '\\t'.")
    return char
