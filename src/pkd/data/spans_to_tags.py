"""Turn the spans of an annotation tool, characters of a text with a label, into tags of its words in IOB2.

A span is an object with `start`, `end` and `label` (Prodigy, spaCy, doccano's relations; Label Studio has `labels`, a
list of one), or a list of the three (doccano, spaCy). Nothing is guessed: a span that fits no words is a conflict, as
is one whose own `text` is another than the characters there. That text also proves what offsets count: characters, or
the UTF-16 units of JavaScript, in which Label Studio counts an emoji twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pkd.data.tags import OUTSIDE
from pkd.data.windows import Span
from pkd.recipe.settings import Counted
from pkd.recipe.spelling import set_to

_STARTS = ("start", "start_offset", "begin", "startOffset", "start_char", "start_position")
_ENDS = ("end", "end_offset", "stop", "endOffset", "end_char", "end_position")
_LABELS = ("label", "labels", "entity", "type", "tag", "entity_type", "entity_group")
NAMES: dict[Counted, str] = {"characters": "characters", "utf-16": "UTF-16 units", "bytes": "bytes of UTF-8"}
_SHORT = 40  # characters of a span in a message


@dataclass(frozen=True)
class Converted:
    """The tags of a row's words, the conflicts of its spans, and whether blanks at ends were left out.

    `counted`: what the offsets count, where the spans' own texts show that it is not characters.
    """

    tags: tuple[str, ...]
    conflicts: tuple[str, ...] = ()
    trimmed: bool = False
    counted: Counted | None = None


class _Edges(NamedTuple):
    """The words of a text, and the number of the word that starts, or ends, at a character."""

    words: Sequence[Span]
    starts: Mapping[int, int]
    ends: Mapping[int, int]


class _Placed(NamedTuple):
    """A span of whole words: first character, the one after its last, and label."""

    span: tuple[int, int, str]
    trimmed: bool
    counted: Counted | None


class _Read(NamedTuple):
    start: int
    end: int
    label: str
    text: str | None  # what it says that it covers


def holds_spans(value: Any) -> bool | None:
    """Whether a row's label is a list of spans; None for a list that is empty.

    >>> holds_spans([[0, 3, "PER"]]), holds_spans(["news", "sport"]), holds_spans([])
    (True, False, None)
    """
    if isinstance(value, Mapping):  # of lists, as `datasets` keeps objects
        return _lists_of(value) is not None
    if not isinstance(value, list | tuple):
        return False
    if not len(value):
        return None
    return all(isinstance(each, Mapping) or (isinstance(each, list | tuple) and len(each) >= 3) for each in value)


def are_spans(value: Any) -> bool:
    """Whether a value is a list of objects that begin at a character, as tools write spans.

    >>> are_spans([{"start": 0, "end": 3, "label": "PER"}]), are_spans([{"text": "a"}])
    (True, False)
    """
    return isinstance(value, list) and all(
        isinstance(each, Mapping) and any(map(each.__contains__, _STARTS)) for each in value
    )


def tags_of_spans(text: str, words: Sequence[Span], value: Any, counted: Counted = "characters") -> Converted:
    """The tags of words.

    Args:
        text: of the row.
        words: the characters of each word.
        value: the spans.
        counted: what their offsets count.

    >>> tags_of_spans("Ann Lee ran", [(0, 3), (4, 7), (8, 11)], [[0, 7, "PER"]]).tags
    ('B-PER', 'I-PER', 'O')
    """
    tags = [OUTSIDE] * len(words)
    conflicts: list[str] = []
    trimmed, proven = False, None
    placed: list[tuple[int, int, str]] = []
    edges = _Edges(
        words,
        {start: number for number, (start, _) in enumerate(words)},
        {end: number for number, (_, end) in enumerate(words)},
    )
    spans = _lists_of(value) if isinstance(value, Mapping) else value
    for each in spans or ():
        span = _read(each)
        found = span if isinstance(span, str) else _placed(text, edges, span, counted)
        if isinstance(found, str):
            conflicts.append(found)
            continue
        start, end, label = found.span
        over = next((other for other in placed if other[0] < end and start < other[1]), None)
        if over is not None and over != found.span:
            told = f"{_short(text[start:end])!r}, {start} to {end} ({label})"
            conflicts.append(f"the span {told} overlaps that of {over[0]} to {over[1]} ({over[2]})")
        if over is not None:
            continue  # the same one is written twice
        placed.append(found.span)
        trimmed, proven = trimmed or found.trimmed, found.counted or proven
        for number in range(edges.starts[start], edges.ends[end] + 1):
            tags[number] = f"{'B' if number == edges.starts[start] else 'I'}-{label}"
    return Converted(tuple(tags), tuple(conflicts), trimmed, proven)


def _placed(text: str, edges: _Edges, span: _Read, counted: Counted) -> _Placed | str:
    """Where a span is, without blanks at its ends; what is wrong if it is not from the start to the end of words."""
    given = f"the span {span.start} to {span.end} ({span.label})"
    unit = _unit_of(text, span, counted)
    if unit is None:
        there = _short(text[span.start : span.end])
        return f"{given} covers {there!r}, but gives {_short(str(span.text))!r} as its text"
    start, end = _in_characters(text, span.start, span.end, unit)
    if not 0 <= start <= end <= len(text):
        hint = _hint(text, span, edges, unit)
        return f"{given} lies outside of the text, which has {len(text):,} characters{hint}"
    inside = text[start:end]
    if not inside.strip():
        return f"{given} is empty"
    start, end = start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())
    if start not in edges.starts or end not in edges.ends:
        at = start if start not in edges.starts else end
        word = next((text[slice(*word)] for word in edges.words if word[0] < at < word[1]), "")
        told = f"{_short(text[start:end])!r}, {start} to {end} ({span.label})"
        hint = _hint(text, span, edges, unit)
        return f"the span {told} {'begins' if at == start else 'ends'} inside of the word {word!r}{hint}"
    return _Placed((start, end, span.label), inside != inside.strip(), None if unit == counted else unit)


def _unit_of(text: str, span: _Read, counted: Counted) -> Counted | None:
    """What a span's offsets count: as given, or as its own text proves; None if that text is nowhere there."""
    if span.text is None or counted != "characters":
        return counted
    for unit in NAMES:
        start, end = _in_characters(text, span.start, span.end, unit)
        inside = text[start:end] if 0 <= start <= end else ""
        if _without_blanks(inside) == _without_blanks(span.text.replace("\\n", "\n")):  # as Label Studio writes it
            return unit
    return None


