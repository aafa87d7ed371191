from __future__ import annotations

import os
import time
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkd.data.sources import read_data, read_split, read_texts
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings

ROWS = {"text": ["fine", "dull", "good"], "label": ["pos", "neg", "pos"]}
CSV = "text,label\nfine,pos\ndull,neg\ngood,pos\n"


def read(source, split="train", **settings):
    return read_split(str(source), split, DataSettings(**settings))


def write(path: Path, content: str = CSV) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def as_columns(rows: datasets.Dataset) -> dict[str, list[object]]:
    return {column: list(rows[column]) for column in rows.column_names}


def test_every_file_format_gives_the_same_rows(tmp_path):
    write(tmp_path / "a.csv")
    write(tmp_path / "a.tsv", CSV.replace(",", "\t"))
    lines = [f'{{"text": "{t}", "label": "{y}"}}' for t, y in zip(*ROWS.values(), strict=True)]
    write(tmp_path / "a.jsonl", "\n".join(lines))
    write(tmp_path / "a.json", "\n".join(lines) + "\n")
    pq.write_table(pa.table({"more": [1, 2, 3], **ROWS}), tmp_path / "a.parquet")
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "saved")
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet", "saved"):
        assert as_columns(read(tmp_path / name)) == ROWS, name


def test_a_path_may_hold_spaces_and_letters_of_any_script(tmp_path):
    assert len(read(write(tmp_path / "mes données: été" / "критика 1.csv"))) == 3


def test_columns_that_are_not_needed_are_dropped(tmp_path):
    rows = read(write(tmp_path / "a.csv", "id,text,label,source\n1,x,a,web\n2,y,b,web\n"))
    assert rows.column_names == ["text", "label"]


def test_ids_that_repeat_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"ids occur more than once: 1"):
        read(write(tmp_path / "a.csv", "id,text,label\n1,x,a\n1,y,b\n"))


def test_only_the_header_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"0 rows"):
        read(write(tmp_path / "a.csv", "text,label\n"))


def test_pairs_are_read_from_chosen_columns(tmp_path):
    file = write(tmp_path / "a.tsv", '\ufeffQuality\t#1 ID\t#1 String\t#2 String\n1\t7\tsome "x" text\tother\n')
    rows = read(file, text_columns=["#1 String", "#2 String"], label_column="Quality")
    assert as_columns(rows) == {"text_a": ['some "x" text'], "text_b": ["other"], "label": [1]}


def test_a_missing_file_is_told_with_its_absolute_path_and_near_names(tmp_path, monkeypatch):
    write(tmp_path / "data" / "train.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"does not exist. Near it: train.csv") as error:
        read("data/trian.csv")
    assert str(tmp_path / "data" / "trian.csv") in str(error.value)
    with pytest.raises(DataError, match=r"Near it: train.csv"):
        read("data/train")  # the folder is there, so it is no hub name
    with pytest.raises(DataError, match=r"Neither does its folder"):
        read("elsewhere/deep/down/train.csv")
    with pytest.raises(DataError, match=r"hub name"):
        read("imdb")


def test_another_kind_of_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"ends in '.xlsx'"):
        read(write(tmp_path / "a.xlsx"))


