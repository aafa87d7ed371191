"""Rows made from training texts, for the teacher to answer: a function of the texts, the seed, the row and the variant.

After Tang et al. 2019 (arXiv 1903.12136): words masked or replaced by others of the training texts, and n-grams; and
two texts crossed. Of a pair one side changes at a time, or the two are swapped or recombined.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

Texts = tuple[str, ...]  # of one row: a text, or the two of a pair

_MASKED, _REPLACED = 0.1, 0.1  # shares of a text's words
_MASK = "[MASK]"


def augment(rows: Sequence[Texts], variant: int, seed: int = 42) -> list[Texts]:
    """One variant of every row; duplicates of training rows are left out."""
    words = [word for texts in rows for text in texts for word in text.split()]
    known = set(rows)
    made = []
    for number, texts in enumerate(rows):
        chooser = random.Random(f"{seed}:{number}:{variant}")
        new = _changed(texts, rows, words, chooser)
        if all(new) and new not in known:
            known.add(new)
            made.append(new)
    return made


def _changed(texts: Texts, rows: Sequence[Texts], words: Sequence[str], chooser: random.Random) -> Texts:
    partner = rows[chooser.randrange(len(rows))]
    if len(texts) == 1:
        return (_one(texts[0], partner[0], words, chooser),)
    kind = chooser.random()
    if kind < 0.2:
        return texts[1], texts[0]
    if kind < 0.4:
        return (texts[0], partner[1]) if chooser.random() < 0.5 else (partner[0], texts[1])
    side = chooser.randrange(2)
    new = list(texts)
    new[side] = _one(texts[side], partner[side], words, chooser)
    return tuple(new)


def _one(text: str, partner: str, words: Sequence[str], chooser: random.Random) -> str:
    kind = chooser.random()
    if kind < 0.25:
        return _span(text, chooser)
    if kind < 0.5:
        halves = [_span(text, chooser), _span(partner, chooser)]
        chooser.shuffle(halves)
        return " ".join(halves)
    return " ".join(_word(word, words, chooser) for word in text.split())


def _word(word: str, words: Sequence[str], chooser: random.Random) -> str:
    drawn = chooser.random()
    if drawn < _MASKED:
        return _MASK
    return words[chooser.randrange(len(words))] if drawn < _MASKED + _REPLACED else word


def _span(text: str, chooser: random.Random) -> str:
    """A run of words: half of them at least."""
    parts = text.split()
    count = chooser.randint((len(parts) + 1) // 2, max(1, len(parts)))
    begin = chooser.randint(0, len(parts) - count)
    return " ".join(parts[begin : begin + count])