def _without_blanks(text: str) -> list[str]:
    return text.casefold().split()


def _in_characters(text: str, start: int, end: int, counted: Counted) -> tuple[int, int]:
    """The characters at offsets of another unit; -1 for an offset inside of a character or outside of the text."""
    if counted == "characters":
        return start, end
    widths = (1 + (sign > "\uffff") if counted == "utf-16" else len(sign.encode()) for sign in text)
    place = {offset: index for index, offset in enumerate(itertools.accumulate(widths, initial=0))}
    return place.get(start, -1), place.get(end, -1)


def _hint(text: str, span: _Read, edges: _Edges, counted: Counted) -> str:
    """What a conflict comes from, if offsets of another unit would be those of words."""
    if counted != "characters" or text.isascii():
        return ""
    for unit in NAMES:
        start, end = _in_characters(text, span.start, span.end, unit)
        if start in edges.starts and end in edges.ends and start < end:
            return (
                f"; counted in {NAMES[unit]} it is {_short(text[start:end])!r}: if that is meant, give "
                f"{set_to('data.span_offsets', unit)}"
            )
    return ""


def _read(span: Any) -> _Read | str:
    """Start, end and label of a span; what is wrong with it if it has none."""
    if isinstance(span, Mapping):
        inner = span.get("value")
        span = inner if isinstance(inner, Mapping) else span
        start, end, label = (_value(span, names) for names in (_STARTS, _ENDS, _LABELS))
        own = span.get("text")
    elif isinstance(span, list | tuple) and len(span) >= 3:
        (start, end, label), own = span[:3], None
    else:
        return f"the span {_short(str(span))} is no object with start, end and label, nor a list of the three"
    if isinstance(label, list | tuple) and len(label) == 1:
        label = label[0]
    numbers = [int(each) for each in (start, end) if _is_whole(each)]
    if len(numbers) < 2 or not isinstance(label, str) or not label.strip():
        keys = f" with the keys {', '.join(map(str, span))}" if isinstance(span, Mapping) else f" {_short(str(span))}"
        return f"a span{keys} does not give a start, an end (whole numbers) and a label (a name)"
    return _Read(numbers[0], numbers[1], label.strip(), own if isinstance(own, str) else None)


def _value(span: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((span[name] for name in names if span.get(name) is not None), None)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()


def _lists_of(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The spans of an object of lists, one list a key."""
    lists = {key: each for key, each in value.items() if isinstance(each, list)}
    if not any(name in lists for name in _STARTS) or len({len(each) for each in lists.values()}) != 1:
        return None
    return [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=True)]


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."
