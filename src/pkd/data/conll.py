"""Read files with one word a line and columns beside it, as CoNLL's: a blank line ends a sentence.

Columns are parted by tabs or by runs of spaces. Lines of `-DOCSTART-` and comments (`# text = ...`) are left out; a
word `#` with its columns is none.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pkd import progress
from pkd.data.decode import open_text, text_lines
from pkd.data.find_columns import Columns
from pkd.data.tables import RawTable, RowBuffer
from pkd.data.tags import OUTSIDE, Tagged, marks_spans
from pkd.data.words import word_offsets
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import set_to

CONLL = (".conll", ".conllu", ".bio", ".iob", ".iob2", ".iobes", ".bioes")
OF_CONLL_U = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_WORDS = ("word", "words", "token", "tokens", "form")
_TAGS = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "upos", "entity")
_BLANKS = re.compile(r"[ \t]+")
_KEY = re.compile(r"#(\w+ *=|begin document|end document)")  # of comments without a space after the sign
_ID = re.compile(r"\d+(?:[-.]\d+)?")  # of CoNLL-U: a word, words written as one ("3-4"), a word left out ("5.1")
_HEAD = 2000  # lines that show how a file is written
_SHOWN = 5


@dataclass(frozen=True)
class _Layout:
    """How a file's lines are read.

    Attributes:
        separator: "\\t", "" for runs of blanks, or the user's.
        width: number of columns.
        names: of the columns; their numbers from 1 if they have none.
        is_numbered: the first column counts the words of a sentence.
        last: what the last column holds, as far as it is seen.
        tags: index of the column of the tags, if none is named.
        header: number of the line that names the columns, 0 if there is none.
    """

    separator: str
    width: int
    names: tuple[str, ...]
    is_numbered: bool
    last: frozenset[str]
    tags: int
    header: int = 0


def read_conll(
    path: Path, settings: DataSettings, *, labelled: bool | None, rows_a_table: int | None = None
) -> Iterator[RawTable]:
    """Read a file of sentences; their text is their words with a space between.

    Args:
        path: the file.
        settings: `text_columns` names the column of the words (default: the first), `label_column` that of the tags
            (default: the last that marks spans, else the last; of CoNLL-U UPOS), by name or number; -1 is the last.
        labelled: whether there must be tags; None takes them if there are any.
        rows_a_table: sentences per table, as in `read_delimited`.

    Raises:
        DataError: naming the lines with another number of columns, or a column that the file does not have.
    """
    layout = _layout_of(path, settings)
    word, tag = _chosen(layout, settings, path, labelled=labelled)
    _note_columns(layout, word, tag, path)
    rows = RowBuffer(Columns(("text",), None if tag is None else "label", has_tokens=True), is_typed=False)
    uneven: list[tuple[int, int]] = []
    dropped = 0
    with open_text(path, settings.encoding, newline="\n") as file:
        for sentence in _sentences(text_lines(file, str(path)), layout):
            wrong = [(line, len(fields)) for line, fields in sentence if len(fields) != layout.width]
            uneven += wrong
            if wrong or (uneven and settings.on_uneven == "error"):
                dropped += 1
                continue  # an error is certain; go on to count the lines
            if len(rows) == rows_a_table:
                yield rows.take(path)
            _add(rows, sentence, word, tag, path)
    if uneven and settings.on_uneven == "error":
        raise DataError(_uneven_message(path, uneven, layout))
    if uneven:
        progress.note(
            f"{path}: {dropped:,} sentences have lines without the {layout.width} columns; they were dropped."
        )
    yield rows.take(path)


def refuse_webanno(path: Path, encoding: str) -> None:
    """Refuse WebAnno's own columns, whose labels are no tags of a scheme.

    Raises:
        DataError: naming the export that is read.
    """
    with open_text(path, encoding, newline="\n") as file:
        first = next(iter(text_lines(file, str(path))), "")
    if first.startswith("#FORMAT=WebAnno"):
        raise DataError(
            f"{path} is in WebAnno's own format ({first.strip().partition('=')[2]}), which is not read. Export it from "
            "INCEpTION or WebAnno as CoNLL 2002 (for parts of speech as CoNLL-U), and name the file .conll."
        )


def looks_like_columns(path: Path, settings: DataSettings) -> bool:
    """Whether a text file holds words and their columns: lines of as many fields, two or more, between blank ones.

    Of a single sentence the tags show it.
    """
    with open_text(path, settings.encoding, newline="\n") as file:
        lines = [line.strip() for line in itertools.islice(text_lines(file, str(path)), _HEAD)]
    words = [line for line in lines if line and not _is_mark(line) and not line.startswith("#")]
    split = [_BLANKS.split(line) for line in words]
    widths = {len(fields) for fields in split}
    if len(widths) != 1 or widths == {1} or len(words) < 2:
        return False
    tags = {fields[-1] for fields in split}
    return len(words) < len(lines) or (OUTSIDE in tags and marks_spans(tags, "before"))


def _layout_of(path: Path, settings: DataSettings) -> _Layout:
    """How the first lines of a file are written."""
    with open_text(path, settings.encoding, newline="\n") as file:
        head = list(itertools.islice(text_lines(file, str(path)), _HEAD))
    numbered = [(number, line) for number, line in enumerate(head, 1) if line.strip() and not _is_mark(line.strip())]
    words = [each for each in numbered if not each[1].startswith("#")] or numbered
    if not words:
        raise DataError(f"{path} has 0 rows; give a file with one word and its columns a line.")
    tabs = sum("\t" in line.strip() for _, line in words)
    separator = settings.sep or ("\t" if 2 * tabs >= len(words) else "")
    split = [_fields(line, separator, 0) for _, line in words]
    width = len(split[0]) if len(split) < 3 else Counter(map(len, split)).most_common(1)[0][0]
    is_header = len(split) > 1 and len(split[0]) == width and _is_header(split[0])
    ids = [fields[0] for fields in split[is_header:]]
    is_numbered = width > 1 and ids[0].split("-")[0] in ("0", "1") and all(map(_ID.fullmatch, ids))
    is_numbered = is_numbered and (len(ids) > 1 or width == len(OF_CONLL_U))
    named = next((line.partition("=")[2].split() for line in head if line.startswith("# global.columns")), [])
    given: Sequence[str] = settings.column_names or (split[0] if is_header else named)
    if not given and is_numbered and width == len(OF_CONLL_U):
        given = OF_CONLL_U
    if settings.column_names and len(given) != width:
        raise DataError(
            f"{path}, line {words[0][0]}: the line has {width} columns, but {set_to('data.column_names')} names "
            f"{len(given)} ({', '.join(given)}). Name every column."
        )
    names = tuple(given) if len(given) == width else tuple(str(number) for number in range(1, width + 1))
    last = frozenset([OUTSIDE, *(fields[-1] for fields in split)])
    tags = _tag_column([fields for fields in split[is_header:] if len(fields) == width], width)
    return _Layout(separator, width, names, is_numbered, last, tags, words[0][0] if is_header else 0)


def _tag_column(split: Sequence[Sequence[str]], width: int) -> int:
    """The last column that marks spans; the last of all if none does, or it may."""
    columns = [set(column) for column in zip(*split, strict=True)]
    if columns and not marks_spans(columns[-1]) and not columns[-1] <= {OUTSIDE}:
        return next((index for index in reversed(range(width)) if marks_spans(columns[index], "before")), width - 1)
    return width - 1


def _is_header(fields: Sequence[str]) -> bool:
    names = [field.casefold() for field in fields]
    return any(name in _WORDS for name in names) and any(name in _TAGS for name in names)


def _is_mark(line: str) -> bool:
    return line.startswith("-DOCSTART-")


def _fields(line: str, separator: str, width: int) -> list[str]:
    """The columns of a line; of `width`, if the line can be split into so many."""
    line = line.strip(" \t")
    if not separator:
        return _BLANKS.split(line)
    fields = [field.strip(" ") for field in line.split(separator)]
    if width and len(fields) != width:
        others = (re.split(rf"{re.escape(separator)}+", line), _BLANKS.split(line))
        return next((other for other in others if len(other) == width), fields)
    return fields


def _sentences(lines: Iterable[str], layout: _Layout) -> Iterator[list[tuple[int, list[str]]]]:
    """The words of each sentence, as their line's number and fields."""
    sentence: list[tuple[int, list[str]]] = []
    for line, text in enumerate(lines, start=1):
        stripped = text.strip(" \t\r")
        if not stripped or _is_mark(stripped):
            if sentence:
                yield sentence
            sentence = []
            continue
        if line == layout.header:
            continue
        fields = _fields(text, layout.separator, layout.width)
        if not sentence and stripped.startswith("#") and _is_comment(stripped, fields, layout):
            continue
        if layout.is_numbered and not fields[0].isdecimal() and _ID.fullmatch(fields[0]):
            continue  # not a word of its own
        sentence.append((line, fields))
    if sentence:
        yield sentence


