"""The record of a search within a budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkd.errors import CacheError
from pkd.reporting.front import Shape, read_front, write_front
from pkd.runs.folder import RunFolder
from reporting.searches import search


def test_a_search_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = search()
    assert write_front(written, tmp_path) == RunFolder(tmp_path).front
    assert read_front(tmp_path) == written
    assert written.chosen is not None
    assert written.chosen.number == 2


def test_both_precisions_of_a_shape_are_one_training() -> None:
    shape = Shape(layers=3, width=0.5, precision="int8")
    assert shape.trained == Shape(layers=3, width=0.5)
    assert {shape.trained: "once"}[Shape(layers=3, width=0.5)] == "once"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"budget": {}}', '"' + "[" * 100_000])
def test_a_record_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str) -> None:
    RunFolder(tmp_path).front.write_text(text)
    with pytest.raises(CacheError, match="is not a record of this version of pkd"):
        read_front(tmp_path)


def test_a_folder_without_a_search_is_named(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"front\.json does not exist. Run `pkd compress` first"):
        read_front(tmp_path)
