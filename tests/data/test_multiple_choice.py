from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from conftest import make_tokenizer
from pkd.data.batching import Collator, TokenRows
from pkd.data.choices import Question, read_answer, right_choices
from pkd.data.examples import load_examples
from pkd.data.sources import read_split, read_texts
from pkd.data.tokenize import encode
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
        ({"options": ["a", "b", "c"]}, r"line 2: the question has 3 choices, but the first one has 2"),
        ({"options": "ab"}, r"line 2: 'options' must be a list"),
        ({"answer": "C"}, r"line 2: the answer is 'C'"),
    ):
        path = write(tmp_path / "a.jsonl", QUESTION, {**QUESTION, **change})
        with pytest.raises(DataError, match=message):
            load_examples(DataSettings(train=path), splits=("train",))


@pytest.mark.parametrize(("answer", "place"), [("A", 0), ("b", 1), (1, 1), ("0", 0), ("no", 1)])
def test_the_right_choice_is_a_letter_a_place_or_its_text(answer: Any, place: int) -> None:
    assert right_choices([read_answer(answer, ["yes", "no"], "here")], str) == [place]


def test_answers_are_read_in_one_way_over_a_whole_table() -> None:
    def right(*asked: tuple[Any, list[str]]) -> list[int | None]:
        return right_choices([read_answer(answer, choices, "here") for answer, choices in asked], "row {}".format)

    misleading = ("A", ["B", "A"])  # by its letter the first choice, by its text the second
    assert right(misleading, ("B", ["yes", "no"])) == [0, 1]
    assert right(misleading, ("it", ["it", "B"])) == [1, 0]
    assert right(("1", ["1", "2"]), ("4", ["3", "4"])) == [0, 1]
    assert right((1, ["2", "1", "0"]), (0, ["7", "8", "9"])) == [1, 0]
    for asked in ([misleading], [("no", ["yes", "no"]), ("B", ["yes", "no"]), misleading]):
        with pytest.raises(
            DataError, match=rf"row {len(asked) - 1}: the answer .* letter choice A, by its text choice B"
        ):
            right(*asked)
    for answer in ("2", 2):  # a CSV file and JSON lines mean the same
        with pytest.raises(DataError, match="by its position choice C, by its text choice A"):
            right((answer, ["2", "1", "0"]))


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
    letters = {"article": "x", "questions": ["q _"], "options": [["B", "A", "C", "D"]], "answers": ["A"]}
    (tmp_path / "train" / "high" / "1.txt").write_text(json.dumps(letters))
    rows = load_examples(DataSettings(train=str(tmp_path / "train")), splits=("train",)).splits["train"]
    assert rows["label"][0] == 0
    (tmp_path / "train" / "high" / "1.txt").write_text(json.dumps(letters | {"answers": ["0"]}))
    with pytest.raises(DataError, match=r"1.txt: the answer is '0'; give the letter"):
        read_split(str(tmp_path / "train"), "train", DataSettings())
    (tmp_path / "train" / "high" / "1.txt").write_text('{"article": "x"}')
    with pytest.raises(DataError, match=r"1.txt is no RACE article"):
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


def test_choices_may_stand_in_columns_of_their_own_in_every_format(tmp_path: Path) -> None:
    records = [
        {"context": "It rains.", "question": "He takes _ .", "option_b": "a hat", "option_a": "an umbrella", "answer": "B"},
        {"context": "It snows.", "question": "He takes _ .", "option_b": "a sledge", "option_a": "a boat", "answer": "A"},
    ]  # fmt: skip
    whole = datasets.Dataset.from_list(records)
    whole.to_parquet(str(tmp_path / "asked.parquet"))
    whole.to_csv(str(tmp_path / "asked.csv"), index=False)
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for name in ("asked.parquet", "asked.csv", "asked.jsonl"):
        rows = read_split(str(tmp_path / name), "train", DataSettings())
        assert rows[0] == {"text_a": "It rains.", "choice_0": "He takes an umbrella .", "choice_1": "He takes a hat .", "label": 1}  # fmt: skip
        assert rows[1]["label"] == 0


@pytest.mark.parametrize("names", ["ABCD", "0123", "1234", "xzyu"])
def test_a_class_as_the_answer_is_its_letter_or_its_number_or_a_text(names: str, tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "choices": datasets.List(datasets.Value("string")),
            "label": datasets.ClassLabel(names=list(names)),
        }
    )
    rows = {"question": ["q?"] * 4, "choices": [list("xyzu")] * 4, "label": [0, 1, 2, 3]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "asked")
    read = read_split(str(tmp_path / "asked"), "train", DataSettings())
    assert list(read["label"]) == ([0, 2, 1, 3] if names == "xzyu" else [0, 1, 2, 3])


def test_rows_that_were_read_once_can_be_saved_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "asked.jsonl").write_text(
        '{"article": "It rains.", "question": "Who?", "options": ["he", "she"], "answer": "B", "example_id": "high1.txt"}\n'
        '{"article": "It snows.", "question": "Who?", "options": ["he", "she"], "answer": "A", "example_id": "middle2.txt"}\n'
    )
    rows = read_split(str(tmp_path / "asked.jsonl"), "train", DataSettings())
    rows.save_to_disk(tmp_path / "saved")
    again = read_split(str(tmp_path / "saved"), "train", DataSettings())
    assert again.to_list() == rows.to_list()
    assert again[0]["choice_1"] == "Who? she"
    assert list(again["group"]) == ["high", "middle"]


