from __future__ import annotations

import datasets

from pkd.data.check_splits import SplitCheck, check_splits


def rows(labels, texts=None):
    return datasets.Dataset.from_dict({"text": texts or [f"text {i}" for i in range(len(labels))], "label": labels})


def data_of(**splits):
    return datasets.DatasetDict(splits)


def test_clean_splits_have_nothing_odd():
    parts = [rows([0, 1], [f"{name} 1", f"{name} 2"]) for name in ("a", "b", "c")]
    assert check_splits(data_of(train=parts[0], eval=parts[1], test=parts[2])) == SplitCheck()


def test_a_text_with_two_labels_is_counted():
    found = check_splits(data_of(train=rows([0, 1, 1, 1], ["same", "same ", "other", "other"]))).warnings
    assert found == ["train: 1 text occurs with different labels (2 rows)."]


def test_rows_of_one_split_that_are_in_another_are_counted():
    train, dev = rows([0, 1, 0], ["a", "b", "c"]), rows([0, 1], ["a", "d"])
    test, more = rows([0, 1], ["d", "b"]), rows([0], ["d"]).remove_columns("label")
    checked = check_splits(data_of(train=train, eval=dev, test=test, unlabelled=more))
    assert checked.shared == {
        "test": {"train": 1, "eval": 1, "unlabelled": 1},
        "eval": {"train": 1, "unlabelled": 1},
    }
    assert [sentence.split(" too")[0] for sentence in checked.warnings[1:]] == [
        "1 of 2 test rows (50.0%) are in train",
        "1 of 2 test rows (50.0%) are in eval",
        "1 of 2 test rows (50.0%) are in unlabelled",
        "1 of 2 eval rows (50.0%) are in train",
        "1 of 2 eval rows (50.0%) are in unlabelled",
    ]
    assert checked.warnings[0].startswith("unlabelled has only 1 row")


def test_a_pair_is_the_same_only_if_both_texts_are():
    train = datasets.Dataset.from_dict({"text_a": ["x", "y"], "text_b": ["1", "2"], "label": [0, 1]})
    dev = datasets.Dataset.from_dict({"text_a": ["x", "y"], "text_b": ["2", "2"], "label": [0, 1]})
    assert [sentence[:6] for sentence in check_splits(data_of(train=train, eval=dev)).warnings] == ["1 of 2"]
