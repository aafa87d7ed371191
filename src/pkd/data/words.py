"""Lists of words, and where each is in the text that joins them with spaces."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pkd.data.arrays import column_values
from pkd.data.choices import text_of
from pkd.data.windows import WORDS, spans_of, split_words
from pkd.errors import DataError

if TYPE_CHECKING:
    import datasets

_ITEM = r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|-?\d+(?:\.\d*)?"""
_NUMPY_ITEM = re.compile(_ITEM)
_NUMPY = re.compile(rf"\[((?:\s*(?:{_ITEM})(?=[\s\]]))*+)\s*\]")


def word_offsets(words: Iterable[str]) -> list[int]:
    """The characters of words that are joined by spaces: start and end of each.

    >>> word_offsets(["New", "York"])
    [0, 3, 4, 8]
    """
    offsets: list[int] = []
    begin = 0
    for word in words:
        offsets += (begin, begin + len(word))
        begin += len(word) + 1
    return offsets


def words_of(value: Any, name: str, where: str) -> list[str]:
    """The words in a value: a list of texts, of objects with their `text`, or a text that holds such a list.

    Raises:
        DataError: if it holds anything else.

    >>> words_of("['New', 'York']", "tokens", "a.csv, line 2")
    ['New', 'York']
    """
    listed = items_in(value)
    if listed is None:
        raise DataError(
            f'{where}: \'{name}\' is {short(value)}; a list of words is expected, such as ["New", "York"]. A file '
            "with one word a line is read as CoNLL columns: its name must end in .conll, with a blank line between "
            "sentences."
        )
    words = [each.get("text") if isinstance(each, Mapping) else each for each in listed]
    for number, word in enumerate(words, start=1):
        if isinstance(word, bool) or not isinstance(word, str | int | float) or text_of(word) is None:
            raise DataError(f"{where}: word {number} of '{name}' is {short(word)}; a text is expected.")
    return [str(word) for word in words]


def items_in(value: Any) -> list[Any] | None:
    """The items of a list, or of a text that holds one, as JSON and Python write it; None for another value."""
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "(")):
        return None
    for read in (json.loads, python_value):
        try:
            found = read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | tuple):
            return list(found)
    return None


def python_value(text: str) -> Any:
    """The value in a text that Python or numpy wrote.

    pandas writes a column of numpy's arrays without commas; Python's syntax would join their texts to one.

    Raises:
        ValueError, SyntaxError, RecursionError, MemoryError: if there is none.

    >>> python_value("['New' 'York']"), python_value("[1 0]"), python_value("['New', 'York']")
    (['New', 'York'], [1, 0], ['New', 'York'])
    """
    if (items := _NUMPY.fullmatch(text.strip())) is None:
        return ast.literal_eval(text)
    return [ast.literal_eval(item[0]) for item in _NUMPY_ITEM.finditer(items[1])]


def words_are_split(rows: datasets.Dataset) -> bool:
    """Whether the words of all rows are those that `split_words` finds, so that a file need not hold them."""
    pairs = zip(column_values(rows, "text"), column_values(rows, WORDS), strict=True)
    return all(tuple(split_words(text)) == spans_of(offsets) for text, offsets in pairs)


def with_words_for_file(table: pa.Table, *, as_tokens: bool) -> pa.Table:
    """Rows whose words have tags as a file holds them: their text, or their words as `tokens`."""
    rows = table.drop_columns([WORDS])
    if not as_tokens:
        return rows
    pairs = zip(table["text"].to_pylist(), table[WORDS].to_pylist(), strict=True)
    tokens = [[text[slice(*span)] for span in spans_of(offsets)] for text, offsets in pairs]
    place = rows.schema.get_field_index("text")
    return rows.set_column(place, "tokens", pa.array(tokens, pa.list_(pa.string())))


def short(value: Any) -> str:
    """A value for a message, cut at 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