def _is_comment(line: str, fields: Sequence[str], layout: _Layout) -> bool:
    """Whether a line that begins with #, before a sentence, is none of its words: a word has columns as the others."""
    if layout.is_numbered or line == "#":
        return True
    is_even = len(fields) == layout.width
    if line[1] in " \t":
        return not is_even or fields[-1] not in layout.last
    return not is_even and _KEY.match(line) is not None


def _add(rows: RowBuffer, sentence: Sequence[tuple[int, list[str]]], word: int, tag: int | None, path: Path) -> None:
    words = [fields[word] for _, fields in sentence]
    for column, what in ((word, "word"), (tag, "tag")):
        if column is not None and (lacking := [line for line, fields in sentence if not fields[column]]):
            raise DataError(f"{path}, line {lacking[0]}: there is no {what} in column {column + 1}. Fill it in.")
    lines = [line for line, _ in sentence]
    consecutive = lines[-1] - lines[0] == len(lines) - 1
    label = None
    if tag is not None:
        tags = tuple(sys.intern(fields[tag]) for _, fields in sentence)
        label = Tagged(tags, range(lines[0], lines[-1] + 1) if consecutive else tuple(lines))
    rows.add_words(lines[0], " ".join(words), word_offsets(words), label)


def _chosen(layout: _Layout, settings: DataSettings, path: Path, *, labelled: bool | None) -> tuple[int, int | None]:
    """The index of the column of the words and of the tags; no tags if none are wanted or there are none."""
    if len(settings.text_columns) > 1:
        raise DataError(
            f"{path} has one word a line, but {set_to('data.text_columns', list(settings.text_columns))} names two "
            "columns. Name that of the words."
        )
    tags_are_first = layout.tags == 0 and layout.width == 2
    default = _index(layout, ("FORM",)) if layout.is_numbered else int(tags_are_first)
    word = _column(layout, settings.text_columns[0], path, "data.text_columns") if settings.text_columns else default
    if labelled is False:
        return word, None
    if settings.label_column is not None:
        tag = _column(layout, settings.label_column, path, "data.label_column")
    else:
        tag = _index(layout, ("UPOS",)) if layout.names == OF_CONLL_U else layout.tags
    if tag != word:
        return word, tag
    if labelled is None and settings.label_column is None:
        return word, None
    marks = [mark for mark in ";,|" if all(mark in each for each in layout.last - {OUTSIDE})]
    if layout.width == 1 and marks and settings.sep is None:
        raise DataError(
            f"{path} has no blanks or tabs between columns, but {marks[0]!r} in every line. If that parts them, give "
            f"{set_to('data.sep', marks[0])}."
        )
    raise DataError(
        f"{path} has no tags beside its words: "
        + ("its lines have one column." if layout.width == 1 else f"column {tag + 1} is named for both.")
        + f" Name the column of the tags with {set_to('data.label_column')}, or give the file as unlabelled text."
    )


