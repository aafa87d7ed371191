"""Word pieces of rows, without padding: as columns apart, or beside the text, the label and the teacher's answers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pkd import progress
from pkd.data.arrays import column_array, column_values
from pkd.data.batches_by_length import CHARACTERS_A_WORD_PIECE
from pkd.data.choices import Question
from pkd.data.taught import MASK, warn_of_unread_words, word_columns
from pkd.data.windows import WORDS, Sentence, has_words, spans_of
from pkd.errors import CacheError
from pkd.recipe.spelling import named
from pkd.runs.fingerprint import fingerprint, sha256_of_texts

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

TEXT_COLUMNS = ("text", "text_a", "text_b")
CHOICE = "choice_"  # prefix of a choice's column; its index follows
# of an encoding
TOKEN_COLUMNS = (
    "input_ids", "token_type_ids", "choice_lengths", "window_lengths", "taught", "taught_words", "length",
)  # fmt: skip
_ROWS_AT_A_TIME = 1000


def text_columns(dataset: datasets.Dataset) -> tuple[str, ...]:
    """The text columns: `text`; for pairs `text_a`, `text_b`; for multiple choice `text_a`, `choice_0`, ..."""
    return tuple(name for name in dataset.column_names if name in TEXT_COLUMNS or _is_choice(name))


def count_choices(columns: Sequence[str]) -> int:
    """The number of choices per row; 0 if the rows are not multiple choice."""
    return sum(map(_is_choice, columns))


def _is_choice(column: str) -> bool:
    return column.startswith(CHOICE) and column.removeprefix(CHOICE).isdigit()


def rows_as_texts(dataset: datasets.Dataset) -> list[str | tuple[str, str] | Question | Sentence]:
    """The texts of rows, in order, as input for a classifier: texts, pairs, questions with choices, or sentences."""
    if has_words(dataset.column_names):
        pairs = zip(column_values(dataset, "text"), column_values(dataset, WORDS), strict=True)
        return [Sentence(text, spans_of(offsets)) for text, offsets in pairs]
    columns = text_columns(dataset)
    texts = (column_values(dataset, column) for column in columns)
    if len(columns) == 1:
        return list(*texts)
    rows = zip(*texts, strict=True)
    # text_a is the part that all choices share; each choice already contains the question's text
    return [Question(first, tuple(others)) if count_choices(columns) else (first, *others) for first, *others in rows]


def encode(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, *, masks: bool = False
) -> datasets.Dataset:
    """Add the columns of `token_columns` to every row, unless it has them; what is memory-mapped stays so."""
    import datasets

    if "input_ids" in dataset.column_names:
        return dataset
    return joined(dataset, datasets.Dataset(token_columns(dataset, tokenizer, max_length, masks=masks)))


def token_columns(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, *, masks: bool = False
) -> pa.Table:
    """The word pieces of every row: `input_ids`, `length` and, of pairs, the `token_type_ids` that it returns.

    A multiple-choice row has one sequence per choice: `input_ids` concatenates them, `choice_lengths` has the length of
    each, and `length` is the longest. Rows whose words have tags are read in windows (`word_columns`).

    Args:
        dataset: rows with `text`, with `text_a` and `text_b`, or with `text_a` and choices.
        tokenizer: of the model that reads them.
        max_length: maximum word pieces per row; the longer text of a pair is cut first. Characters far beyond it are
            not tokenised at all, which would be slow for texts of megabytes.
        masks: read `[MASK]` in rows without a label as the tokenizer's own mask token, or leave it out where there is
            none. The text keeps it, for other readers.
    """
    if has_words(dataset.column_names):
        return word_columns(dataset, tokenizer, max_length, masks=masks)
    columns = text_columns(dataset)
    choices = count_choices(columns)
    input_ids: list[Sequence[int]] = []
    token_type_ids: list[Sequence[int]] = []
    dataset = dataset.select_columns([*columns, *(["label"] if masks and "label" in dataset.column_names else [])])
    dataset = dataset.with_format(None)
    for begin in range(0, len(dataset), _ROWS_AT_A_TIME):
        rows = dataset[begin : begin + _ROWS_AT_A_TIME]
        longest = CHARACTERS_A_WORD_PIECE * max_length
        near = slice(-longest, None) if tokenizer.truncation_side == "left" else slice(longest)
        texts = [[text[near] for text in rows[column]] for column in columns]
        if masks:
            labels = rows.get("label", [None] * len(texts[0]))
            texts = [
                [_read_mask(text, tokenizer) if label is None else text for text, label in zip(of, labels, strict=True)]
                for of in texts
            ]
        if choices:  # the context before each choice, a row's choices one after the other
            of_rows = list(zip(*texts, strict=True))
            texts = [[row[0] for row in of_rows for _ in row[1:]], [choice for row in of_rows for choice in row[1:]]]
        encoded = tokenizer(
            *texts,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
        )
        input_ids.extend(encoded["input_ids"])
        if len(texts) == 2 and "token_type_ids" in encoded:
            token_type_ids.extend(encoded["token_type_ids"])
    added = {"input_ids": _token_column(input_ids, pa.int32(), max(1, choices))}
    if token_type_ids:
        added["token_type_ids"] = _token_column(token_type_ids, pa.int8(), max(1, choices))
    lengths = np.fromiter((len(ids) for ids in input_ids), dtype=np.int32, count=len(input_ids))
    if choices:
        added["choice_lengths"] = pa.FixedSizeListArray.from_arrays(pa.array(lengths), choices)
        lengths = lengths.reshape(-1, choices).max(axis=1, initial=0)
    return pa.table({**added, "length": pa.array(lengths)})


def joined(rows: datasets.Dataset, encoding: datasets.Dataset) -> datasets.Dataset:
    """Rows with the columns of their encoding, row for row, in place of any that they have; nothing is copied.

    For a selection of rows the encoding is spread over the rows that it was selected from, whose others have none.

    Raises:
        CacheError: if these are not as many rows.
    """
    import datasets

    check_row_for_row(rows, encoding)
    rows = without_encoding(rows).with_format(None)
    if rows._indices is None:
        return datasets.concatenate_datasets([rows, encoding], axis=1)
    picked = rows._indices.column(0).to_numpy()
    source = np.full(rows.data.num_rows, -1)
    source[picked] = np.arange(len(picked))
    spread = encoding.with_format("arrow")[:].take(pa.array(source, mask=source < 0))
    whole = datasets.Dataset(rows.data, info=rows.info)
    return datasets.concatenate_datasets([whole, datasets.Dataset(spread)], axis=1).select(picked)


def check_row_for_row(rows: datasets.Dataset, encoding: datasets.Dataset) -> None:
    """Check that an encoding has as many rows as it is of.

    Raises:
        CacheError: if it has not.
    """
    if len(rows) != len(encoding):
        files = [Path(file["filename"]).parent for file in encoding.cache_files]
        where = f"{files[0]} holds" if files else "There are"
        raise CacheError(
            f"{where} the word pieces of {len(encoding):,} rows, but {len(rows):,} rows are read: not the same. "
            "Remove the folder; the same command makes it again."
        )


def without_encoding(rows: datasets.Dataset) -> datasets.Dataset:
    """The rows without the columns of an encoding."""
    found = [name for name in TOKEN_COLUMNS if name in rows.column_names]
    return rows.remove_columns(found) if found else rows


def _read_mask(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    if MASK not in text:
        return text
    if tokenizer.mask_token is None:
        return re.sub(rf"\s*{re.escape(MASK)}", "", text).lstrip()
    return text.replace(MASK, str(tokenizer.mask_token))


def occurring_pieces(dataset: datasets.Dataset, vocabulary: int) -> np.ndarray:
    """The mask of the vocabulary's word pieces that occur in encoded rows, [V] bool.

    For a selection of rows, those of the underlying dataset: a superset.
    """
    counts = np.zeros(vocabulary, dtype=np.int64)
    for chunk in dataset.data.column("input_ids").chunks:
        counts += np.bincount(chunk.flatten().to_numpy(), minlength=vocabulary)
    return counts > 0


def share_truncated(dataset: datasets.Dataset, max_length: int) -> float:
    """The share of encoded rows that have the length `max_length`, and so were probably cut."""
    if "window_lengths" in dataset.column_names:
        return 0.0  # read in windows
    lengths = column_array(dataset, "length")
    return float(np.mean(lengths >= max_length)) if len(lengths) else 0.0


def warn_of_unread(rows: datasets.Dataset, encoding: datasets.Dataset, max_length: int, stage: str = "") -> None:
    """Warn if many rows are truncated in their encoding, or many of their words not read; both may be one table.

    `stage` names the one of several that encode rows.
    """
    if has_words(rows.column_names):
        warn_of_unread_words(rows, encoding)
    if (share := share_truncated(encoding, max_length)) > 0.1:
        where = f"{stage}: " if stage else ""
        progress.warn(
            f"{where}{share:.0%} of the rows are cut at {max_length} word pieces ({named('data.max_length')})."
        )


def fingerprint_rows(dataset: datasets.Dataset) -> dict[str, str]:
    """The hashes of the rows' texts and, if they have any, of their labels and groups."""
    prints = {"texts": fingerprint_texts(dataset)}
    if "label" in dataset.column_names:
        prints["labels"] = fingerprint_labels(dataset)
    if "group" in dataset.column_names:  # scored separately
        prints["groups"] = sha256_of_texts(str(group) for group in column_values(dataset, "group"))
    return prints


