"""Match labels to class names across spellings, and explain the ones that only look alike.

Unicode form (NFC, NFD), the kind of space and upper or lower case do not make another name. An invisible character or a
letter of another alphabet does; messages name it, because on screen both look the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_SHOWN = 3
_WHOLE = re.compile(r"\+?(-?\d+)(\.0*)?", re.ASCII)
# invisible characters that Unicode classes as letters, marks or symbols
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
_QUOTES = {ord(quote): "'" for quote in "\u2018\u2019\u201a\u201b\u2032\u00b4`"} | {
    ord(quote): '"' for quote in "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"
}


def plain(name: str) -> str:
    r"""A name in NFC, stripped, with single plain spaces.

    >>> plain("not\u00a0spam "), plain("Ku\u0308che") == "K\u00fcche"
    ('not spam', True)
    """
    if name.isascii() and " " not in name and name.isprintable():
        return name
    return " ".join(unicodedata.normalize("NFC", name).split())


def match_names(labels: Iterable[str | int], names: Sequence[str]) -> dict[str | int, int]:
    """Map each label that is one of `names` to its index; other labels are left out.

    Tries the exact name, then the plain spelling, then another case, and last another spelling of a whole number (1.0
    for 1) if neither side has two. A label that could be two names matches none.

    >>> match_names(["Spam", "2.10", "3.0"], ["spam", "2.1", "2.10", "3"])
    {'2.10': 2, 'Spam': 0, '3.0': 3}
    """
    waiting: list[str | int] = list(dict.fromkeys(labels))
    values = Counter(_whole(str(label)) for label in waiting)
    ids: dict[str | int, int] = {}
    for spelled in (str, plain, lambda name: plain(name).casefold()):
        index_of = _unique((index, spelled(name)) for index, name in enumerate(names))
        ids |= {label: index_of[spelled(str(label))] for label in waiting if spelled(str(label)) in index_of}
        waiting = [label for label in waiting if label not in ids]
    index_of = _unique((index, _whole(name)) for index, name in enumerate(names))
    for label in waiting:
        value = _whole(str(label))
        if value is not None and values[value] == 1 and value in index_of:
            ids[label] = index_of[value]
    return ids


def covers(names: Sequence[str], labels: Iterable[str]) -> bool:
    """Whether there are labels and each is one of the names."""
    labels = list(labels)
    return bool(labels) and len(match_names(labels, names)) == len(labels)


def lookalikes(labels: Iterable[str], names: Sequence[str]) -> list[str]:
    """A sentence for each label that looks like a name but differs, with the character that differs.

    If labels and names are the same list, each pair is reported once.
    """
    known = [(name, _outline(name)) for name in names]
    alphabets = {seen: {_alphabet(each) for each in seen if each.isalpha()} for _, seen in known}
    sentences, reported = [], set()
    for label in labels:
        seen = _outline(label)
        of_label = {_alphabet(each) for each in seen if each.isalpha()}
        for name, other in known:
            alike = seen == other or (of_label != alphabets[other] and _in_other_letters(seen, other))
            if alike and (name, label) not in reported and plain(label).casefold() != plain(name).casefold():
                reported.add((label, name))
                sentences.append(f"{visible(label)} looks like {visible(name)}, but {_difference(label, name)}.")
    return sentences


def visible(name: str) -> str:
    r"""A quoted name with its invisible characters escaped.

    >>> print(visible("sp\u200bam"))
    'sp\u200bam'
    """
    return "'" + "".join(_escaped(character) if _is_invisible(character) else character for character in name) + "'"


def listed(names: Iterable[str | int], most: int = 5) -> str:
    """The first names for a message, and how many more there are."""
    shown = [visible(str(name)) for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most:,} more" if len(shown) > most else "")


def _unique(pairs: Iterable[tuple[int, str | None]]) -> dict[str, int]:
    """Map each spelling that belongs to only one index to that index."""
    indices: dict[str, list[int]] = {}
    for index, spelling in pairs:
        if spelling is not None:
            indices.setdefault(spelling, []).append(index)
    return {spelling: found[0] for spelling, found in indices.items() if len(found) == 1}


def _whole(name: str) -> str | None:
    """A whole number without + and decimals; None for names, such as numbers with a leading zero."""
    match = _WHOLE.fullmatch(plain(name))
    if match is None or re.match(r"-?0\d", match[1]):
        return None
    return match[1]


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cf", "Cc", "Zl", "Zp") or character in _BLANK or (category == "Zs" and character != " ")


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _outline(name: str) -> str:
    """The visible shape of a name: no invisible characters, plain dashes and quotation marks."""
    shown = unicodedata.normalize("NFKC", plain(name)).translate(_QUOTES)
    dashed = ("-" if unicodedata.category(each) == "Pd" or each == "\u2212" else each for each in shown)
    return "".join(" ".join("".join(each for each in dashed if not _is_invisible(each)).split())).casefold()


def _in_other_letters(one: str, other: str) -> bool:
    """Whether two names differ only in a few letters, which are of different alphabets."""
    if len(one) != len(other):
        return False
    differing = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    letters = all(a.isalpha() and b.isalpha() and _alphabet(a) != _alphabet(b) for a, b in differing)
    return letters and 2 * len(differing) <= len(one)


def _alphabet(letter: str) -> str:
    return unicodedata.name(letter, "?").split()[0]


def _difference(label: str, name: str) -> str:
    """The characters that only one of two look-alike names has, in words."""
    counts, others = Counter(plain(label)), Counter(plain(name))
    of_label = [_odd_character(label, each) for each in counts - others if _is_odd(each)][:_SHOWN]
    of_name = [_odd_character(name, each) for each in others - counts if _is_odd(each)][:_SHOWN]
    parts = [f"has {', '.join(of_label)}"] if of_label else []
    parts += [f"the other has {', '.join(of_name)}"] if of_name else []
    return " and ".join(parts)


def _is_odd(character: str) -> bool:
    return not character.isascii() or not character.isprintable()


def _odd_character(name: str, character: str) -> str:
    before = plain(name).partition(character)[0]
    where = f" after {visible(before[-10:])}" if before else " at its beginning"
    return f"{unicodedata.name(character, 'a control character')} (U+{ord(character):04X}){where}"