def _index(layout: _Layout, names: Sequence[str]) -> int:
    """The column of one of these names; where columns have none the second, after the words' numbers."""
    return next((layout.names.index(name) for name in names if name in layout.names), 1)


def _column(layout: _Layout, name: str, path: Path, key: str) -> int:
    if name in layout.names:
        return layout.names.index(name)
    if re.fullmatch(r"-?\d+", name) and 1 <= abs(int(name)) <= layout.width:
        return int(name) - 1 if int(name) > 0 else layout.width + int(name)
    numbers = "" if layout.names[0] == "1" else f" ({', '.join(layout.names)})"
    raise DataError(
        f"{path} has no column {name!r}; its lines have {layout.width}{numbers}. Give one of them by its "
        f"{'name or ' if numbers else ''}number, from 1 on, with {set_to(key)}."
    )


def _note_columns(layout: _Layout, word: int, tag: int | None, path: Path) -> None:
    if layout.width > 2 or (layout.width > 1 and tag is None) or tag == 0:
        tags = "" if tag is None else f", the tags in column {layout.names[tag]}"
        progress.note(f"{path}: the words are in column {layout.names[word]}{tags}, of {layout.width} columns.")


def _uneven_message(path: Path, uneven: Sequence[tuple[int, int]], layout: _Layout) -> str:
    shown = ", ".join(f"line {line}: {fields} of {layout.width} columns" for line, fields in uneven[:_SHOWN])
    more = f", and {len(uneven) - _SHOWN:,} more lines" if len(uneven) > _SHOWN else ""
    apart = {"\t": "tabs", "": "blanks"}.get(layout.separator, repr(layout.separator))
    return (
        f"{path} has lines with another number of columns than the {layout.width} of most; {shown}{more}. Columns are "
        f"parted by {apart}, sentences by blank lines; mend these lines, or leave their sentences out with "
        f"{set_to('data.on_uneven', 'drop')}."
    )