def fingerprint_texts(dataset: datasets.Dataset) -> str:
    """The sha256 of the rows' texts, in order, without labels, which do not change the teacher's logits."""
    prints = {column: sha256_of_texts(column_values(dataset, column)) for column in text_columns(dataset)}
    if has_words(dataset.column_names):
        prints[WORDS] = sha256_of_texts(str(words) for words in column_values(dataset, WORDS))
    return fingerprint(prints)


def fingerprint_labels(dataset: datasets.Dataset) -> str:
    """The sha256 of the rows' labels, in order."""
    return sha256_of_texts(str(label) for label in column_values(dataset, "label"))


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """The sha256 of everything that decides how a text is tokenized.

    A tokenizer remembers the padding and truncation of its last call; these are left out. The truncation side is
    included unless it is the default.
    """
    side = {"truncation_side": "left"} if tokenizer.truncation_side == "left" else {}
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return fingerprint({"vocabulary": tokenizer.get_vocab(), "class": type(tokenizer).__name__, **side})
    state = json.loads(backend.to_str())
    state["padding"] = state["truncation"] = None
    return fingerprint(state | side)


def _token_column(sequences: Sequence[Sequence[int]], type: pa.DataType, a_row: int) -> pa.ListArray:
    """The tokens of each row: those of `a_row` sequences, concatenated."""
    offsets = np.zeros(len(sequences) + 1, dtype=np.int32)
    np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
    flat = np.fromiter((token for each in sequences for token in each), dtype=np.int32, count=int(offsets[-1]))
    return pa.ListArray.from_arrays(pa.array(offsets[::a_row]), pa.array(flat).cast(type))
