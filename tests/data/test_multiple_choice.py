from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from conftest import make_tokenizer
from pkd.data.batching import Collator, TokenRows
from pkd.data.encoding import encode
from pkd.data.examples import load_examples
from pkd.data.tables import right_choice
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings

QUESTION = {"article": "the film was good", "question": "the plot was _", "options": ["bad", "good"], "answer": "B"}


def write(path: Path, *records: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_json_lines_of_questions_become_a_context_and_choices(tmp_path: Path) -> None:
    other = {"article": "a dull film", "question": "is it fine", "options": ["fine", "dull"], "answer": 0}
    examples = load_examples(DataSettings(train=write(tmp_path / "a.jsonl", QUESTION, other)), splits=("train",))
    assert examples.problem_type == "multiple_choice"
    assert examples.label_names == ("A", "B")
    assert examples.splits["train"][:] == {
        "text_a": ["the film was good", "a dull film"],
        "choice_0": ["the plot was bad", "is it fine fine"],
        "choice_1": ["the plot was good", "is it fine dull"],
        "label": [1, 0],
    }


def test_a_question_without_a_context_stands_before_its_choices(tmp_path: Path) -> None:
    record = {"question": "who", "choices": ["she", "he", "they"], "answer": "he"}
    examples = load_examples(DataSettings(train=write(tmp_path / "a.jsonl", record, record)), splits=("train",))
    row = examples.splits["train"][0]
    assert row == {"text_a": "who", "choice_0": "she", "choice_1": "he", "choice_2": "they", "label": 1}


def test_faults_are_told_with_their_line(tmp_path: Path) -> None:
    for change, message in (
        ({"options": ["a", "b", "c"]}, r"line 2: the question has 3 choices, the first one 2"),
        ({"options": "ab"}, r"line 2: 'options' must be a list"),
        ({"answer": "C"}, r"line 2: the answer is 'C'"),
    ):
        path = write(tmp_path / "a.jsonl", QUESTION, {**QUESTION, **change})
        with pytest.raises(DataError, match=message):
            load_examples(DataSettings(train=path), splits=("train",))


@pytest.mark.parametrize(("answer", "place"), [("A", 0), ("b", 1), (1, 1), ("0", 0), ("no", 1)])
def test_the_right_choice_is_a_letter_a_place_or_its_text(answer: Any, place: int) -> None:
    assert right_choice(answer, ["yes", "no"], "here") == place


def test_race_folders_are_read_by_school(tmp_path: Path) -> None:
    for group, count in (("middle", 1), ("high", 2)):
        folder = tmp_path / "train" / group
        folder.mkdir(parents=True)
        article = {
            "article": "text",
            "questions": ["q _"] * count,
            "options": [["a", "b", "c", "d"]] * count,
            "answers": ["C"] * count,
        }
        (folder / "1.txt").write_text(json.dumps(article))
    rows = load_examples(DataSettings(train=str(tmp_path / "train")), splits=("train",)).splits["train"]
    assert rows["group"][:] == ["high", "high", "middle"]
    assert set(rows["label"]) == {2}
    (tmp_path / "train" / "high" / "1.txt").write_text('{"article": "x"}')
    with pytest.raises(DataError, match=r"1.txt is no article of RACE"):
        load_examples(DataSettings(train=str(tmp_path / "train")), splits=("train",))


def test_a_batch_has_a_sequence_a_choice() -> None:
    rows = datasets.Dataset.from_dict(
        {
            "text_a": ["the film", "a"],
            "choice_0": ["good", "bad"],
            "choice_1": ["very bad end", "fine"],
            "label": [0, 1],
        }
    )
    encoded = encode(rows, make_tokenizer(), 16)
    batch = Collator(0)(TokenRows(encoded).__getitems__([1, 0]))
    assert batch["input_ids"].shape == (2, 2, 8)
    assert batch["attention_mask"].sum(dim=2).tolist() == [[5, 5], [6, 8]]
    assert batch["labels"].tolist() == [1, 0]
    alone = make_tokenizer()("the film", "very bad end")
    assert batch["input_ids"][1, 1].tolist() == alone["input_ids"]
    assert batch["token_type_ids"][1, 1].tolist() == alone["token_type_ids"]
    assert encoded["length"][:] == [8, 5]
