"""The spans that words' tags form, as seqeval defines them in its strict mode.

"B-X" begins a span and "I-X" goes on with it; an "I-X" without a "B-X" before it belongs to none. Of a type whose only
class is "I-X" every run of it is a span. Classes that older models have for further word pieces and special tokens
("X", "[CLS]") are outside beside tags of a scheme. Without a scheme every word with a tag other than "O" is a span.
Class ids [N, W] of N rows with at most W words come in, −100 where a row has fewer.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pkd.errors import DataError, TeacherError
from pkd.evaluation.probabilities import predictions

Floats: TypeAlias = NDArray[np.floating]
Integers: TypeAlias = NDArray[np.integer]
Names: TypeAlias = tuple[str, ...]
Span: TypeAlias = tuple[str, int, int]  # type, first word, word after the last
OUTSIDE = "O"
BESIDE_A_SCHEME = ("X", "[CLS]", "[SEP]", "[PAD]", "PAD", "<pad>")  # classes of no word
NO_WORD = -100  # of a label where no word is
_PREFIXES = ("B-", "I-")
_REMEMBERED = 100_000  # rows whose spans are kept


def answered_tags(logits: Floats) -> NDArray[np.int64]:
    """The most probable class of each word, [N, W]; −100 where no word is."""
    absent = np.isnan(logits).all(axis=-1)
    return np.where(absent, NO_WORD, predictions(np.nan_to_num(logits, nan=-np.inf)))


def spans_by_row(names: Names, tags: Integers) -> list[tuple[Span, ...]]:
    """The spans of each row from the class ids of its words, [N, W]; words without a class do not count."""
    return [_spans(names, np.asarray(row[row >= 0], dtype=np.int64).tobytes()) for row in tags]


def types_of(names: Names) -> list[str]:
    """The types of span, in the order of the tags.

    >>> types_of(("O", "B-person", "I-person", "B-place")), types_of(("NOUN", "VERB"))
    (['person', 'place'], ['NOUN', 'VERB'])
    """
    if not has_scheme(names):
        return [name for name in names if name != OUTSIDE]
    from seqeval.scheme import IOB2

    return list(dict.fromkeys(IOB2(name).tag for name in names if name[:2] in _PREFIXES))


def has_scheme(names: Sequence[str]) -> bool:
    """Whether tags say where spans begin and go on, as IOB2 does.

    >>> has_scheme(("O", "B-person", "I-person", "[CLS]")), has_scheme(("O", "NOUN", "X")), has_scheme(("O", "B-"))
    (True, False, False)
    """
    others = [name for name in names if name not in (OUTSIDE, *BESIDE_A_SCHEME)]
    return bool(others) and all(name[:2] in _PREFIXES and len(name) > 2 for name in others)


def answered_and_wanted(
    names: Names, logits: Floats, labels: Integers
) -> tuple[list[tuple[Span, ...]], list[tuple[Span, ...]]]:
    """The spans of each row as a model answers them, and as the labels have them."""
    logits, labels = same_width(logits, labels)
    _require_scorable(logits, labels)
    answered = np.where(labels >= 0, answered_tags(logits), NO_WORD)
    return spans_by_row(names, answered), spans_by_row(names, labels)


def same_width(logits: Floats, labels: Integers) -> tuple[Floats, Integers]:
    """Pad the narrower of the two: a part of the rows may have fewer words than all."""
    if logits.ndim != 3 or labels.ndim != 2 or len(logits) != len(labels):
        raise DataError(
            f"Scores of tags need logits of shape [rows, words, classes] and a label per word; got {logits.shape} and "
            f"labels {labels.shape}."
        )
    width = max(logits.shape[1], labels.shape[1])
    if width == logits.shape[1] == labels.shape[1]:
        return logits, labels
    more = ((0, 0), (0, width - logits.shape[1]), (0, 0))
    return (
        np.pad(logits, more, constant_values=np.nan),
        np.pad(labels, ((0, 0), (0, width - labels.shape[1])), constant_values=NO_WORD),
    )


def span_words(spans: Sequence[Span]) -> str:
    """A row's spans by the numbers of their words, from 1 on.

    >>> span_words([("person", 0, 2), ("place", 4, 5)]), span_words([])
    ('person 1-2, place 5', 'no span')
    """
    told = (f"{kind} {first + 1}" + (f"-{end}" if end > first + 1 else "") for kind, first, end in spans)
    return ", ".join(told) or "no span"


@functools.lru_cache(_REMEMBERED)
def _spans(names: Names, ids: bytes) -> tuple[Span, ...]:
    tags = [names[index] for index in np.frombuffer(ids, dtype=np.int64)]
    if not has_scheme(names):
        return tuple((tag, index, index + 1) for index, tag in enumerate(tags) if tag != OUTSIDE)
    tags = _with_beginnings(names, [OUTSIDE if tag in BESIDE_A_SCHEME else tag for tag in tags])
    if not any(tag[0] == "B" for tag in tags):
        return ()
    from seqeval.scheme import IOB2, Tokens

    return tuple((found.tag, found.start, found.end) for found in Tokens(tags, IOB2).entities)


def _with_beginnings(names: Names, tags: list[str]) -> list[str]:
    """The tags, with "B-X" where a span of a type begins that has no such class: there every run of "I-X" is a span."""
    inner, first = ({name[2:] for name in names if name.startswith(prefix)} for prefix in ("I-", "B-"))
    without = inner - first
    if not without:
        return tags
    before = ["", *(tag[2:] for tag in tags)]
    return [
        f"B-{tag[2:]}" if tag[2:] in without and tag[2:] != last else tag
        for tag, last in zip(tags, before, strict=False)
    ]


def _require_scorable(logits: Floats, labels: Integers) -> None:
    if not (labels >= 0).any():
        raise DataError("There are 0 words to score. Give at least one row whose words have tags.")
    outside = np.argwhere(((labels < 0) & (labels != NO_WORD)) | (labels >= logits.shape[2]))
    if len(outside):
        row, word = outside[0]
        raise DataError(
            f"Row {row}, word {word}, has the label {labels[row, word]}, but the model has the classes 0 to "
            f"{logits.shape[2] - 1} ({len(outside)} such words)."
        )
    broken = np.unique(np.argwhere((labels >= 0) & ~np.isfinite(logits).all(axis=-1))[:, 0])
    if len(broken):
        raise TeacherError(
            f"The model's logits are not finite in {len(broken)} of {len(logits)} rows, first in row {broken[0]}. "
            "Its weights are damaged or it diverged in training; train it again."
        )
