"""Spans of a text, marked in it: "[Rick Morty](creative-work) is on"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pkd.evaluation.tags import Span


def marked(text: str, spans: Iterable[tuple[str, int, int]]) -> str:
    """A text with its spans in square brackets, each followed by its label in round ones.

    Args:
        text: of the row.
        spans: label, first character and character after the last, ascending.

    >>> marked("Rick Morty is on", [("show", 0, 10)])
    '[Rick Morty](show) is on'
    """
    parts, done = [], 0
    for label, start, end in spans:
        parts += [text[done:start], f"[{text[start:end]}]({label})"]
        done = end
    return "".join([*parts, text[done:]])


def marked_words(text: str, word_offsets: Sequence[int], spans: Iterable[Span]) -> str:
    """The same for spans of words.

    Args:
        text: of the row.
        word_offsets: start and end character of each word, 2 W numbers.
        spans: type, first word and word after the last.

    >>> marked_words("on Rick Morty", [0, 2, 3, 7, 8, 13], [("show", 1, 3)])
    'on [Rick Morty](show)'
    """
    return marked(text, ((kind, word_offsets[2 * first], word_offsets[2 * end - 1]) for kind, first, end in spans))