@pytest.mark.parametrize("choices", ['["he", "she"]', "['he', 'she']", "['he' 'she']", '["he", null]', "[1, 2]"])
def test_a_field_may_hold_a_list_of_choices_as_json_and_pandas_write_one(choices: str, tmp_path: Path) -> None:
    with (tmp_path / "asked.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "choices", "answer"), ("Who?", choices, "A"), ("Who?", choices, "B")])
    rows = read_split(str(tmp_path / "asked.csv"), "train", DataSettings(on_empty="keep"))
    assert [rows[0]["choice_0"], rows[0]["choice_1"] or None] in (["he", "she"], ["he", None], ["1", "2"])
    assert list(rows["label"]) == [0, 1]


@pytest.mark.parametrize("choices", ["he|she", '["he"]', "[]", "{}", "he"])
def test_a_field_that_is_no_list_of_choices_is_told_with_its_line(choices: str, tmp_path: Path) -> None:
    with (tmp_path / "asked.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "choices", "answer"), ("Who?", choices, "A")])
    with pytest.raises(DataError, match=r"line 2: 'choices' must hold a list .* one column per choice .choice_0"):
        read_split(str(tmp_path / "asked.csv"), "train", DataSettings())


ARC = {"text": ["rain", "sun", "snow"], "label": ["1", "2", "3"]}


def test_choices_with_labels_are_answered_by_their_label(tmp_path: Path) -> None:
    records = [
        {"id": "a", "question": "What falls?", "choices": ARC, "answerKey": "3"},
        {"id": "b", "question": "What falls?", "choices": {**ARC, "label": ["C", "B", "A"]}, "answerKey": "A"},
    ]
    datasets.Dataset.from_list(records).to_parquet(str(tmp_path / "asked.parquet"))
    for path in (write(tmp_path / "asked.jsonl", *records), str(tmp_path / "asked.parquet")):
        rows = read_split(path, "train", DataSettings())
        assert rows.column_names == ["text_a", "choice_0", "choice_1", "choice_2", "label"]
        assert list(rows["label"]) == [2, 2]
        assert rows[0]["choice_1"] == "sun"


def test_what_is_no_list_of_choices_is_told_in_typed_tables_too(tmp_path: Path) -> None:
    for choices in (["only"], None, {"text": ["a", "b"], "label": ["A"]}):
        records = [{"question": "q", "choices": choices, "answer": "A"}]
        datasets.Dataset.from_list(records).to_parquet(str(tmp_path / "asked.parquet"))
        with pytest.raises(DataError, match="row 1: 'choices' must be a list of two or more choices"):
            read_split(str(tmp_path / "asked.parquet"), "train", DataSettings())


def test_articles_of_race_may_stand_in_json_lines(tmp_path: Path) -> None:
    article = {"id": "high1.txt", "article": "It rains.", "questions": ["Who _ ?", "Why?"],
               "options": [["he", "she"], ["so", "no"]], "answers": ["B", "A"]}  # fmt: skip
    other = {**article, "id": "middle1.txt", "article": "It snows."}
    rows = read_split(write(tmp_path / "a.jsonl", article, other), "train", DataSettings())
    assert list(rows["label"]) == [1, 0, 1, 0]
    assert list(rows["group"]) == ["high", "high", "middle", "middle"]
    assert rows[2]["text_a"] == "It snows."
    assert rows[3]["choice_1"] == "Why? no"
    write(tmp_path / "1.txt", article)
    asked = list(read_texts(str(tmp_path / "1.txt"), DataSettings(problem_type="multiple_choice")))
    assert asked == [Question("Who _ ?", ("he", "she"), "It rains."), Question("Why?", ("so", "no"), "It rains.")]


def test_questions_to_be_answered_are_read_as_they_stand_with_as_many_choices_as_each_has(tmp_path: Path) -> None:
    records = [
        {"question": "who _ ?", "choices": ["he", "she"], "context": "It rains.", "answer": "A", "id": 1},
        {"question": "why?", "choices": ["so", "no", None], "context": None, "answer": "B", "id": 1},
    ]
    asked = [Question("who _ ?", ("he", "she"), "It rains."), Question("why?", ("so", "no", ""), "")]
    path = write(tmp_path / "asked.jsonl", *records)
    assert list(read_texts(path, DataSettings())) == asked
    datasets.Dataset.from_list(records).to_parquet(str(tmp_path / "asked.parquet"))
    assert list(read_texts(str(tmp_path / "asked.parquet"), DataSettings())) == asked
    with pytest.raises(DataError, match="line 2: the question has 3 choices, but the first one has 2"):
        read_split(path, "train", DataSettings())
    one = {"question": "who?", "option_a": "he", "option_b": "she"}
    assert list(read_texts(write(tmp_path / "b.jsonl", one), DataSettings())) == [Question("who?", ("he", "she"))]
