from __future__ import annotations

from functools import partial

import pytest

from pkd.data.delimited import read_delimited, read_lines
from pkd.data.find_columns import find_columns
from pkd.data.json_lines import read_json_lines
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings

choose = partial(find_columns, settings=DataSettings(), source="file")


def delimited(path, content, sep=None, quotes="auto"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (table,) = read_delimited(path, choose, sep=sep, encoding="utf-8", quotes=quotes)
    return table


def json_lines(path, content):
    path.write_text(content, encoding="utf-8")
    (table,) = read_json_lines(path, choose, encoding="utf-8")
    return table


def texts(raw):
    return raw.texts[0].to_pylist()


def test_rows_know_the_line_they_begin_on(tmp_path):
    raw = delimited(tmp_path / "a.csv", 'text,label\n"two\nlines",a\r\n\nplain,b\n')
    assert texts(raw) == ["two\nlines", "plain"]
    assert raw.lines is not None
    assert raw.lines.tolist() == [2, 5]
    assert raw.labels == ["a", "b"]


def test_texts_that_other_readers_take_for_nothing_are_texts(tmp_path):
    assert texts(delimited(tmp_path / "a.csv", "text,label\nNA,0\nnull,1\nnan,0\nNone,1\n")) == [
        "NA",
        "null",
        "nan",
        "None",
    ]


def test_a_byte_order_mark_does_not_hide_the_first_column(tmp_path):
    assert texts(delimited(tmp_path / "a.csv", "\ufefftext,label\nx,0\n")) == ["x"]


def test_spaces_around_column_names_are_taken_away_with_a_warning(tmp_path, heard):
    assert texts(delimited(tmp_path / "a.csv", "text, label \nx,0\n")) == ["x"]
    assert any("spaces around column names" in warning for warning in heard.warnings)


def test_an_index_column_without_a_name_is_left_out_with_a_note(tmp_path, heard):
    raw = delimited(tmp_path / "a.csv", ",text,label\n0,x,a\n1,y,b\n")
    assert texts(raw) == ["x", "y"]
    assert any("without a name" in note for note in heard.notes)


@pytest.mark.parametrize(
    ("separator", "flag"),
    [(mark, f"Use sep={mark!r}.") for mark in ";\t|^·:~#"],
)
def test_another_separator_is_guessed_and_its_flag_told(tmp_path, separator, flag):
    content = f"text{separator}label\nx{separator}0\n"
    with pytest.raises(DataError, match=r"only one column") as error:
        delimited(tmp_path / "a.csv", content)
    assert flag in str(error.value)
    assert texts(delimited(tmp_path / "a.csv", content, sep=separator)) == ["x"]


def test_the_separator_can_be_written_as_an_escape(tmp_path):
    assert texts(delimited(tmp_path / "a.csv", "text\tlabel\nx\t0\n", sep="\\t")) == ["x"]
    with pytest.raises(RecipeError, match=r"give one character"):
        delimited(tmp_path / "a.csv", "text,label\n", sep="::")


@pytest.mark.parametrize("mark", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
def test_a_first_line_that_names_the_separator_is_no_row(tmp_path, heard, mark):
    raw = delimited(tmp_path / "a.csv", f'{mark}\r\ntext;label\r\na, b;0\r\n"c\nd";1\r\n')
    assert texts(raw) == ["a, b", "c\nd"]
    assert raw.lines is not None
    assert raw.lines.tolist() == [3, 4]
    assert any("the first line names the separator" in note for note in heard.notes)


def test_a_separator_that_is_asked_for_wins_over_the_first_line(tmp_path):
    assert texts(delimited(tmp_path / "a.csv", "sep=;\ntext,label\na;b,0\n", sep=",")) == ["a;b"]
    assert texts(delimited(tmp_path / "a.csv", "sep=\t\ntext\tlabel\na\t0\n")) == ["a"]
    with pytest.raises(DataError, match=r"line 3: 1 of 2 fields"):
        delimited(tmp_path / "a.csv", "sep=,\ntext,label\na\n")


def test_a_row_that_ends_in_a_carriage_return_among_others_is_told(tmp_path, heard):
    assert texts(delimited(tmp_path / "a.csv", "text,label\nroses,0\rcompost,1\n")) == ["roses", "compost"]
    assert any("row of line 2 ends in a carriage return alone" in warning for warning in heard.warnings)
    with pytest.raises(DataError, match=r"line 2: 1 of 2 fields.* line 2 ends in a carriage return alone"):
        delimited(tmp_path / "a.csv", "text,label\nroses\rand compost,0\n")
    assert texts(delimited(tmp_path / "a.csv", 'text,label\n"roses\rand compost",0\n')) == ["roses\rand compost"]


def test_a_file_whose_lines_all_end_in_carriage_returns_is_read_without_a_word(tmp_path, heard):
    assert texts(delimited(tmp_path / "a.csv", "text,label\ra,0\rb,1\r")) == ["a", "b"]
    assert not heard.warnings


def test_a_column_named_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"'text' more than once"):
        delimited(tmp_path / "a.csv", "text,text,label\nx,y,0\n")


def test_rows_of_another_length_are_told_with_line_and_fields(tmp_path):
    with pytest.raises(DataError, match=r"line 3: 1 of 2 fields, line 4: 3 of 2 fields"):
        delimited(tmp_path / "a.csv", "text,label\nx,0\nonly text\na,b,1\n")


def test_of_many_uneven_rows_five_are_shown(tmp_path):
    with pytest.raises(DataError, match=r"line 6: 1 of 2 fields, and 4 more rows"):
        delimited(tmp_path / "a.csv", "text,label\n" + "x\n" * 9)


def test_a_quote_that_is_never_closed_is_told_with_the_line_it_opens_on(tmp_path):
    with pytest.raises(DataError, match=r"line 3: a quote .* is never closed"):
        delimited(tmp_path / "a.csv", 'text,label\nx,0\n"y,1\nz,0\nw,1\n')


def test_text_behind_a_closing_quote_is_told_with_its_lines(tmp_path):
    with pytest.raises(DataError, match=r"lines 2 to 3"):
        delimited(tmp_path / "a.csv", 'text,label\n"y,1\n"z",0\n')


def test_in_a_tsv_file_a_quote_is_text(tmp_path):
    raw = delimited(tmp_path / "a.tsv", 'text\tlabel\n"never closed\t0\nb "c" \t1\n')
    assert texts(raw) == ['"never closed', 'b "c" ']


AS_CSV = "quotes='csv' reads them as CSV does"


def test_quotes_of_a_tsv_file_that_look_like_csvs_are_told_and_read_so_if_asked(tmp_path, heard):
    content = 'text\tlabel\n"he said ""yes"" and left"\t0\nplain\t1\n'
    assert texts(delimited(tmp_path / "a.tsv", content)) == ['"he said ""yes"" and left"', "plain"]
    assert any("such as those in line 2 look like CSV quoting" in told and AS_CSV in told for told in heard.warnings)
    assert texts(delimited(tmp_path / "a.tsv", content, quotes="csv")) == ['he said "yes" and left', "plain"]


@pytest.mark.parametrize(
    "content",
    [
        '"text"\t"label"\n"plain"\t"0"\n',  # the names of columns are not found with quotes around them
        'text\tlabel\n"a\ttab"\t0\n',
        'text\tlabel\n"two\nlines"\t0\n',
    ],
)
def test_quotes_without_which_a_tsv_file_cannot_be_read_are_told_and_read_so_if_asked(tmp_path, content):
    with pytest.raises(DataError, match=AS_CSV):
        delimited(tmp_path / "a.tsv", content)
    assert len(texts(delimited(tmp_path / "a.tsv", content, quotes="csv"))) == 1


@pytest.mark.parametrize("field", ['"never closed', '"quoted" at first', '"all of a text"', 'b "c"', '"" and more'])
def test_quotes_that_belong_to_the_texts_of_a_tsv_file_are_left_without_a_word(tmp_path, heard, field):
    assert texts(delimited(tmp_path / "a.tsv", f"text\tlabel\n{field}\t0\nplain\t1\n"))[0] == field
    assert not heard.warnings


def test_quotes_can_be_text_in_a_csv_file_too(tmp_path):
    content = 'text,label\n"never closed,0\n'
    with pytest.raises(DataError, match="quotes='text'"):
        delimited(tmp_path / "a.csv", content)
    assert texts(delimited(tmp_path / "a.csv", content, quotes="text")) == ['"never closed']


def test_utf_16_without_a_mark_is_recognised(tmp_path):
    with pytest.raises(DataError, match="encoding='utf-16'"):
        delimited(tmp_path / "a.csv", "text,label\nx,0\n".encode("utf-16-le"))


@pytest.mark.parametrize("content", ["", "\n\n", "  \n"])
def test_an_empty_file_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"0 rows"):
        delimited(tmp_path / "a.csv", content)


