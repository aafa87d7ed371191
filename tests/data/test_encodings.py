"""What a reader makes of rows, stored apart from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from conftest import SPECIAL, WORDS, make_reviews, make_tokenizer
from pkd import progress
from pkd.data.encodings import Reader, bytes_per_encoded_row, write_encoding
from pkd.data.shards import finished_shards, open_shards
from pkd.data.tokenize import encode, joined
from pkd.errors import CacheError, Stopped

TOKENS = ["input_ids", "length"]


def reader(max_length: int = 12, words: tuple[str, ...] = WORDS) -> Reader:
    return Reader(make_tokenizer(words), max_length, "reader")


def stored(rows: datasets.Dataset, folder: Path, how: Reader | None = None) -> datasets.Dataset:
    folder.mkdir(exist_ok=True)
    return write_encoding(rows, how or reader(), folder, rows_per_shard=16)


def test_an_encoding_has_the_word_pieces_of_each_row_and_nothing_else(rows: datasets.Dataset, tmp_path: Path) -> None:
    encoding = stored(rows, tmp_path / "a")
    assert encoding.column_names == TOKENS
    expected = encode(rows, make_tokenizer(), 12).select_columns(TOKENS)
    assert encoding.to_dict() == expected.to_dict()


def test_a_masked_word_of_a_row_without_a_label_is_each_readers_own_mask_token(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"text": ["a [MASK] film"], "label": [None]})
    words = tuple(word for word in WORDS if word != "[MASK]")
    other = Reader(make_tokenizer((*words, "[MASK]")), 12, "other")
    (one,), (two,) = stored(rows, tmp_path / "a")["input_ids"], stored(rows, tmp_path / "b", other)["input_ids"]
    assert one[2] == WORDS.index("[MASK]")
    assert two[2] == len(WORDS) - 1


def test_readers_of_one_key_make_the_same_word_pieces_and_others_have_another_key() -> None:
    plain = make_tokenizer()
    plain.model_input_names = ["input_ids", "attention_mask"]
    others = [
        reader(max_length=11), reader(words=(*SPECIAL, *WORDS[: len(SPECIAL) - 1 : -1])), Reader(plain, 12, "reader")
    ]  # fmt: skip
    assert reader().key == Reader(make_tokenizer(), 12, "another name").key
    assert len({reader().key, *(each.key for each in others)}) == 4


def test_a_stopped_encoding_goes_on_and_makes_only_what_is_missing(rows: datasets.Dataset, tmp_path: Path) -> None:
    whole = stored(rows, tmp_path / "whole")
    folder = tmp_path / "stopped"
    try:
        with pytest.raises(Stopped, match="1 of 3 shards are saved"), progress.saves_on_stop():
            progress.request_stop(75)
            stored(rows, folder)
    finally:
        progress.clear_stop()
    first = (folder / "shard-00000.arrow").stat().st_mtime_ns
    assert stored(rows, folder).to_dict() == whole.to_dict()
    assert (folder / "shard-00000.arrow").stat().st_mtime_ns == first
    assert len(finished_shards(folder)) == 3


def test_rows_and_their_encoding_are_read_together_from_their_files(rows: datasets.Dataset, tmp_path: Path) -> None:
    rows.save_to_disk(str(tmp_path / "rows"))
    mapped, before = datasets.load_from_disk(str(tmp_path / "rows")), pa.total_allocated_bytes()
    both = joined(mapped, stored(rows, tmp_path / "a"))
    twice = datasets.concatenate_datasets([both.select([3, 1, 3]), both])
    assert {Path(file["filename"]).parent.name for file in twice.cache_files} == {"rows", "a"}
    assert pa.total_allocated_bytes() - before < 1000  # nothing but the three indices
    expected = encode(rows, make_tokenizer(), 12)
    assert both.to_dict() == expected.to_dict()
    assert twice[:3] == expected[[3, 1, 3]]


@pytest.mark.parametrize("chosen", [[], [5], [39, 0, 7, 7]])
def test_a_selection_is_encoded_without_copying_what_it_was_selected_from(chosen: list[int], tmp_path: Path) -> None:
    texts = [text for text, _ in make_reviews(40)]
    datasets.Dataset.from_dict({"text": texts, "length": [""] * 40}).save_to_disk(str(tmp_path / "rows"))
    some = encode(datasets.load_from_disk(str(tmp_path / "rows")).select(chosen), make_tokenizer(), 12)
    assert {Path(file["filename"]).parent.name for file in some.cache_files} == {"rows"}
    expected = encode(datasets.Dataset.from_dict({"text": [texts[index] for index in chosen]}), make_tokenizer(), 12)
    assert some.to_dict() == expected.to_dict()


def test_an_encoding_of_other_rows_is_refused(rows: datasets.Dataset, tmp_path: Path) -> None:
    encoding = stored(rows, tmp_path / "train-0123")
    with pytest.raises(CacheError, match=r"train-0123 holds the word pieces of 40 rows, but 39 rows are read"):
        joined(rows.select(range(39)), encoding)


@pytest.mark.parametrize(
    "columns",
    [
        {"text": ["a good film"] * 500},
        {"text_a": ["a good film"] * 500, "text_b": ["very bad"] * 500},
        {"text_a": ["a good film"] * 500, "choice_0": ["the plot"] * 500, "choice_1": ["an end"] * 500},
    ],
)
def test_the_size_foretold_is_that_of_the_file(columns: dict[str, Any], tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict(columns)
    (tmp_path / "a").mkdir()
    encoding = write_encoding(rows, reader(), tmp_path / "a", rows_per_shard=500)
    choices = len(columns) - 1 if "choice_0" in columns else 0
    tokens = sum(map(len, encoding["input_ids"])) / 500
    told = 500 * bytes_per_encoded_row(tokens, choices=choices, token_types="token_type_ids" in encoding.column_names)
    assert (tmp_path / "a" / "shard-00000.arrow").stat().st_size == pytest.approx(told, rel=0.1)
    assert len(open_shards(tmp_path / "a")) == 500
