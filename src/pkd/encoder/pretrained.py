"""A pretrained encoder that is to be a student, before its weights are loaded: its tokenizer, and how deep it is.

Two readers of one text have their own word pieces, special tokens and casing, and cut it where each must.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from pkd.data.encodings import Reader
from pkd.data.tokenize import share_truncated
from pkd.encoder.check_model import check_tokenizer
from pkd.encoder.families import depth_of, longest_input
from pkd.encoder.load import load_config, load_tokenizer
from pkd.errors import TeacherError
from pkd.recipe.spelling import named

if TYPE_CHECKING:
    import datasets

_SAMPLE = 512  # rows that two readers are compared on
_UNKNOWN = 0.5  # of the word pieces: with more, the encoder has not seen such text
_SPACE = "▁"  # the word piece
_MORE_CUT = 0.1  # of the rows: readers whose shares of cut rows differ by more do not learn from the same texts


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder without its weights.

    Attributes:
        name: a folder or hub name.
        config: of the whole encoder.
        tokenizer: its own, giving what it takes.
    """

    name: str
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase

    @property
    def layers(self) -> int:
        """Its depth."""
        return depth_of(self.config)

    def reader(self, max_length: int) -> Reader:
        """How it reads texts that a recipe cuts at `max_length`: no further than its positions reach."""
        return Reader(self.tokenizer, min(max_length, longest_input(self.config)), self.name)


def load_encoder(name: str) -> Encoder:
    """Load an encoder's configuration and tokenizer alone.

    Raises:
        TeacherError: if it is no encoder of a supported family, or has no usable tokenizer.
    """
    config = load_config(name, "student")
    tokenizer = load_tokenizer(name, config, "student")
    check_tokenizer(name, tokenizer)
    tokenizer.padding_side = "right"
    return Encoder(name, config, tokenizer)


def check_reads(reader: Reader, rows: datasets.Dataset) -> None:
    """Check on a sample that an encoder knows the words of some rows.

    Raises:
        TeacherError: if most of their word pieces are unknown to it.
    """
    if sentence := hardly_reads(reader, rows):
        raise TeacherError(sentence)


def hardly_reads(reader: Reader, rows: datasets.Dataset) -> str:
    """A sentence if an encoder does not know most of the word pieces of some rows; else an empty one."""
    if (share := _share_unknown(reader, rows)) <= _UNKNOWN:
        return ""
    return (
        f"{reader.name} does not know {share:.0%} of the word pieces of the training texts, so it cannot learn "
        "from them. Choose an encoder of their language."
    )


def _share_unknown(reader: Reader, rows: datasets.Dataset) -> float:
    unknown, special = reader.tokenizer.unk_token_id, set(reader.tokenizer.all_special_ids)
    if unknown is None or not len(rows):  # bytes, of which none is unknown
        return 0.0
    ids = np.concatenate(reader.encode(_sample(rows))["input_ids"])
    # SentencePiece parts the space from a word that it does not know
    spaces = {reader.tokenizer.convert_tokens_to_ids(_SPACE)}
    words = ids[~np.isin(ids, list((special | spaces) - {unknown}))]
    return float(np.mean(words == unknown)) if len(words) else 0.0


def difference_in_reading(reader: Reader, teacher: Reader, rows: datasets.Dataset) -> str:
    """A sentence if a student cuts many more, or many fewer, of some rows than its teacher; else an empty one."""
    some = _sample(rows)
    own, of_teacher = (share_truncated(each.encode(some), each.max_length) for each in (reader, teacher))
    if abs(own - of_teacher) <= _MORE_CUT:
        return ""
    who, other = (reader.name, "its teacher") if own > of_teacher else ("The teacher", reader.name)
    return (
        f"{who} reads less of the texts than {other}: {max(own, of_teacher):.0%} of the training rows are cut for it, "
        f"against {min(own, of_teacher):.0%} (at {reader.max_length} word pieces of the student's, "
        f"{teacher.max_length} of the teacher's). {named('data.max_length')} sets where both cut, as far as each can "
        "read."
    )


def _sample(rows: datasets.Dataset) -> datasets.Dataset:
    """Some rows, evenly spaced."""
    return rows.select(np.unique(np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)))
