from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pkd.data.clean import clean_rows
from pkd.data.tables import RawTable, name_rows
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings


def raw(texts, labels=None, **more: Any) -> RawTable:
    columns = texts if isinstance(texts, tuple) else (texts,)
    arrays = tuple(pa.chunked_array([pa.array(column)]) for column in columns)
    return RawTable("train.csv", arrays, labels, lines=np.arange(2, 2 + len(columns[0])), **more)


def clean(table, on_empty="error", **settings):
    return clean_rows(table, DataSettings(**settings), on_empty=on_empty)


def labels_of(values, **settings):
    rows = clean(raw(["x"] * len(values), values), **settings)
    return rows["label"][:], str(rows.features["label"].dtype)


def test_a_pair_gets_two_columns():
    rows = clean(raw((["a"], ["b"]), ["yes"]))
    assert rows[0] == {"text_a": "a", "text_b": "b", "label": "yes"}


def test_no_rows_are_refused():
    with pytest.raises(DataError, match=r"train.csv has 0 rows"):
        clean(raw(pa.array([], pa.string()), []))


def test_numbers_as_texts_become_strings_with_a_note(heard):
    assert clean(raw([123, 45]))["text"][:] == ["123", "45"]
    assert any("read as text" in note for note in heard.notes)


def test_texts_of_another_string_type_are_read():
    assert clean(raw(pa.array(["a", "b"], pa.large_string())))["text"][:] == ["a", "b"]
    assert clean(raw(pa.array(["a", "b", "a"]).dictionary_encode()))["text"][:] == ["a", "b", "a"]


def test_lists_are_no_texts():
    with pytest.raises(DataError, match=r"texts are expected"):
        clean(raw([["a"], ["b"]]))


def test_many_empty_texts_are_refused_with_their_lines_and_the_setting():
    with pytest.raises(DataError, match=r"2 of 3 rows .*lines 3, 4.*on_empty='drop'"):
        clean(raw(["x", " \u3000\t", None]))


def test_few_empty_texts_are_kept_with_a_warning(heard):
    assert len(clean(raw(["x"] * 99 + [""]))) == 100
    assert any("1 of 100 rows" in warning for warning in heard.warnings)


def test_empty_texts_are_dropped_or_kept_if_asked(heard):
    table = raw(["x", "", "y"], ["a", None, "b"])
    assert clean(table, on_empty="drop")["label"][:] == ["a", "b"]
    assert clean(raw(["x", "", "y"]), on_empty="keep")["text"][:] == ["x", "", "y"]
    assert any("were dropped" in note for note in heard.notes)


def test_half_of_a_pair_being_empty_counts():
    with pytest.raises(DataError, match=r"1 of 2 rows"):
        clean(raw((["a", "b"], ["c", ""])))


def test_dropping_every_row_is_refused():
    with pytest.raises(DataError, match=r"0 rows left"):
        clean(raw(["", " "], ["a", "b"]), on_empty="drop")


def test_control_characters_are_counted(heard):
    clean(raw(["a\0b", "fine\tand\nfine", "c\x07"]))
    assert any("2 texts hold NUL" in warning for warning in heard.warnings)


def test_a_giant_text_is_cut_with_a_note(heard):
    rows = clean(raw(["ä" * 5_000_000 + "ö" * 5_000_000, "short"]), max_length=8)
    most = 50 * 8 * 8
    assert list(rows["text"]) == ["ä" * most + "ö" * most, "short"]  # truncation may begin at either end
    assert any("1 text of more than 6,400 characters" in note for note in heard.notes)


def test_rows_without_a_label_are_told_by_line():
    with pytest.raises(DataError, match=r"6 of 7 rows have no label .lines 3, 4, 5, 6, 7 and 1 more."):
        clean(raw(["x"] * 7, ["a", None, "", " ", None, float("nan"), None]))


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        (["pos", " neg "], ["pos", "neg"], "string"),
        (["NA", "null"], ["NA", "null"], "string"),
        (["0", "10", "2"], [0, 10, 2], "int64"),
        (["-1", "1"], [-1, 1], "int64"),
        ([0, 3], [0, 3], "int64"),
        (["1", "other"], ["1", "other"], "string"),
        (["01", "02", "10"], ["01", "02", "10"], "string"),
        (["0.0", "1.0"], [0, 1], "int64"),
        ([0.0, 1.0], [0, 1], "int64"),
        ([0, 1.0], [0, 1], "int64"),
        ([True, False], [1, 0], "int64"),
        (["True", "false"], [1, 0], "int64"),
    ],
)
def test_labels_become_integers_or_names(values, expected, kind):
    assert labels_of(values) == (expected, kind)


@pytest.mark.parametrize(
    ("values", "note"),
    [(["00", "01"], "begin with a zero"), ([1.0, 0.0], "written as decimals"), ([True, False], "read as 1 and 0")],
)
def test_what_is_changed_about_labels_is_noted(values, note, heard):
    labels_of(values)
    assert any(note in told for told in heard.notes)


@pytest.mark.parametrize("values", [[5.0, 3.8], [1, float("inf")]])
def test_scores_are_no_classes(values):
    with pytest.raises(DataError, match=r"line 3: .*labels must be classes.*problem_type regression"):
        labels_of(values, problem_type="single_label_classification")


@pytest.mark.parametrize("values", [["a", 1], [True, 1], [[0], 1], [{"a": 1}, {"a": 2}]])
def test_mixed_or_nested_labels_are_refused_with_a_line_each(values):
    with pytest.raises(DataError, match=r"one name or integer per row; found .*line 2"):
        labels_of(values)


def test_a_number_of_more_than_64_bits_is_no_class():
    with pytest.raises(DataError, match=r"64 bits"):
        labels_of([str(2**70), "1"])


def test_ids_that_stand_twice_are_refused():
    with pytest.raises(DataError, match=r"ids occur more than once: 7"):
        clean(raw(["x", "y", "z"], ids=["7", "8", "7"]))
    assert len(clean(raw(["x", "y"], ids=[7, 8]))) == 2


def test_places_count_rows_from_one_where_there_are_no_lines():
    table = RawTable("a.parquet", (pa.chunked_array([["x"]]),))
    assert name_rows(table, [0]) == "row 1"
    assert name_rows(table, list(range(8))) == "rows 1, 2, 3, 4, 5 and 3 more"
