from __future__ import annotations

import datasets
import pytest

from pkd.data.sources import read_split
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings


def read(source, split="train"):
    return read_split(str(source), split, DataSettings())


def test_names_of_a_class_label_feature_are_used_not_its_numbers(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).save_to_disk(tmp_path / "d")
    assert list(read(tmp_path / "d")["label"]) == ["neg", "pos"]


def test_names_of_the_classes_of_a_set_of_labels_are_used(tmp_path):
    classes = datasets.List(datasets.ClassLabel(names=["joy", "anger", "fear"]))
    features = datasets.Features({"text": datasets.Value("string"), "labels": classes})
    rows = {"text": ["a", "b", "c"], "labels": [[0, 2], [], [1]]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "d")
    assert list(read(tmp_path / "d")["label"]) == [["fear", "joy"], [], ["anger"]]


def test_hidden_labels_of_a_class_label_feature_are_refused(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    rows = {"text": ["a", "b"], "label": [-1, -1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match=r"hidden labels \(-1\)"):
        read(tmp_path / "d", "test")


def test_a_saved_folder_of_splits_gives_the_split_that_is_meant(tmp_path):
    parts = {name: datasets.Dataset.from_dict({"text": [name], "label": ["x"]}) for name in ("train", "dev", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    assert [read(tmp_path / "d", split)["text"][0] for split in ("train", "eval", "test")] == ["train", "dev", "test"]
    assert read(f"{tmp_path / 'd'}:test", "eval")["text"][0] == "test"
    with pytest.raises(DataError, match=r"no split 'gold'; its splits: train, dev, test"):
        read(f"{tmp_path / 'd'}:gold", "eval")


def test_rows_of_a_saved_dataset_keep_their_order_after_a_selection(tmp_path):
    datasets.Dataset.from_dict({"text": ["fine", "dull", "good"], "label": ["pos", "neg", "pos"]}).select(
        [2, 0]
    ).save_to_disk(tmp_path / "d")
    assert list(read(tmp_path / "d")["text"]) == ["good", "fine"]


def test_a_folder_that_is_no_dataset_names_the_files_in_it(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,label\nfine,pos\n")
    with pytest.raises(DataError, match=r"is a folder.*train.csv"):
        read(tmp_path / "data")


def test_a_damaged_dataset_folder_is_told(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot be loaded as a saved dataset"):
        read(tmp_path / "d")


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    (tmp_path / "a.parquet").write_text("text,label\nfine,pos\n")
    with pytest.raises(DataError, match=r"cannot be read as Parquet"):
        read(tmp_path / "a.parquet")


def test_a_hub_name_that_cannot_be_loaded_is_told_in_one_line():
    with pytest.raises(DataError, match=r"neither a file or folder here") as error:
        read("no-such-owner-at-all/no-such-dataset:train[:5]")
    assert "\n" not in str(error.value)
