"""Rows that are written are read back as they were, by the settings that the rows they were made from are read by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkd.data.sources import read_split
from pkd.data.write_rows import FORMATS, write_rows
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t\"',;"), min_size=1
)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5), sep=st.sampled_from([None, ";", "|"]))
def test_any_text_is_read_back_as_it_was_written(tmp_path: Path, suffix: str, rows: Any, sep: str | None) -> None:
    given_settings = DataSettings(sep=sep, on_empty="keep", text_columns=["one", "two"])
    path = tmp_path / f"rows{suffix}"
    parts = [pa.table({"one": [one], "two": [two], "row": [1]}) for one, two in rows]
    write_rows(parts, path, given_settings)
    read = read_split(str(path), "unlabelled", given_settings)
    assert list(zip(read["text_a"], read["text_b"], strict=True)) == rows
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_text_is_written_in_the_encoding_of_the_files(tmp_path: Path) -> None:
    given_settings = DataSettings(encoding="cp1252", quotes="text")
    for suffix in (".csv", ".jsonl"):
        path = tmp_path / f"rows{suffix}"
        write_rows([pa.table({"text": ['a "café" €']})], path, given_settings)
        assert b"caf\xe9" in path.read_bytes()
        assert list(read_split(str(path), "unlabelled", given_settings)["text"]) == ['a "café" €']


@pytest.mark.parametrize("text", ["a, b", "好"])
def test_a_text_that_a_file_cannot_hold_as_it_is_read_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"rows.csv cannot hold a text.* Name a .parquet file"):
        write_rows([pa.table({"text": [text]})], tmp_path / "rows.csv", DataSettings(encoding="cp1252", quotes="text"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_could_not_be_written_whole_is_not_there_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("old")

    def parts() -> Any:
        yield pa.table({"text": ["a"]})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(parts(), path, DataSettings())
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