def test_a_field_may_be_longer_than_the_csv_modules_own_limit(tmp_path):
    assert len(texts(delimited(tmp_path / "a.csv", "text,label\n" + "x" * 1_000_000 + ",0\n"))[0]) == 1_000_000


def test_rows_beyond_a_chunk_stay_in_order(tmp_path):
    raw = delimited(tmp_path / "a.csv", "text,label\n" + "".join(f"t{row},{row}\n" for row in range(25_000)))
    assert texts(raw) == [f"t{row}" for row in range(25_000)]
    assert raw.texts[0].num_chunks == 3


def test_json_lines_keep_types_of_labels_and_skip_blank_lines(tmp_path):
    raw = json_lines(tmp_path / "a.jsonl", '{"text": "x", "label": 1}\n\n{"label": 0, "text": 12, "more": []}\n')
    assert (texts(raw), raw.labels) == (["x", "12"], [1, 0])
    assert raw.lines is not None
    assert raw.lines.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("second", "match"),
    [
        ('{"text": "x"', "line 2, column"),
        ('["x", 0]', "line 2: expected a JSON object"),
        ('{"text": "x"}', "line 2: the object has no key 'label'"),
        ('{"text": ["x"], "label": 0}', "line 2: 'text' is a list"),
        ('{"text": "\\ud83d", "label": 0}', "line 2: 'text' holds .*d83d"),
    ],
)
def test_a_wrong_json_line_is_told_with_file_and_line(tmp_path, second, match):
    with pytest.raises(DataError, match=match) as error:
        json_lines(tmp_path / "a.jsonl", '{"text": "x", "label": 0}\n' + second + "\n")
    assert "a.jsonl" in str(error.value)


