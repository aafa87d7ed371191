"""`pkd.load_data`: what is wanted is said before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

import pkd


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing to read"),
        ({"foo": 1}, "load_data takes no foo; keys there are"),
        ({"train": "a.csv", "lable_column": "y"}, "did you mean label_column?"),
        ({"train": "a.csv", "max_length": 1}, "max_length is 1; it must be above 2"),
        ({"train": datasets.Dataset.from_dict({"text": ["a"]})}, "train is a Dataset; give the name of a file"),
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
