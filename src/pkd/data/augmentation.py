"""Make rows from training texts for the teacher to label: a function of the rows, the seed, the row and the variant.

The changes are those of Tang et al. 2019 (arXiv 1903.12136), spans, masked words, and words replaced by others of the
same texts; and crossing two rows. In a pair one side is changed, or the sides are swapped, or one is taken from another
row; in a question one choice is changed, or taken from another row; rows whose words have tags are left to
`augment_words`. The columns alone decide which applies. A masked word is written `[MASK]`, for which `encode` writes
the tokenizer's own mask token.

Random numbers come from `random.Random.random`, the one method whose sequence Python promises not to change.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from pkd.data import augment_words
from pkd.data.arrays import column_values
from pkd.data.tables import WORD_OFFSETS
from pkd.data.taught import MASK
from pkd.data.tokenize import count_choices, text_columns
from pkd.data.windows import WORDS, has_words

if TYPE_CHECKING:
    import datasets

ROW, VARIANT = "row", "variant"  # columns of a made row: the training row it came from, and its variant
POOL_ROWS = 100_000  # partners and words are drawn from the first rows alone, to bound the memory
AUGMENTED = "augmented-{}"  # the split of a variant

T = TypeVar("T")
Texts = tuple[str, ...]  # of a row: one text, the two of a pair, or a question and its choices

_SPAN, _CROSSED = 0.25, 0.25  # shares of the changes of a text; the rest change words
_MASKED, _REPLACED = 0.1, 0.1  # shares of a text's words
_SWAPPED, _RECOMBINED = 0.2, 0.2  # shares of the changes of a pair
_CHOICE_TAKEN = 0.5  # share of the changes of a question that take another row's choice; the rest change one
_TRIES = 4  # a change may leave a short text unchanged
_ROWS_AT_A_TIME = 10_000

# scripts written without spaces: each character counts as a word, together with its combining marks
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = "".join(
    character
    for character in map(chr, (*range(0x0E00, 0x0F00), *range(0x1000, 0x10A0), *range(0x1780, 0x1800), 0x3099, 0x309A))
    if unicodedata.category(character).startswith("M")
)
_WORDS = re.compile(rf"\s*(?:[{_UNSPACED}][{_MARKS}]*|[^\s{_UNSPACED}]+)")  # each with the space before it


def augmented_splits(
    splits: Mapping[str, datasets.Dataset], variants: int, seed: int, names: Sequence[str] = ()
) -> Iterator[tuple[str, datasets.Dataset]]:
    """Yield the variants of the training rows as splits `augmented-1`, `augmented-2`, ...

    Args:
        splits: `train`, and `eval` and `test` if there are any, whose texts are never made.
        variants: rows to make from each training row.
        seed: the recipe's first.
        names: of the classes, where words have them.
    """
    import datasets

    held_out = [splits[split] for split in ("eval", "test") if split in splits]
    made = augment_rows(splits["train"], variants, seed, held_out, names)
    for variant, tables in itertools.groupby(made, key=lambda pair: pair[0]):
        rows = pa.concat_tables([table for _, table in tables])
        yield AUGMENTED.format(variant), datasets.Dataset(rows.drop_columns([ROW, VARIANT]))


def augment_rows(
    rows: datasets.Dataset,
    variants: int,
    seed: int,
    held_out: Sequence[datasets.Dataset] = (),
    names: Sequence[str] = (),
) -> Iterator[tuple[int, pa.Table]]:
    """Make `variants` rows from each row, one variant after the other, in chunks of 10,000 rows.

    Duplicates of existing or made rows are dropped, and so are texts of `held_out` that `rows` do not contain. Texts
    that differ only in case, spaces or masks count as equal. A row from which nothing new can be made is missing from
    that variant.

    Args:
        rows: with text columns; may be memory-mapped: besides the first 100,000 rows' texts only a chunk is in memory.
        variants: rows to make from each row, at most.
        seed: another seed makes other rows.
        held_out: development and test rows, with the same columns.
        names: of the classes, where words have classes and labels are their ids.

    Yields:
        The variant, from 1, and a table of its rows: the text columns, `word_offsets` if words have tags, `row` (from
        1) and `variant`; one table, maybe empty, per chunk.
    """
    columns = text_columns(rows)
    maker = _of_words(rows, names) if has_words(rows.column_names) else _of_texts(rows, columns)
    seen = _Seen()
    for each in (rows, *held_out):
        for chunk in _chunks(each, columns):
            seen.first_times(_row_hashes(chunk))
            if len(columns) == 2 and each is not rows:  # nor a held-out pair the other way round
                seen.first_times(_row_hashes([texts[::-1] for texts in chunk]))
    never = _text_hashes(held_out, columns) - _text_hashes([rows], columns) if held_out else frozenset()
    for variant in range(1, variants + 1):
        begin = 0
        for chunk in maker.chunks():
            made: list[tuple[int, _Made]] = []
            for number, row in enumerate(chunk, start=begin):
                new = maker.make(row, Random(f"{seed}:{number}:{variant}"))
                if new is not None and (not never or never.isdisjoint(map(_hash, new.texts))):
                    made.append((number + 1, new))
            stays = seen.first_times(_row_hashes([new.texts for _, new in made]))
            begin += len(chunk)
            kept = [each for each, new in zip(made, stays, strict=True) if new]
            yield variant, _table(kept, variant, columns, words=has_words(rows.column_names))


class _Made(NamedTuple):
    """A row that was made; `words` are the characters of its words, if they are to be tagged."""

    texts: Texts
    words: list[int] | None = None


@dataclass(frozen=True)
class _Maker:
    """How rows of a form are read, chunk by chunk, and what is made of one; None if nothing new is."""

    chunks: Callable[[], Iterator[list[Any]]]
    make: Callable[[Any, Random], _Made | None]


def _of_texts(rows: datasets.Dataset, columns: Sequence[str]) -> _Maker:
    pool = _pool_of(rows, columns)

    def make(texts: Texts, chooser: Random) -> _Made | None:
        new = _new_row(texts, pool, chooser)
        return None if new is None else _Made(new)

    return _Maker(lambda: _chunks(rows, columns), make)


def _of_words(rows: datasets.Dataset, names: Sequence[str]) -> _Maker:
    pool = augment_words.pool_of(augment_words.sentences_of(_first_rows(rows), names))

    def make(sentence: augment_words.Sentence, chooser: Random) -> _Made | None:
        own = _plain(augment_words.plain_text(sentence))
        for _ in range(_TRIES):
            text, words = augment_words.changed(sentence, pool, chooser)
            if _plain(text) not in ("", own):
                return _Made((text,), words)
        return None

    return _Maker(lambda: _chunked(augment_words.sentences_of(rows, names)), make)


@dataclass(frozen=True)
class _Pool:
    """What partners and words are drawn from.

    Attributes:
        rows: the texts of the rows.
        words: in order of their first occurrence.
        ends: [V] cumulative counts of `words`, so that a word is drawn as often as it occurs.
        has_choices: whether a row is a question with choices.
    """

    rows: list[Texts]
    words: list[str]
    ends: list[int]
    has_choices: bool

    def row(self, chooser: Random) -> Texts:
        return self.rows[_below(chooser, len(self.rows))]

    def word(self, chooser: Random) -> str:
        return self.words[bisect_right(self.ends, _below(chooser, self.ends[-1]))]


def _pool_of(rows: datasets.Dataset, columns: Sequence[str]) -> _Pool:
    texts = [row for chunk in _chunks(_first_rows(rows), columns) for row in chunk]
    counts: dict[str, int] = {}
    for text in itertools.chain.from_iterable(texts):
        for word in map(str.strip, _words(text)):
            counts[word] = counts.get(word, 0) + 1
    counts.pop(MASK, None)
    counts = counts or {"": 1}  # all texts are empty
    return _Pool(texts, list(counts), list(itertools.accumulate(counts.values())), count_choices(columns) > 0)


def _new_row(texts: Texts, pool: _Pool, chooser: Random) -> Texts | None:
    """A row that differs from `texts` and has no empty text; None if no try gives one."""
    own = tuple(map(_plain, texts))
    for _ in range(_TRIES):
        new = _changed(texts, pool, chooser)
        plain = tuple(map(_plain, new))
        if plain != own and all(plain) and not (pool.has_choices and len(set(plain[1:])) < len(plain) - 1):
            return new
    return None


def _changed(texts: Texts, pool: _Pool, chooser: Random) -> Texts:
    partner = pool.row(chooser)
    if len(texts) == 1:
        return (_changed_text(texts[0], partner[0], pool, chooser),)
    drawn = chooser.random()
    if pool.has_choices:
        side, other = 1 + _below(chooser, len(texts) - 1), partner[1 + _below(chooser, len(texts) - 1)]
        choice = other if drawn < _CHOICE_TAKEN else _changed_text(texts[side], other, pool, chooser)
        return _with(texts, side, choice)
    side = _below(chooser, 2)
    if drawn < _SWAPPED:
        return texts[::-1]
    if drawn < _SWAPPED + _RECOMBINED:
        return _with(texts, side, partner[side])
    return _with(texts, side, _changed_text(texts[side], partner[side], pool, chooser))


def _with(texts: Texts, side: int, text: str) -> Texts:
    return (*texts[:side], text, *texts[side + 1 :])


def _changed_text(text: str, partner: str, pool: _Pool, chooser: Random) -> str:
    """A span of the text, spans of it and of `partner` in either order, or the text with some words changed."""
    drawn = chooser.random()
    if drawn < _SPAN:
        return _span(text, chooser)
    if drawn < _SPAN + _CROSSED:
        spans = [_span(text, chooser), _span(partner, chooser)]
        return " ".join(spans if chooser.random() < 0.5 else spans[::-1]).strip()
    return "".join(_changed_word(word, pool, chooser) for word in _words(text)).strip()


def _changed_word(word: str, pool: _Pool, chooser: Random) -> str:
    """The word unchanged, masked or replaced, with the space before it."""
    drawn = chooser.random()
    if drawn >= _MASKED + _REPLACED:
        return word
    space = word[: len(word) - len(word.lstrip())]
    return space + (MASK if drawn < _MASKED else pool.word(chooser))


def _span(text: str, chooser: Random) -> str:
    """A run of at least half of the words."""
    words = _words(text)
    least = (len(words) + 1) // 2
    count = least + _below(chooser, len(words) - least + 1)
    begin = _below(chooser, len(words) - count + 1)
    return "".join(words[begin : begin + count]).strip()


def _words(text: str) -> list[str]:
    """The words of a text, each with the space before it.

    >>> _words("a fine  film,又好")
    ['a', ' fine', '  film,', '又', '好']
    """
    return _WORDS.findall(text)


def _below(chooser: Random, count: int) -> int:
    """A number from 0 to `count` - 1."""
    return int(chooser.random() * count)


def _plain(text: str) -> str:
    """The text by which duplicates are found: a tokenizer may ignore case, and masks may be left out."""
    return " ".join(text.casefold().replace(MASK.casefold(), " ").split())


def _hash(*texts: str) -> int:
    plain = "\0".join(map(_plain, texts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "little")


def _row_hashes(rows: Sequence[Texts]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The hash of each row's texts, [N]; of a single text, the text's."""
    return np.fromiter((_hash(*texts) for texts in rows), dtype=np.uint64, count=len(rows))


