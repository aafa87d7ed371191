"""Encodings: what a reader makes of rows, as a table of its own, row for row, stored once for each reader.

A row of text has as many encodings as there are tokenizers that read it: those of its teachers and of its students.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pkd import progress
from pkd.data.shards import write_shards
from pkd.data.tokenize import encode, fingerprint_tokenizer, token_columns
from pkd.runs.fingerprint import fingerprint

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

_TOKEN_TYPES = "token_type_ids"


@dataclass(frozen=True)
class Reader:
    """How a model reads text; readers of one `key` make the same word pieces of it.

    Attributes:
        tokenizer: of the model, fitted to it by `tokenizer_for`.
        max_length: word pieces that a row is truncated to.
        name: of the model, for messages.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    name: str

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that an encoding depends on besides the rows."""
        return {
            "tokenizer": fingerprint_tokenizer(self.tokenizer),
            "token_types": _TOKEN_TYPES in self.tokenizer.model_input_names,
            "max_length": self.max_length,
        }

    @property
    def key(self) -> str:
        """The name of its encodings."""
        return fingerprint(self.inputs)[:12]

    def encode(self, rows: datasets.Dataset) -> datasets.Dataset:
        """A few rows with their word pieces."""
        return encode(rows, self.tokenizer, self.max_length, masks=True)


def write_encoding(
    rows: datasets.Dataset,
    reader: Reader,
    folder: Path,
    *,
    rows_per_shard: int,
    stage: progress.Stage | None = None,
) -> datasets.Dataset:
    """Write the word pieces of rows as shards into `folder`, keeping finished ones; under several ranks each calls it.

    Masked words of augmented rows become the reader's own mask token.
    """

    def make(begin: int, end: int, advance: Callable[[int], None]) -> pa.Table:
        table = token_columns(rows.select(range(begin, end)), reader.tokenizer, reader.max_length, masks=True)
        advance(end - begin)
        return table

    return write_shards(
        folder, len(rows), make, rows_per_shard=rows_per_shard, cut={"rows_per_shard": rows_per_shard}, stage=stage
    )


def bytes_per_encoded_row(tokens: float, *, choices: int, token_types: bool) -> float:
    """About how many bytes the encoding of a row takes on disk, of so many word pieces over all its choices."""
    return (4 + token_types) * tokens + 4 * (2 + token_types + choices)
