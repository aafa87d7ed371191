"""Texts → padded arrays of word pieces, by the `tokenizers` library alone, without heavy imports.

Truncation is set once, in the constructor; after that nothing in the tokenizer changes, so that any number of threads
may use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pkd.data.batches_by_length import CHARACTERS_A_WORD_PIECE
from pkd.data.choices import Question
from pkd.data.windows import Sentence
from pkd.errors import DataError, TeacherError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Row: TypeAlias = str | tuple[str, str] | Sentence  # what a model reads at a time
Text: TypeAlias = Row | Question
Batch: TypeAlias = dict[str, NDArray[np.int64]]

_A_QUESTION = "a question has a text `question`, a list `choices` of two texts or more, and perhaps a text `context`."


class Encoded(Protocol):
    """The word pieces of a row, special tokens included, as `tokenizers` gives them."""

    @property
    def ids(self) -> list[int]:
        """Of the vocabulary."""

    @property
    def type_ids(self) -> list[int]:
        """Which of two texts each belongs to."""

    def __len__(self) -> int: ...


def rows_of(text: Text) -> list[Row]:
    """The rows of a text or a pair: itself; of a question, one pair per choice."""
    return list(text.sequences()) if isinstance(text, Question) else [text]


class TextEncoder:
    """A tokenizer with its limits.

    Args:
        tokenizer: owned from now on: nobody else may change it.
        max_length: word pieces a text is cut to; of a pair the longer text is cut first.
        pad_token_id: pads shorter rows on the right.
        truncation_side: which end of a long text is cut off.
    """

    def __init__(
        self, tokenizer: Tokenizer, max_length: int, *, pad_token_id: int = 0, truncation_side: str = "right"
    ) -> None:
        self.max_length = max_length
        self.pad_token_id = pad_token_id
        self._longest = CHARACTERS_A_WORD_PIECE * max_length
        self._cut_left = truncation_side == "left"
        tokenizer.no_padding()
        self._set_limit(tokenizer)
        self._tokenizer = tokenizer

    def _set_limit(self, tokenizer: Tokenizer) -> None:
        tokenizer.enable_truncation(self.max_length, direction="left" if self._cut_left else "right")

    @property
    def vocabulary(self) -> int:
        """The number of word pieces."""
        return int(self._tokenizer.get_vocab_size())

    def limited(self, max_length: int) -> Self:
        """The same, but texts are cut to `max_length` word pieces, or read in windows of so many."""
        from tokenizers import Tokenizer

        copied = Tokenizer.from_str(self._tokenizer.to_str())
        side = "left" if self._cut_left else "right"
        return type(self)(copied, max_length, pad_token_id=self.pad_token_id, truncation_side=side)

    def encode(self, texts: Sequence[Row]) -> list[Encoded]:
        """Tokenise texts, with special tokens; single texts and pairs may be mixed."""
        return list(self._tokenizer.encode_batch_fast([self._shortened(text) for text in texts]))

    def pad(self, encodings: Sequence[Encoded]) -> Batch:
        """Make arrays [B, L] of `input_ids`, `attention_mask` and `token_type_ids`, padded to the longest row."""
        longest = max(len(encoding) for encoding in encodings)
        ids = np.full((len(encodings), longest), self.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        types = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            length = len(encoding)
            ids[row, :length] = encoding.ids
            mask[row, :length] = 1
            types[row, :length] = encoding.type_ids
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}

    def _shortened(self, text: Row) -> str | tuple[str, str]:
        """Drop the characters far beyond the limit: a text of megabytes would take long to tokenise."""
        if not isinstance(text, tuple):
            return self._within(text_of(text))
        return self._within(text[0]), self._within(text[1])

    def _within(self, text: str) -> str:
        return text[-self._longest :] if self._cut_left else text[: self._longest]


def text_of(text: Row) -> str:
    """A single text, or that of a sentence."""
    return text.text if isinstance(text, Sentence) else str(text)


def question_from(value: Question | Mapping[str, Any], where: str) -> Question:
    """A question, given as such or as a mapping of `question`, `choices` and optionally `context`.

    Raises:
        DataError: if it is not a question, `where` before each fault.
    """
    if isinstance(value, Question):
        value = {"question": value.question, "choices": value.choices, "context": value.context}
    if others := [str(key) for key in value if key not in ("question", "choices", "context")]:
        raise DataError(f"{where}: {', '.join(others)} is not known; {_A_QUESTION}")
    question, choices, context = (value.get(key) for key in ("question", "choices", "context"))
    if not isinstance(question, str):
        raise DataError(f"{where}: question is {shown(question)}; {_A_QUESTION}")
    if not isinstance(choices, list | tuple) or len(choices) < 2 or not all(isinstance(each, str) for each in choices):
        raise DataError(f"{where}: choices is {shown(choices)}; {_A_QUESTION}")
    if context is not None and not isinstance(context, str):
        raise DataError(f"{where}: context is {shown(context)}; {_A_QUESTION}")
    for text in (question, *choices, context or ""):
        if not is_unicode(text):
            raise DataError(f"{where} holds {shown(text)}, in which there is half a character. Give it as UTF-8.")
    return Question(question, tuple(choices), context)


def shown(value: object) -> str:
    """A value in a message, in ASCII, which can always be printed."""
    told = ascii(value)
    return told if len(told) <= 60 else f"{told[:57]}..."


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded: JSON, and bytes that are not UTF-8, can leave lone surrogates in it.

    >>> is_unicode("film \U0001f3ac"), is_unicode("fin\udce9 film")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def backend_of(tokenizer: Any) -> Tokenizer:
    """A copy of the fast tokenizer behind one of transformers.

    Raises:
        TeacherError: if there is none.
    """
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TeacherError(
            f"A {type(tokenizer).__name__} has no fast tokenizer behind it, which serving needs. Save the model with a "
            "tokenizer.json (AutoTokenizer makes one for every family that pkd knows)."
        )
    copied: Tokenizer = Tokenizer.from_str(backend.to_str())
    return copied
