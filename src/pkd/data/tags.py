"""The tags of words and their schemes: recognised, checked, and brought to IOB2 ("O", "B-X", "I-X").

A scheme writes spans of words as tags: IOB2 begins each with B-; IOB1 writes I- and begins a span with B- only where
one of the same type ends just before; IOBES (and BIOLU, BMEWO, BMES with letters of their own) marks ends and spans of
one word as well. Tags without a scheme, such as parts of speech, are plain and stay as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pkd.data.match_names import listed
from pkd.errors import DataError
from pkd.recipe.spelling import set_to

if TYPE_CHECKING:  # serving reads this module and does without pydantic, which the settings need
    from pkd.recipe.settings import TagScheme

OUTSIDE = "O"
NO_TYPE = "SPAN"  # the type of spans whose tags are B and I alone
_LETTERS = "BIESLUMW"
# letters of: the first word of a span, those inside, the last one, a single one
_ALPHABETS = {"IOBES": "BIES", "BIOLU": "BILU", "BMEWO": "BMEW", "BMES": "BMES"}
_JOINTS = "-_:"  # between letter and type
_BEFORE = re.compile(rf"([{_LETTERS}])([{_JOINTS}])(.+)", re.IGNORECASE)
_BEHIND = re.compile(rf"(.+)([{_JOINTS}])([{_LETTERS}])", re.IGNORECASE)

Notation = Literal["plain", "before", "behind", "bare"]


class Tagged(NamedTuple):
    """The tags of a row's words as its source has them; `lines` are those of the words, None if they share one."""

    tags: tuple[str, ...]
    lines: Sequence[int] | None = None


@dataclass(frozen=True)
class Scheme:
    """How a source writes spans.

    Attributes:
        name: "plain", "IOB1", "IOB2", or one with letters for ends and single words.
        notation: whether the letter stands before the type ("B-PER"), behind it ("PER-B"), or alone ("B").
        joint: the sign between letter and type.
    """

    name: str
    notation: Notation = "before"
    joint: str = "-"

    @property
    def is_plain(self) -> bool:
        """Whether the tags are no spans."""
        return self.notation == "plain"

    def part(self, tag: str) -> tuple[str, str] | None:
        """A tag's role (B, I, E or S as in IOBES, or O) and its type; None if the tag is not of this scheme."""
        if tag in (OUTSIDE, OUTSIDE.casefold()):
            return OUTSIDE, ""
        found = _written(tag, self.notation, self.joint)
        if found is None:
            return None
        letters = _ALPHABETS.get(self.name, "BI")
        return ("BIES"[letters.index(found[0])], found[1]) if found[0] in letters else None

    def write(self, role: str, type: str) -> str:
        """A tag of this scheme, as a message shows it."""
        letter = _ALPHABETS.get(self.name, "BIES")["BIES".index(role)]
        if self.notation == "bare":
            return letter
        return f"{type}{self.joint}{letter}" if self.notation == "behind" else f"{letter}{self.joint}{type}"


PLAIN = Scheme("plain", "plain")


class Fault(NamedTuple):
    """A tag that cannot be where it is; `first` is the word before, where that one may be wrong as well."""

    row: int
    word: int
    message: str
    first: int | None = None


def recognise(rows: Iterable[Sequence[str]], source: str, asked: TagScheme = "auto") -> Scheme:
    """The scheme of a source's tags.

    B and I alone are IOB2 where every span begins with B, and IOB1 where B stands only between spans of one type. Tags
    that are neither are taken for IOB2 with faults, as its files are the many.

    Args:
        rows: the tags of each row.
        source: where they are from, for messages.
        asked: the user's choice.

    Raises:
        DataError: if the tags' letters are of no scheme.

    >>> recognise([["I-PER", "B-PER", "O"]], "a.conll").name, recognise([["NN", "VB"]], "a.conll").name
    ('IOB1', 'plain')
    """
    rows = list(rows)
    if asked == "plain":
        return PLAIN
    counts = Counter(tag for row in rows for tag in row)
    if counts and all("*" in tag for tag in counts):
        raise DataError(
            f"{source}: the tags are brackets, as OntoNotes writes spans ({listed(counts)}). Write them in IOB2 (B-, "
            "I- and O), or choose another column."
        )
    notation, joint = _notation(counts)
    if notation == "plain" and asked == "auto":
        return PLAIN
    notation = "before" if notation == "plain" else notation
    letters = {found[0] for tag in counts if (found := _written(tag, notation, joint)) is not None}
    if asked in ("iob1", "iob2"):
        return Scheme(asked.upper(), notation, joint)
    if letters <= set("BI") and asked == "auto":
        return Scheme(_iob(rows, Scheme("IOB2", notation, joint)), notation, joint)
    for name, alphabet in _ALPHABETS.items():
        if letters <= set(alphabet):
            return Scheme(name, notation, joint)
    raise DataError(
        f"{source}: the tags begin with {', '.join(sorted(letters))} ({listed(counts)}), letters that no scheme has "
        f"together. Write them in IOB2 (B-, I- and O); or set {set_to('data.tag_scheme', 'plain')} if they mark none."
    )


