"""Read the tags of a source's words: in IOB2 if they mark spans, with every tag that cannot be named by its line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pkd import progress
from pkd.data.match_names import listed
from pkd.data.tables import RawTable, name_rows
from pkd.data.tags import OUTSIDE, Fault, Scheme, Tagged, faults, recognise, to_iob2
from pkd.errors import DataError
from pkd.recipe.settings import TagScheme
from pkd.recipe.spelling import set_to

_SHOWN = 5
_EXAMPLE = ["O", "B-PER", "I-PER"]


class TagReader:
    """Read the tags of a job's sources; the scheme of the first holds for those that fit it.

    Args:
        asked: the user's choice of a scheme.
        names: what class ids stand for, in their order; empty if that is unknown.
    """

    def __init__(self, asked: TagScheme, names: Sequence[str] = ()) -> None:
        self._asked = asked
        self._names = tuple(names)
        self._first: Scheme | None = None

    def read(self, raw: RawTable, values: Sequence[Tagged | None]) -> pa.Array:
        """The tags of each row as a list of texts, null where a row has none.

        Raises:
            DataError: naming the lines of tags that cannot be where they are.
        """
        values = [None if value is None else self._named(raw, row, value) for row, value in enumerate(values)]
        rows = [() if value is None else value.tags for value in values]
        if raw.has_spans:  # written as IOB2 by `spans_to_tags`
            self._first = self._first or Scheme("IOB2")
            return pa.array([value and list(value.tags) for value in values], pa.list_(pa.string()))
        scheme = self._scheme_of(rows, raw.source)
        if found := list(faults(rows, scheme)):
            raise DataError(_message(raw, values, found, scheme))
        tags = [None if value is None else to_iob2(value.tags, scheme) for value in values]
        return pa.array(tags, pa.list_(pa.string()))

    def _named(self, raw: RawTable, row: int, value: Tagged) -> Tagged:
        """The tags as texts; class ids by their names, also where they are written as texts."""
        if all(isinstance(tag, str) and tag.strip() and not self._is_id(tag) for tag in value.tags):
            return value
        return value._replace(tags=tuple(self._name(raw, row, word, tag) for word, tag in enumerate(value.tags)))

    def _name(self, raw: RawTable, row: int, word: int, tag: Any) -> str:
        where = f"{raw.source}, {name_rows(raw, [row])}, word {word + 1}"
        if isinstance(tag, str) and tag.strip():
            return self._name(raw, row, word, int(tag)) if self._is_id(tag) else tag
        if isinstance(tag, bool) or not isinstance(tag, int | float) or not float(tag).is_integer():
            raise DataError(f"{where}: the tag is {tag!r}; give every word a name or a class id.")
        if not self._names:
            raise DataError(
                f"{where}: the tag is {tag}, a class id, but the classes have no names. Name them in their order, that "
                f"of 0 first, with {set_to('data.label_names')}, for instance {set_to('data.label_names', _EXAMPLE)}."
            )
        if not 0 <= tag < len(self._names):
            raise DataError(
                f"{where}: the tag is {tag}, but the classes are 0 to {len(self._names) - 1} ({listed(self._names)})."
            )
        return self._names[int(tag)]

    def _is_id(self, tag: str) -> bool:
        return bool(self._names) and tag.isdecimal() and tag not in self._names

    def _scheme_of(self, rows: Sequence[Sequence[str]], source: str) -> Scheme:
        if all(tag == OUTSIDE for row in rows for tag in row):
            return self._first or Scheme("IOB2")
        first = self._first
        if first is not None and (first.is_plain or not any(True for _ in faults(rows, first))):
            return first
        own = recognise(rows, source, self._asked)
        if first is None:
            self._first = own
            if not own.is_plain:
                progress.note(f"{source}: the tags mark spans in {own.name}.")
            return own
        # in IOB2 a tag that cannot be may look like IOB1: its file is one of the job's
        if own.is_plain or own.name == "IOB1":
            return first
        progress.note(f"{source}: the tags mark spans in {own.name}, those read before in {first.name}.")
        return own


def _message(raw: RawTable, values: Sequence[Tagged | None], found: Sequence[Fault], scheme: Scheme) -> str:
    shown = "; ".join(f"{_where(raw, values, fault)}: {fault.message}" for fault in found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    are = "there is a tag that cannot be" if len(found) == 1 else f"there are {len(found):,} tags that cannot be"
    return (
        f"{raw.source}: {are} in {scheme.name}, the scheme of this file. {shown}{more}. Correct them; or, if it is "
        f"another scheme, name it with {set_to('data.tag_scheme')}."
    )


def _where(raw: RawTable, values: Sequence[Tagged | None], fault: Fault) -> str:
    value = values[fault.row]
    assert value is not None  # else it had no tags
    if value.lines is None:
        return f"{name_rows(raw, [fault.row])}, word {fault.word + 1}"
    lines = value.lines[fault.word]
    return f"line {lines}" if fault.first is None else f"lines {value.lines[fault.first]} and {lines}"
