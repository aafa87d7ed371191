"""Texts become padded arrays of word pieces by the `tokenizers` library alone: nothing heavy is needed to serve.

How texts are cut is set once, when the tokenizer is taken over; after that nothing in it changes, so that any number of
threads may use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pkd.data.lengths import CHARACTERS_A_WORD_PIECE
from pkd.errors import TeacherError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Text: TypeAlias = str | tuple[str, str]
Batch: TypeAlias = dict[str, NDArray[np.int64]]


class TextEncoder:
    """A tokenizer with its limits.

    Args:
        tokenizer: taken over: nobody else may change it.
        max_length: word pieces a text is cut to; of a pair the longer text is cut first.
        pad_token_id: what fills shorter rows up, on the right.
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
        tokenizer.enable_truncation(max_length, direction=truncation_side)
        self._tokenizer = tokenizer

    @property
    def vocabulary(self) -> int:
        """How many word pieces there are."""
        return int(self._tokenizer.get_vocab_size())

    def limited(self, max_length: int) -> TextEncoder:
        """The same, but texts are cut to `max_length` word pieces."""
        from tokenizers import Tokenizer

        copied = Tokenizer.from_str(self._tokenizer.to_str())
        side = "left" if self._cut_left else "right"
        return TextEncoder(copied, max_length, pad_token_id=self.pad_token_id, truncation_side=side)

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Cut texts into word pieces, special ones included; single texts and pairs may come together."""
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast([self._shortened(text) for text in texts])
        return encodings

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Make arrays [B, L] of `input_ids`, `attention_mask` and `token_type_ids`, filled up to the longest row."""
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

    def _shortened(self, text: Text) -> Text:
        """Without the characters far beyond the limit: a text of megabytes would take its time to tokenise."""
        if isinstance(text, str):
            return self._within(text)
        return self._within(text[0]), self._within(text[1])

    def _within(self, text: str) -> str:
        return text[-self._longest :] if self._cut_left else text[: self._longest]


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded: JSON and bytes that are no UTF-8 can leave halves of characters in it.

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