def faults(rows: Iterable[Sequence[str]], scheme: Scheme) -> Iterator[Fault]:
    """The tags that cannot be where they are in a scheme.

    >>> [fault.word for fault in faults([["O", "I-PER", "I-LOC"]], Scheme("IOB2"))]
    [1, 2]
    """
    if scheme.is_plain:
        return
    parts: dict[str, tuple[str, str] | None] = {}
    for number, row in enumerate(rows):
        before, before_tag = (OUTSIDE, ""), ""
        for word, tag in enumerate(row):
            if tag not in parts:
                parts[tag] = scheme.part(tag)
            now = parts[tag]
            if now is None:
                yield Fault(number, word, f"{tag!r} is no tag of {scheme.name}, the scheme of the others")
                now = (OUTSIDE, "")
            elif _is_open(before, now, scheme):
                yield Fault(number, word, f"{tag!r} follows {_open(before, before_tag, scheme)}", word - 1)
            elif message := _impossible(before, before_tag, now, tag, scheme):
                yield Fault(number, word, message)
            before, before_tag = now, tag
        if _is_open(before, (OUTSIDE, ""), scheme):
            yield Fault(number, len(row) - 1, f"the sentence ends after {_open(before, before_tag, scheme)}")


def to_iob2(row: Sequence[str], scheme: Scheme) -> list[str]:
    """A row's tags in IOB2, for tags without faults.

    >>> to_iob2(["S-PER", "B-LOC", "E-LOC", "O"], Scheme("IOBES"))
    ['B-PER', 'B-LOC', 'I-LOC', 'O']
    """
    if scheme.is_plain:
        return list(row)
    tags: list[str] = []
    before = ""  # the type of the word before
    for tag in row:
        role, type = scheme.part(tag) or (OUTSIDE, "")
        if role == OUTSIDE:
            tags.append(OUTSIDE)
        elif role in "BS" or (scheme.name == "IOB1" and type != before):
            tags.append(f"B-{type}")
        else:
            tags.append(f"I-{type}")
        before = type
    return tags


def tag_continuations(label_names: Sequence[str]) -> list[int]:
    """For each class the class that a further part of the same word takes: B-X gives I-X, everything else itself.

    >>> tag_continuations(("O", "B-PER", "I-PER", "NOUN"))
    [0, 2, 2, 3]
    """
    index = {name: number for number, name in enumerate(label_names)}
    return [
        index.get(f"I-{name[2:]}", number) if name.startswith("B-") else number
        for number, name in enumerate(label_names)
    ]


def classes_in_iob2(names: Sequence[str]) -> tuple[str, ...] | None:
    """A classifier's classes spelled as IOB2; plain ones as they are; None if it marks the ends of spans as well.

    >>> classes_in_iob2(("O", "PER_B", "PER_I")), classes_in_iob2(("NOUN", "O")), classes_in_iob2(("S-PER", "O"))
    (('O', 'B-PER', 'I-PER'), ('NOUN', 'O'), None)
    """
    notation, joint = _notation(Counter(names))
    if notation == "plain":
        return tuple(names)
    names = [OUTSIDE if name == OUTSIDE.casefold() else name for name in names]
    written = {name: _written(name, notation, joint) for name in names if name != OUTSIDE}
    if not {found[0] for found in written.values() if found is not None} <= set("BI"):
        return None
    return tuple(name if (found := written.get(name)) is None else f"{found[0]}-{found[1]}" for name in names)


