"""Word pieces of a text for a model that answers for every word: windows of the text, and where each word is taught.

The words of a row (of its file, or of a plain text by `split_words`) are spans of characters. A tokenizer may cut a
word into several parts before it looks for word pieces ("U.S." into "U", ".", "S", "."); a part is read at its first
word piece. A text longer than the model is read in windows that overlap by a quarter; a part that lies in two is read
in the one that shows more of its surroundings. Neither torch nor transformers is needed to serve a model with this.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OVERLAP = 4  # windows share one part in so many of their length
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"\[MASK\]|[{_HAN}]|[^\W_{_HAN}]+|[^\w\s]|_")
_JOINER = "\u200d"  # between the signs of one emoji
_ZERO_WIDTH_SPACE = "\u200b"

WORDS = "word_offsets"  # the column of rows whose words have tags: first and last character of each word

Span = tuple[int, int]  # of characters, [start, end)


@dataclass(frozen=True)
class Pieces:
    """What a tokenizer makes of one text, without special tokens: S word pieces.

    Attributes:
        ids: [S] of the vocabulary.
        spans: [S] the characters of each; empty for one that stands for none.
        parts: [S] the part that each belongs to, in the tokenizer's own count; None for none.
    """

    ids: Sequence[int]
    spans: Sequence[Span]
    parts: Sequence[int | None]


@dataclass(frozen=True)
class Windows:
    """One row as a model reads it: S word pieces in all windows, P parts.

    Attributes:
        input_ids: [S] the windows one after the other, each with its special tokens.
        lengths: word pieces of each window.
        taught: [P] the index in `input_ids` of each part's first word piece.
        words: [P] the word that each part belongs to, ascending.
        spans: [P] the characters of each part.
    """

    input_ids: list[int]
    lengths: list[int]
    taught: list[int]
    words: list[int]
    spans: list[Span]


@dataclass(frozen=True)
class Sentence:
    """A text, and the characters of each of its words.

    >>> Sentence.of(["Rick", "Morty"])
    Sentence(text='Rick Morty', words=((0, 4), (5, 10)))
    """

    text: str
    words: tuple[Span, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> Sentence:
        """The words of a text that has a space between each two."""
        ends = list(itertools.accumulate((len(word) + 1 for word in words), initial=0))
        spans = tuple((start, start + len(word)) for start, word in zip(ends, words, strict=False))
        return cls(" ".join(words), spans)


def has_words(columns: Sequence[str]) -> bool:
    """Whether rows with these columns have tags of words."""
    return WORDS in columns


def spans_of(offsets: Sequence[int]) -> tuple[Span, ...]:
    """The words of a row from its `word_offsets`.

    >>> spans_of([0, 3, 4, 8])
    ((0, 3), (4, 8))
    """
    return tuple(zip(offsets[::2], offsets[1::2], strict=True))


def pieces_of(encoding: Any) -> Pieces:
    """The word pieces of a text that `tokenizers` encoded without special tokens and without truncation."""
    return Pieces(encoding.ids, encoding.offsets, encoding.word_ids)


def special_around(encoding: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text, from an encoding of any text with them."""
    is_special = encoding.special_tokens_mask
    first = is_special.index(0) if 0 in is_special else len(is_special) // 2
    last = len(is_special) - is_special[::-1].index(0) if 0 in is_special else first
    return list(encoding.ids[:first]), list(encoding.ids[last:])


