"""`pkd.load_data`: what is wanted is said before anything is read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest

import pkd
from pkd.data.examples import repeated


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing to read"),
        ({"foo": 1}, "load_data takes no foo; keys there are"),
        ({"train": "a.csv", "lable_column": "y"}, "did you mean label_column?"),
        ({"train": "a.csv", "max_length": 1}, "max_length is 1; it must be above 2"),
        ({"train": datasets.Dataset.from_dict({"text": ["a"]})}, "train is of type Dataset; give the name of a file"),
        ({"train": "a.csv", "teacher": "folder"}, "teacher is 'folder'; give the classifier itself"),
    ],
)
def test_what_cannot_be_read_is_told(given: dict[str, Any], words: str) -> None:
    with pytest.raises(pkd.RecipeError) as caught:
        pkd.load_data(**given)
    assert words in str(caught.value)


def test_the_teacher_is_taken_as_it_was_loaded_with_its_tokenizer_or_without(workspace: Path) -> None:
    loaded = pkd.load_teacher(str(workspace / "teacher"))
    for teacher in (loaded, loaded.model):
        rows = pkd.load_data(eval=workspace / "dev.csv", text_columns="text", teacher=teacher)["eval"]
        assert set(rows["label"]) == {0, 1}


def test_unlabelled_text_alone_is_the_split_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("a film\n\nanother film\n")
    (tmp_path / "more.csv").write_text("id,text,label\n1,a plot,x\n1,another plot,y\n")
    both = pkd.load_data(unlabelled=[tmp_path / "more.txt", tmp_path / "more.csv"])
    assert {split: rows[:] for split, rows in both.items()} == {
        "unlabelled": {"text": ["a film", "another film", "a plot", "another plot"]}
    }
    assert list(pkd.load_data(unlabelled=tmp_path / "more.txt")["unlabelled"]["text"]) == ["a film", "another film"]
    (tmp_path / "asked.jsonl").write_text('{"question": "who _ ?", "choices": ["he", "she"]}\n')
    asked = pkd.load_data(unlabelled=tmp_path / "asked.jsonl", problem_type="multiple_choice")["unlabelled"]
    assert asked.column_names == ["text_a", "choice_0", "choice_1"]


@pytest.mark.parametrize("count", [7, 10, 23])
def test_repeated_rows_come_equally_often_and_the_seed_says_which_come_once_more(count: int) -> None:
    rows = datasets.Dataset.from_dict({"text": [str(number) for number in range(10)]})
    times = Counter(repeated(rows, count, seed=1)["text"])
    assert times.total() == count
    assert set(times.values()) <= {count // 10, -(-count // 10)}
    assert Counter(repeated(rows, 23, seed=1)["text"]) != Counter(repeated(rows, 23, seed=2)["text"])
