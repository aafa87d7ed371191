"""Make rows whose words are to be tagged: what `augmentation` does to texts, with regard to the entities in them.

An entity is a span of words of one type; of tags without a scheme each word is one, of its tag. A row becomes a span of
itself that cuts no entity, or itself with words outside of entities masked or replaced by words that stand outside of
entities elsewhere, and with entities replaced by others of their type. Every row keeps where its words are.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeVar

from pkd.data.arrays import column_values
from pkd.data.tags import OUTSIDE
from pkd.data.taught import MASK
from pkd.data.windows import WORDS, spans_of

if TYPE_CHECKING:
    import datasets

Unit = tuple[str, str]  # what stands before a word, and the word
Made = tuple[str, list[int]]  # the text, and the characters of its words

T = TypeVar("T")

_JOIN = re.compile(r"\w\w")
_SPAN = 0.25  # share of the changes; the rest change words
_MASKED, _REPLACED = 0.1, 0.1  # shares of the words outside of entities
_SWAPPED = 0.5  # share of the entities; of tags without a scheme, where all words are entities, _REPLACED


@dataclass(frozen=True)
class Sentence:
    """A row: its words with what stands before each, and the runs of words that stay together.

    Attributes:
        units: [W] words.
        runs: begin, end and type of each run; a word outside of entities is a run without a type.
        is_plain: whether its tags have no scheme.
    """

    units: tuple[Unit, ...]
    runs: tuple[tuple[int, int, str], ...]
    is_plain: bool


@dataclass(frozen=True)
class Pool:
    """What words and entities are drawn from, each as often as it occurs.

    Attributes:
        words: those outside of entities, in order of their first occurrence, and their cumulative counts.
        entities: the same by type.
    """

    words: tuple[list[str], list[int]]
    entities: dict[str, tuple[list[tuple[Unit, ...]], list[int]]]


def sentences_of(rows: datasets.Dataset, names: Sequence[str]) -> Iterator[Sentence]:
    """The rows in order.

    Args:
        rows: with `text`, `word_offsets` and, if they have tags, `label`.
        names: of the classes, if labels are class ids.
    """
    texts, places = column_values(rows, "text"), column_values(rows, WORDS)
    tags = column_values(rows, "label") if "label" in rows.column_names else itertools.repeat(None)
    for text, offsets, of_row in zip(texts, places, tags, strict=False):
        spans = spans_of(offsets)
        before = [0, *(end for _, end in spans)]
        units = tuple((text[end:start], text[start:stop]) for end, (start, stop) in zip(before, spans, strict=False))
        named = [tag if isinstance(tag, str) else names[tag] for tag in of_row or [OUTSIDE] * len(units)]
        yield Sentence(units, *_runs(named))


def pool_of(sentences: Iterator[Sentence]) -> Pool:
    """What can be drawn from these rows."""
    words: dict[str, int] = {}
    entities: dict[str, dict[tuple[Unit, ...], int]] = {}
    for sentence in sentences:
        for begin, end, type in sentence.runs:
            if type:
                first, *others = sentence.units[begin:end]
                surface = (("", first[1]), *others)
                of_type = entities.setdefault(type, {})
                of_type[surface] = of_type.get(surface, 0) + 1
            elif (word := sentence.units[begin][1]) and word != MASK:
                words[word] = words.get(word, 0) + 1
    return Pool(
        (list(words), list(itertools.accumulate(words.values()))),
        {type: (list(of), list(itertools.accumulate(of.values()))) for type, of in entities.items()},
    )


def changed(sentence: Sentence, pool: Pool, chooser: Random) -> Made:
    """A span of a row, or the row with words and entities changed."""
    if chooser.random() < _SPAN:
        return _joined(_span(sentence, chooser))
    units: list[Unit] = []
    swapped = _REPLACED if sentence.is_plain else _SWAPPED
    for begin, end, type in sentence.runs:
        drawn = chooser.random()
        before, word = sentence.units[begin]
        if type:
            other = _draw(pool.entities[type], chooser) if drawn < swapped and type in pool.entities else None
            units += [(before, other[0][1]), *other[1:]] if other is not None else sentence.units[begin:end]
        elif drawn < _MASKED:
            units.append((before, MASK))
        elif drawn < _MASKED + _REPLACED and pool.words[0]:
            units.append((before, _draw(pool.words, chooser)))
        else:
            units.append((before, word))
    return _joined(units)


def plain_text(sentence: Sentence) -> str:
    """The text of a row, without what stands around its first and last word."""
    return _joined(sentence.units)[0]


def _runs(tags: Sequence[str]) -> tuple[tuple[tuple[int, int, str], ...], bool]:
    """The runs of a row's words, and whether its tags have no scheme."""
    others = [tag for tag in tags if tag != OUTSIDE]
    is_plain = not all(tag[:2] in ("B-", "I-") for tag in others)
    runs: list[tuple[int, int, str]] = []
    for word, tag in enumerate(tags):
        type = "" if tag == OUTSIDE else tag if is_plain else tag[2:]
        if type and not is_plain and tag[0] == "I" and runs and runs[-1][2] == type:
            runs[-1] = (runs[-1][0], word + 1, type)
        else:
            runs.append((word, word + 1, type))
    return tuple(runs), is_plain


def _span(sentence: Sentence, chooser: Random) -> Sequence[Unit]:
    """A part of at least half of the words that cuts no entity."""
    words = len(sentence.units)
    least = (words + 1) // 2
    count = least + _below(chooser, words - least + 1)
    begin = _below(chooser, words - count + 1)
    whole = [run for run in sentence.runs if run[0] < begin + count and begin < run[1]]
    return sentence.units[whole[0][0] : whole[-1][1]] if whole else ()


def _joined(units: Sequence[Unit]) -> Made:
    """The text of words, without what stands before the first, and their characters.

    A word that took the place of a sign gets a space, or it would become one with its neighbour.
    """
    text, offsets = "", list[int]()
    for number, (before, word) in enumerate(units):
        text += (before or " " * (_JOIN.fullmatch(text[-1:] + word[:1]) is not None)) if number else ""
        offsets += (len(text), len(text) + len(word))
        text += word
    return text, offsets


def _draw(counted: tuple[list[T], list[int]], chooser: Random) -> T:
    values, ends = counted
    return values[bisect_right(ends, _below(chooser, ends[-1]))]


def _below(chooser: Random, count: int) -> int:
    """A number from 0 to `count` - 1."""
    return int(chooser.random() * count)