def _text_hashes(parts: Sequence[datasets.Dataset], columns: Sequence[str]) -> frozenset[int]:
    """The hashes of all texts; empty for single texts, whose rows' hashes are the same."""
    if len(columns) == 1:
        return frozenset()
    chunks = (chunk for rows in parts for chunk in _chunks(rows, columns))
    return frozenset(_hash(text) for chunk in chunks for texts in chunk for text in texts)


class _Seen:
    """Hashes of all rows so far, 8 bytes each, in sorted runs that are merged as they grow.

    If two rows have the same hash by chance, one row is not made.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray[Any, np.dtype[np.uint64]]] = []

    def first_times(self, hashes: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which hashes are new, [N]; they are added."""
        first = np.zeros(len(hashes), dtype=bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            first &= run[places] != hashes
        added = np.sort(hashes[first])
        while self._runs and len(self._runs[-1]) <= 2 * len(added):
            added = np.sort(np.concatenate([self._runs.pop(), added]))
        if len(added):
            self._runs.append(added)
        return first


def _first_rows(rows: datasets.Dataset) -> datasets.Dataset:
    return rows.select(range(min(POOL_ROWS, len(rows))))


def _chunks(rows: datasets.Dataset, columns: Sequence[str]) -> Iterator[list[Texts]]:
    return _chunked(zip(*(column_values(rows, column) for column in columns), strict=True))


def _chunked(rows: Iterator[T]) -> Iterator[list[T]]:
    return iter(functools.partial(lambda: list(itertools.islice(rows, _ROWS_AT_A_TIME))), [])


def _table(made: Sequence[tuple[int, _Made]], variant: int, columns: Sequence[str], *, words: bool) -> pa.Table:
    texts = {
        column: pa.array([new.texts[place] for _, new in made], pa.string()) for place, column in enumerate(columns)
    }
    if words:
        texts[WORDS] = pa.array([new.words for _, new in made], WORD_OFFSETS)
    numbers = pa.array([number for number, _ in made], pa.int64())
    return pa.table({**texts, ROW: numbers, VARIANT: pa.array([variant] * len(made), pa.int64())})
