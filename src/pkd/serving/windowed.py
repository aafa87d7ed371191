"""Texts → windows of word pieces, for models that give every word a tag, by the `tokenizers` library alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkd.data.windows import Sentence, Windows, pieces_of, special_around, windows_of
from pkd.serving.texts import Encoded, Row, TextEncoder, text_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Window:
    """The word pieces of a window, with its special tokens."""

    ids: list[int]

    @property
    def type_ids(self) -> list[int]:
        """The first type throughout: a window shows one text."""
        return [0] * len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


class WindowEncoder(TextEncoder):
    """A tokenizer that cuts nothing off: a long text is read in windows of `max_length` word pieces that overlap."""

    def _set_limit(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        self._special = special_around(tokenizer.encode("a"))

    def encode(self, texts: Sequence[Row]) -> list[Encoded]:
        """The windows of texts, those of a text one after the other."""
        return [window for row in self.windows(texts) for window in cut(row)]

    def windows(self, texts: Sequence[Row]) -> list[Windows]:
        """What the model reads of each text: of a sentence the parts of its words, of other texts all parts."""
        encodings = self._tokenizer.encode_batch([text_of(text) for text in texts], add_special_tokens=False)
        return [
            windows_of(
                text_of(text),
                text.words if isinstance(text, Sentence) else [(0, len(text_of(text)))],
                pieces_of(encoding),
                special=self._special,
                max_length=self.max_length,
            )
            for text, encoding in zip(texts, encodings, strict=True)
        ]


def cut(row: Windows) -> list[Window]:
    """The windows of one text."""
    found, begin = [], 0
    for length in row.lengths:
        found.append(Window(row.input_ids[begin : begin + length]))
        begin += length
    return found