def test_not_a_number_is_a_null_in_a_text_and_in_a_label(tmp_path):
    raw = json_lines(tmp_path / "a.jsonl", '{"text": NaN, "label": 1}\n{"text": null, "label": NaN}\n')
    assert (texts(raw), raw.labels) == ([None, None], [1, None])
    raw = json_lines(tmp_path / "a.jsonl", '{"text": Infinity, "label": 1}\n{"text": "nan", "label": -Infinity}\n')
    assert (texts(raw), raw.labels) == ([None, "nan"], [1, float("-inf")])


def test_an_empty_json_lines_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"0 rows"):
        json_lines(tmp_path / "a.jsonl", "\n")


def test_a_plain_file_has_one_text_a_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\n\r\ntwo, three")
    (raw,) = read_lines(tmp_path / "a.txt", encoding="utf-8")
    assert texts(raw) == ["one", "", "two, three"]
    assert raw.labels is None


@pytest.mark.parametrize("inside", ["\r", "\f", "\v", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_feed_alone_ends_a_line(tmp_path, inside):
    (tmp_path / "a.txt").write_bytes(f"one{inside}more\r\ntwo\n".encode())
    (raw,) = read_lines(tmp_path / "a.txt", encoding="utf-8")
    assert texts(raw) == [f"one{inside}more", "two"]


def test_carriage_returns_end_lines_where_there_is_no_line_feed(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\rtwo\r")
    (raw,) = read_lines(tmp_path / "a.txt", encoding="utf-8")
    assert texts(raw) == ["one", "", "two"]


def test_lines_of_json_are_texts_with_a_warning(tmp_path, heard):
    (tmp_path / "a.txt").write_text('{"text": "one"}\n')
    (raw,) = read_lines(tmp_path / "a.txt", encoding="utf-8")
    assert texts(raw) == ['{"text": "one"}']
    assert any("the first line is JSON" in told and ".jsonl" in told for told in heard.warnings)