def split_words(text: str) -> list[Span]:
    """The words of a plain text: runs of letters and digits; every Chinese character and other sign alone; `[MASK]`.

    Accents, vowel signs and whatever else combines with the sign before it belong to its word.

    >>> split_words("U.S. is it?")
    [(0, 1), (1, 2), (2, 3), (3, 4), (5, 7), (8, 10), (10, 11)]
    >>> split_words("Jose\\u0301s 北京")
    [(0, 6), (7, 8), (8, 9)]
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    return spans if text.isascii() else _with_what_combines(text, spans)


def _with_what_combines(text: str, spans: Sequence[Span]) -> list[Span]:
    """The words, those that a combining sign ties to the word before joined with it."""
    words: list[Span] = []
    for start, end in spans:
        if words and words[-1][1] == start and (_combines(text[start]) or _goes_on(text, *words[-1], start)):
            words[-1] = words[-1][0], end
        else:
            words.append((start, end))
    return words


def _combines(sign: str) -> bool:
    kind = unicodedata.category(sign)
    return kind[0] == "M" or kind == "Cf" or "\U0001f3fb" <= sign <= "\U0001f3ff"  # the last: tones of skin


def _goes_on(text: str, start: int, end: int, after: int) -> bool:
    """Whether a word that ends in a combining sign goes on: an emoji after its joiner, and a word of letters."""
    last = text[end - 1]
    if last == _JOINER:
        return True
    is_tied = last != _ZERO_WIDTH_SPACE and _combines(last)
    return is_tied and text[start].isalnum() and text[after].isalnum() and not _is_han(text[start], text[after])


def _is_han(*signs: str) -> bool:
    return any(re.match(f"[{_HAN}]", sign) for sign in signs)


def windows_of(
    text: str, words: Sequence[Span], pieces: Pieces, *, special: tuple[Sequence[int], Sequence[int]], max_length: int
) -> Windows:
    """Cut a text's word pieces into windows, and find the parts of its words.

    A part without a visible character, or outside of every word, is read but not taught. A word may have no part: the
    tokenizer drops some characters.

    Args:
        text: of the row.
        words: the characters of each word, ascending.
        pieces: of the whole text.
        special: the special tokens before and after every window.
        max_length: word pieces of a window, special tokens included.
    """
    before, after = special
    room = max(1, max_length - len(before) - len(after))
    first, spans = _parts(text, pieces)
    word_of = _words_of(words, spans)
    begins = _cuts(len(pieces.ids), first, room)
    input_ids: list[int] = []
    lengths: list[int] = []
    offsets: list[int] = []  # of each window's first word piece in input_ids
    for begin in begins:
        offsets.append(len(input_ids) + len(before))
        window = [*before, *pieces.ids[begin : begin + room], *after]
        input_ids += window
        lengths.append(len(window))
    taught, of_words, of_spans = [], [], []
    for position, word, span in zip(first, word_of, spans, strict=True):
        if word is None:
            continue
        inside = [number for number, begin in enumerate(begins) if begin <= position < begin + room]
        best = max(inside, key=lambda number: _surroundings(position, begins[number], room, len(pieces.ids)))
        taught.append(offsets[best] + position - begins[best])
        of_words.append(word)
        of_spans.append(span)
    return Windows(input_ids, lengths, taught, of_words, of_spans)


def _surroundings(position: int, begin: int, room: int, pieces: int) -> int:
    """The word pieces on the side of `position` where a window shows fewer; the ends of the text do not count."""
    left = position - begin if begin else pieces
    right = begin + room - 1 - position if begin + room < pieces else pieces
    return min(left, right)


def _parts(text: str, pieces: Pieces) -> tuple[list[int], list[Span]]:
    """The first word piece of each part, and the part's characters without blanks at its ends."""
    first: list[int] = []
    spans: list[Span] = []
    before: int | None = None
    for index, (part, (start, end)) in enumerate(zip(pieces.parts, pieces.spans, strict=True)):
        if part is None:
            before = None
            continue
        if part != before:
            first.append(index)
            spans.append((start, end))
        else:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        before = part
    return first, [_stripped(text, span) for span in spans]


def _stripped(text: str, span: Span) -> Span:
    part = text[slice(*span)]
    start = span[0] + len(part) - len(part.lstrip())
    return start, max(start, span[1] - len(part) + len(part.rstrip()))


def _words_of(words: Sequence[Span], parts: Sequence[Span]) -> list[int | None]:
    """The word in which each part begins."""
    found: list[int | None] = []
    word = 0
    for start, end in parts:
        while word < len(words) and words[word][1] <= start:
            word += 1
        inside = word < len(words) and words[word][0] <= start and start < end
        found.append(word if inside else None)
    return found


def _cuts(pieces: int, first: Sequence[int], room: int) -> list[int]:
    """Where windows begin: at a part's first word piece, where there is one, a quarter before the last window's end."""
    begins = [0]
    while begins[-1] + room < pieces:
        least, most = begins[-1] + 1, begins[-1] + room - room // OVERLAP
        begins.append(max((each for each in first if least <= each <= most), default=max(least, most)))
    return begins