def test_a_link_to_itself_is_told(tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv"):
        read(tmp_path / "a.csv")


def test_what_is_there_and_no_plain_file_is_told_for_what_it_is(tmp_path):
    (tmp_path / "a.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match=r"a\.csv is a broken link \(gone\.csv\)"):
        read(tmp_path / "a.csv")
    os.mkfifo(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"is a pipe, a socket or a device"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize("source", ["https://example.org/x.csv", "s3://bucket/x.csv", "hf://a/b", "file:///x.csv"])
def test_a_url_is_no_file_and_no_split(source):
    with pytest.raises(DataError, match=r"is a URL, which cannot be read"):
        read(source)


def test_a_file_has_no_splits_and_a_user_who_is_not_known_no_home(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv has no splits; leave out ':validation'"):
        read(f"{write(tmp_path / 'a.csv')}:validation")
    with pytest.raises(DataError, match=r"~nosuchuser/x\.csv does not exist"):
        read("~nosuchuser/x.csv")


def test_a_number_of_endless_digits_is_no_label(tmp_path):
    digits = "9" * 5000
    with pytest.raises(DataError, match=r"64 bits"):
        read(write(tmp_path / "a.csv", f"text,label\nx,1\ny,{digits}\n"))
    with pytest.raises(DataError, match=r"line 2: a number has too many digits"):
        read(write(tmp_path / "a.jsonl", f'{{"text": "x", "label": 1}}\n{{"text": "y", "label": {digits}}}\n'))


def test_a_file_without_permission_is_told(tmp_path):
    file = write(tmp_path / "a.csv")
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(DataError, match=r"Permission denied"):
        read(file)


def test_plain_text_has_no_labels(tmp_path):
    with pytest.raises(DataError, match=r"plain text, which has no labels"):
        read(write(tmp_path / "a.txt", "one\n"))


def test_plain_text_is_no_pair(tmp_path):
    with pytest.raises(DataError, match=r"pairs are expected"):
        read(write(tmp_path / "a.txt", "one\n"), "unlabelled", text_columns=["premise", "hypothesis"])


def test_unlabelled_sources_are_joined_without_their_labels(tmp_path, heard):
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.txt", "one\n\ntwo\n")
    data = read_data(DataSettings(unlabelled=[str(first), str(second)]))
    assert as_columns(data["unlabelled"]) == {"text": ["fine", "dull", "good", "one", "two"]}
    assert any("'label' is not used" in note for note in heard.notes)
    assert any("were dropped" in note for note in heard.notes)


def test_only_the_splits_that_are_wanted_and_given_are_read(tmp_path):
    file = str(write(tmp_path / "a.csv"))
    settings = DataSettings(train=file, eval=str(tmp_path / "missing.csv"))
    assert list(read_data(settings, splits=("train", "test"))) == ["train"]


def test_splits_must_all_be_pairs_or_all_single_texts(tmp_path):
    single = write(tmp_path / "a.csv")
    pair = write(tmp_path / "b.csv", "premise,hypothesis,label\nx,y,pos\n")
    with pytest.raises(DataError, match=r"pairs of texts, but .* single texts"):
        read_data(DataSettings(train=str(single), eval=str(pair)))
    with pytest.raises(DataError, match=r"pairs of texts, but .* single texts"):
        read_data(DataSettings(unlabelled=[str(single), str(pair)]))


def test_a_split_without_the_column_of_the_other_is_refused(tmp_path):
    train, dev = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", "text,mood\nx,pos\n")
    with pytest.raises(DataError, match=r"b.csv has no column 'label'"):
        read_data(DataSettings(train=str(train), eval=str(dev)))


def test_texts_to_classify_keep_their_order_and_number(tmp_path):
    file = write(tmp_path / "a.csv", "review,label\nx,0\n,1\ny,0\n")
    assert list(read_texts(str(file), DataSettings())) == ["x", "", "y"]
    pairs = write(tmp_path / "b.csv", "left,right\na,b\n")
    assert list(read_texts(str(pairs), DataSettings(text_columns=["left", "right"]))) == [("a", "b")]


def test_a_large_file_is_read_in_seconds(tmp_path):
    file = tmp_path / "a.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write("id,text,label\n")
        out.writelines(f'{row},"a text of some words, number {row}",{row % 2}\n' for row in range(200_000))
    began = time.monotonic()
    assert len(read(file)) == 200_000
    assert time.monotonic() - began < 15  # about one second on an idle core


GLUE = os.environ.get("PKD_GLUE", "")
needs_glue = pytest.mark.skipif(not GLUE, reason="PKD_GLUE names no folder of GLUE")


@needs_glue
def test_sst2_is_read_whole():
    rows = read(Path(GLUE) / "SST-2" / "train.tsv")
    assert (len(rows), rows["text"][0], set(rows["label"])) == (
        67_349,
        "hide new secretions from the parental units ",
        {0, 1},
    )


@needs_glue
def test_rte_is_read_whole():
    rows = read(Path(GLUE) / "RTE" / "train.tsv")
    assert (len(rows), rows.column_names) == (2490, ["text_a", "text_b", "label"])
    assert set(rows["label"]) == {"entailment", "not_entailment"}


@needs_glue
def test_mrpc_is_read_whole():
    columns = {"text_columns": ["#1 String", "#2 String"], "label_column": "Quality"}
    rows = read(Path(GLUE) / "MRPC" / "train.tsv", **columns)
    assert rows["text_a"][0].startswith('Amrozi accused his brother , whom he called " the witness "')
    assert (len(rows), sum(rows["label"])) == (3667, 2473)


@needs_glue
def test_cola_has_no_header_and_says_so():
    with pytest.raises(DataError, match=r"more than once|header looks like data"):
        read(Path(GLUE) / "CoLA" / "train.tsv")


@needs_glue
def test_stsb_has_scores():
    rows = read(Path(GLUE) / "STS-B" / "train.tsv", label_column="score")
    assert str(rows.features["label"].dtype) == "float64"
    assert (min(rows["label"]), max(rows["label"])) == (0.0, 5.0)
