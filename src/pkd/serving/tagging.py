"""The tags of words and the spans that they form, from a model's answers at the first word piece of each part.

Spans are joined as transformers' pipeline does with `aggregation_strategy="first"`: "B-X" begins one, "I-X" (of a tag
without a scheme the tag itself) goes on with one of its type and begins one after anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pkd.data.batches_by_length import batches_by_length
from pkd.data.windows import Sentence, Windows
from pkd.data.windows import Span as Characters
from pkd.data.word_logits import logits_of_words
from pkd.evaluation.probabilities import predictions, probabilities
from pkd.serving.loaded import LoadedModel
from pkd.serving.texts import Batch, Row, text_of
from pkd.serving.windowed import WindowEncoder, cut

OUTSIDE = "O"


@dataclass(frozen=True)
class Found:
    """A span of a text.

    Attributes:
        text: its characters.
        label: its type.
        start: the index of its first character.
        end: the index after its last character.
        score: the mean probability of its words' tags.
    """

    text: str
    label: str
    start: int
    end: int
    score: float


class Tagged(NamedTuple):
    """What a model finds in a text: its spans, and, of a sentence whose words are given, the tag of each word."""

    spans: tuple[Found, ...]
    tags: tuple[str, ...] | None


def tag(model: LoadedModel, texts: Sequence[Row]) -> list[Tagged]:
    """The spans of texts; of sentences those of their words, of other texts those of the tokenizer's parts."""
    rows, encoder = _windows(model, texts)
    logits = _logits_of_parts(rows, encoder, model.forward, model.tokens_per_batch, len(model.label_names))
    found, begin = [], 0
    for text, row in zip(texts, rows, strict=True):
        of_row = logits[begin : begin + len(row.words)]
        begin += len(row.words)
        places: Sequence[Characters] = row.spans
        if isinstance(text, Sentence):
            counts, words = np.array([len(row.words)]), np.array(row.words, dtype=np.int64)
            of_row = logits_of_words([_offsets(text)], counts, words, of_row, model.label_names)[0][: len(text.words)]
            places = text.words
        tags = [model.label_names[index] for index in predictions(of_row)]
        scores = probabilities(of_row).max(axis=-1, initial=0.0)
        spans = tuple(join(text_of(text), places, tags, scores.tolist()))
        found.append(Tagged(spans, tuple(tags) if isinstance(text, Sentence) else None))
    return found


def word_logits(model: LoadedModel, sentences: Sequence[Sentence]) -> NDArray[np.float32]:
    """The logits of each word, [N, W, C], NaN where a sentence has fewer than W words."""
    rows, encoder = _windows(model, sentences)
    logits = _logits_of_parts(rows, encoder, model.forward, model.tokens_per_batch, len(model.label_names))
    counts = np.array([len(row.words) for row in rows], dtype=np.int64)
    words = np.array([word for row in rows for word in row.words], dtype=np.int64)
    return logits_of_words(list(map(_offsets, sentences)), counts, words, logits, model.label_names)


def join(text: str, places: Sequence[Characters], tags: Sequence[str], scores: Sequence[float]) -> list[Found]:
    """The spans that tags form.

    Args:
        text: of the row.
        places: the characters of each word, or part.
        tags: of each.
        scores: their probabilities.

    >>> join("Ada Lovelace", [(0, 3), (4, 12)], ["I-person", "I-person"], [0.5, 0.9])
    [Found(text='Ada Lovelace', label='person', start=0, end=12, score=0.7)]
    """
    groups: list[tuple[str, list[int]]] = []
    for index, name in enumerate(tags):
        begins, kind = name.startswith("B-"), name[2:] if name[:2] in ("B-", "I-") else name
        if groups and groups[-1][0] == kind and not begins:
            groups[-1][1].append(index)
        else:
            groups.append((kind, [index]))
    found = []
    for kind, members in groups:
        if kind != OUTSIDE:
            start, end = places[members[0]][0], places[members[-1]][1]
            score = float(np.mean([scores[index] for index in members]))
            found.append(Found(text[start:end], kind, start, end, score))
    return found


def _offsets(sentence: Sentence) -> list[int]:
    return [place for span in sentence.words for place in span]


def _windows(model: LoadedModel, texts: Sequence[Row]) -> tuple[list[Windows], WindowEncoder]:
    encoder: Any = model.encoder
    assert isinstance(encoder, WindowEncoder)  # of every model whose kind has tokens
    return encoder.windows(texts), encoder


def _logits_of_parts(
    rows: Sequence[Windows],
    encoder: WindowEncoder,
    forward: Callable[[Batch], NDArray[np.float32]],
    tokens_per_batch: int,
    classes: int,
) -> NDArray[np.float32]:
    """The logits of all parts of all rows, one after the other, [P, C]."""
    windows = [window for row in rows for window in cut(row)]
    lengths = np.array([len(window) for window in windows], dtype=np.int64)
    begins = np.cumsum(lengths) - lengths
    of_rows = np.array([len(row.input_ids) for row in rows], dtype=np.int64)
    shifts = np.cumsum(of_rows) - of_rows
    taught = np.array(
        [shift + place for row, shift in zip(rows, shifts, strict=True) for place in row.taught], np.int64
    )
    window_of_part = np.searchsorted(begins, taught, side="right") - 1
    order = np.argsort(window_of_part, kind="stable")
    edges = np.searchsorted(window_of_part[order], np.arange(len(windows) + 1))
    logits = np.empty((len(taught), classes), dtype=np.float32)
    for batch in batches_by_length(lengths, tokens_per_batch) if windows else ():
        answered = forward(encoder.pad([windows[index] for index in batch]))  # [B, L, C]
        for answer, index in zip(answered, batch, strict=True):
            parts = order[edges[index] : edges[index + 1]]
            logits[parts] = answer[taught[parts] - begins[index]]
    return logits
