"""JSON that is not one object per line is recognised, and the command in the message converts it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pkd
from pkd.data.json_shapes import rows_of
from pkd.data.sources import read_split
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings

ROWS = [{"text": f"a {word} film", "label": label} for word, label in (("good", "x"), ("bad", "y"), ("fine", "x"))]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("text", "label")}


def numbered(values: list[Any]) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(values)}


SHAPES = {
    "an array": json.dumps(ROWS),
    "an array over lines": json.dumps(ROWS, indent=2),
    "an array of an object a line": "[" + ",\n".join(map(json.dumps, ROWS)) + "]",
    "an array a line": "\n".join(json.dumps([row]) for row in ROWS),
    "arrays whose first has the names": json.dumps([["text", "label"], *(list(row.values()) for row in ROWS)]),
    "a row of fields a line": "\n".join(map(json.dumps, [["text", "label"], *(list(row.values()) for row in ROWS)])),
    "rows under a key": json.dumps({"version": "1", "data": ROWS}),
    "rows under a key over lines": json.dumps({"examples": ROWS}, indent=1),
    "rows as the hub's viewer gives them": json.dumps({"rows": [{"row_idx": 0, "row": row} for row in ROWS]}),
    "pandas: columns": json.dumps({name: numbered(values) for name, values in COLUMNS.items()}),
    "pandas: index": json.dumps(numbered(ROWS)),
    "pandas: split": json.dumps({"columns": ["text", "label"], "index": [0, 1, 2],
                                 "data": [list(row.values()) for row in ROWS]}),
    "pandas: table": json.dumps({"schema": {"fields": []}, "data": ROWS}),
    "a list a column": json.dumps(COLUMNS),
    "objects over lines": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "objects on one line": "".join(map(json.dumps, ROWS)),
    "commas behind lines": ",\n".join(map(json.dumps, ROWS)) + ",\n",
    "Python's dictionaries": "\n".join(map(str, ROWS)),
    "a list of Python's dictionaries": str(ROWS),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_command_of_the_message_makes_a_file_that_is_read(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "some rows.json"
    path.write_text(SHAPES[shape])
    with pytest.raises(DataError, match=r"some rows\.json.*one object per line") as error:
        read_split(str(path), "train", DataSettings())
    command = shlex.split(str(error.value).split("`")[1].replace("python ", f"{sys.executable} ", 1))
    assert command[-2:] == [">", "rows.jsonl"]
    made = subprocess.run(command[:-2], capture_output=True, check=True, timeout=60).stdout
    (tmp_path / "rows.jsonl").write_bytes(made)
    rows = read_split(str(tmp_path / "rows.jsonl"), "train", DataSettings())
    assert rows[:] == COLUMNS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "a", "label": "x"}\n{"text": \n', r"line 2, column 1: this is no JSON .* as \{\"text\""),
        ('{"bulk": "a", "label": "x"}\n{"bulk": "b", "label": "y"}\n', "no column with a usual name for the text"),
        ('{"text": "a", "label": "x", "spans": [{"at": 1}]}\n{"text": ["b"], "label": "y"}\n', "line 2: 'text' is a l"),
        ("text,label\na,x\n", r"line 1, column 1: this is no JSON .* Is it CSV or TSV\? Then its name must end in"),
        ("[[1, 2], [3, 4]]", r"expected a JSON object, found a list\. Give one object per line, such as"),
        ("7", r"expected a JSON object, found a int\. Is it CSV"),
    ],
)
def test_what_is_of_no_such_shape_is_told_as_it_was(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(DataError, match=words) as error:
        read_split(str(tmp_path / "a.jsonl"), "train", DataSettings())
    assert "json_shapes" not in str(error.value)


def test_a_row_that_holds_objects_beside_its_text_is_a_row(tmp_path: Path) -> None:
    row = {"text": "a film", "label": "x", "spans": [{"at": 1}], "about": {"by": "y"}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row))
    assert list(read_split(str(tmp_path / "a.jsonl"), "train", DataSettings())["text"]) == ["a film", "a film"]


@pytest.mark.parametrize(
    "value",
    [
        [["Ann ran", {"entities": [[0, 3, "PER"]]}], ["No", {"entities": []}]],  # spaCy
        {
            "classes": ["PER"],
            "annotations": [["Ann ran", {"entities": [[0, 3, "PER"]]}], None, ["No", {"entities": []}]],
        },
        [  # Label Studio
            {
                "id": 7,
                "data": {"text": "Ann ran"},
                "annotations": [
                    {
                        "result": [
                            {"type": "labels", "value": {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}},
                            {"type": "choices", "value": {"choices": ["x"]}},
                        ]
                    }
                ],
            },
            {"id": 8, "data": {"text": "No"}, "annotations": [{"result": []}]},
        ],
        [  # its short form
            {
                "id": 7,
                "annotation_id": 1,
                "text": "Ann ran",
                "label": [{"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}],
            },
            {"id": 8, "annotation_id": 2, "text": "No"},
        ],
        {  # LightTag
            "examples": [
                {"content": "Ann ran", "annotations": [{"start": 0, "end": 3, "tag": "PER"}]},
                {"content": "No", "annotations": []},
            ]
        },
        [{"tokenized_text": ["Ann", "ran"], "ner": [[0, 0, "PER"]]}, {"tokenized_text": ["No"], "ner": []}],  # GLiNER
        [  # Ground Truth
            {"source": text, "ner": {"annotations": {"entities": spans}}, "ner-metadata": {"type": "x"}}
            for text, spans in (("Ann ran", [{"label": "PER", "startOffset": 0, "endOffset": 3}]), ("No", []))
        ],
    ],
)
def test_exports_of_annotation_tools_become_texts_with_spans(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(value), encoding="utf-8")

    _, rows = rows_of(path)

    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = pkd.load_data(train=tmp_path / "a.jsonl")["train"]
    assert data["text"][:] == ["Ann ran", "No"]
    assert data["label"][:] == [[1, 0], [0]]


def test_an_example_of_spacy_a_line_is_told_how_to_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('["Ann ran", {"entities": [[0, 3, "PER"]]}]\n["No", {"entities": []}]\n', encoding="utf-8")

    with pytest.raises(
        DataError, match="The file holds texts and their spans as a tool exports them, but one object per line"
    ):
        pkd.load_data(train=path)


def test_a_folder_of_brat_becomes_texts_with_spans(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Ann\r\nLee ran")
    (tmp_path / "a.ann").write_text("T1\tPER 0 3;5 8\tAnn Lee\nR1\tof Arg1:T1 Arg2:T1\n#1\tNote T1\tx\n")
    (tmp_path / "b.txt").write_text("No")
    (tmp_path / "b.ann").write_text("")

    _, rows = rows_of(tmp_path)

    span = {"start": 0, "end": 8, "label": "PER", "text": "Ann Lee"}
    assert [(row["text"], row["entities"]) for row in rows] == [("Ann\r\nLee ran", [span]), ("No", [])]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert pkd.load_data(train=tmp_path / "rows.jsonl")["train"]["label"][:] == [[1, 2, 0], [0]]
    (tmp_path / "b.ann").write_text("T1 PER\n")
    with pytest.raises(DataError, match=r"b\.ann, line 1"):
        rows_of(tmp_path)


def test_rows_without_a_label_are_not_sent_to_a_command_that_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "notes": [{"by": "x"}]}\n{"text": "b", "notes": []}\n')

    with pytest.raises(DataError, match="no column 'label'") as error:
        read_split(str(path), "train", DataSettings())
    assert "json_shapes" not in str(error.value)