def ordered_names(tags: Iterable[str]) -> tuple[str, ...]:
    """The classes of tags in IOB2 or plain tags: O, then B-X and I-X for each type, both even if one does not occur.

    >>> ordered_names(["O", "I-PER", "B-LOC"])
    ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    """
    distinct = set(tags)
    outside = (OUTSIDE,) if OUTSIDE in distinct else ()
    others = distinct - {OUTSIDE}
    if not others or not all(tag.startswith(("B-", "I-")) for tag in others):
        return (*outside, *sorted(others))
    return (*outside, *(f"{role}-{type}" for type in sorted({tag[2:] for tag in others}) for role in "BI"))


def marks_spans(tags: Iterable[str], notation: Notation | None = None) -> bool:
    """Whether a column's distinct values are tags that mark spans, each of them, in any notation or the one given.

    >>> marks_spans({"O", "B-PER"}), marks_spans({"O", "NN"}), marks_spans({"B-PER", "EU"})
    (True, False, False)
    """
    found, joint = _notation(Counter(tags))
    outside = (OUTSIDE, OUTSIDE.casefold())
    return found in (("before", "behind", "bare") if notation is None else (notation,)) and all(
        tag in outside or _written(tag, found, joint) is not None for tag in tags
    )


def _notation(counts: Counter[str]) -> tuple[Notation, str]:
    """How most tags are written, and the sign between letter and type."""
    others = [tag for tag in counts if tag not in (OUTSIDE, OUTSIDE.casefold())]
    if others and set(others) <= set(_LETTERS) and "B" in others:
        return "bare", ""
    for joint in _JOINTS:
        written = {tag: found for tag in others if (found := _written(tag, "before", joint))}
        begins = {type for letter, type in written.values() if letter in "BISUW"}
        inner = {type for letter, type in written.values() if letter == "I"}
        if begins and (len(written) == len(others) or (joint == "-" and (OUTSIDE in counts or begins & inner))):
            return "before", joint
    for joint in _JOINTS:
        written = {tag: found for tag in others if (found := _written(tag, "behind", joint))}
        types = {letter: {type for of, type in written.values() if of == letter} for letter in "BI"}
        if others and len(written) == len(others) and types["B"] & types["I"]:
            return "behind", joint
    return "plain", ""


def _written(tag: str, notation: Notation, joint: str) -> tuple[str, str] | None:
    """The letter and the type in a tag of a notation."""
    if notation == "bare":
        return (tag, NO_TYPE) if tag in _LETTERS and len(tag) == 1 else None
    match = (_BEHIND if notation == "behind" else _BEFORE).fullmatch(tag)
    if match is None or match[2] != joint:
        return None
    letter, type = (match[3], match[1]) if notation == "behind" else (match[1], match[3])
    return letter.upper(), type


def _iob(rows: Iterable[Sequence[str]], scheme: Scheme) -> str:
    """IOB1 or IOB2, by where spans begin with I, and where B stands without a span of its type before it."""
    begin_with_i = free_b = 0
    for row in rows:
        before = ""
        for tag in row:
            role, type = scheme.part(tag) or (OUTSIDE, "")
            begin_with_i += role == "I" and type != before
            free_b += role == "B" and type != before
            before = type
    return "IOB1" if begin_with_i and not free_b else "IOB2"


def _is_open(before: tuple[str, str], now: tuple[str, str], scheme: Scheme) -> bool:
    """Whether a span goes on after a word, but not at the next one, in a scheme that marks ends."""
    return scheme.name in _ALPHABETS and before[0] in "BI" and not (now[0] in "IE" and now[1] == before[1])


def _impossible(before: tuple[str, str], before_tag: str, now: tuple[str, str], tag: str, scheme: Scheme) -> str | None:
    """What is wrong with a tag after the one before it, if its span does not begin there."""
    role, type = now
    goes_on = before[0] in "BI" and before[1] == type
    after = f"after {before_tag!r}" if before_tag else "at the beginning of the sentence"
    if scheme.name == "IOB1" and role == "B" and not goes_on:
        return f"{tag!r} stands {after}, but in IOB1 it separates two spans of one type"
    if scheme.name != "IOB1" and role in "IE" and not goes_on:
        return f"{tag!r} stands {after}, but a span begins with {scheme.write('B', type)!r}"
    return None


def _open(before: tuple[str, str], before_tag: str, scheme: Scheme) -> str:
    end, single = scheme.write("E", before[1]), scheme.write("S", before[1])
    return f"{before_tag!r}, but a span ends with {end!r}, one of a single word is {single!r}"
