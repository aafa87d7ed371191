"""Streams become rows on the disk chunk by chunk, and say where they are wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

import pkd.data.streaming as streaming
from conftest import make_reviews, write_csv
from pkd.data.examples import load_examples
from pkd.data.outputs import Outputs
from pkd.data.sources import read_split
from pkd.errors import DataError
from pkd.progress import Stage
from pkd.recipe.settings import DataSettings

OUTPUTS = Outputs("single_label_classification", ("negative", "positive"))
REVIEWS = sorted(make_reviews(100, seed=8), key=lambda review: review[1])  # as many a corpus, sorted by label


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_ROWS_A_CHUNK", 16)


def spool(source: Any, folder: Path, **settings: Any) -> datasets.Dataset:
    folder.mkdir()
    given = DataSettings(problem_type="single_label_classification", **settings)
    return streaming.spool(source, given, OUTPUTS, folder, Stage("read"))


def write(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"train.{kind}"
    records = [{"text": text, "label": label} for text, label in REVIEWS]
    if kind == "csv":
        write_csv(path, REVIEWS)
    elif kind == "tsv":
        path.write_text("text\tlabel\n" + "".join(f'"{text}\t{label}\n' for text, label in REVIEWS))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        datasets.Dataset.from_list(records).to_parquet(str(path))
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_row_comes_in_order_with_its_class_id(kind: str, tmp_path: Path) -> None:
    rows = spool(str(write(tmp_path, kind)), tmp_path / "rows")
    quote = '"' if kind == "tsv" else ""  # a quote is text in a .tsv file
    assert list(rows["text"]) == [quote + text for text, _ in REVIEWS]
    assert list(rows["label"]) == [int(label == "positive") for _, label in REVIEWS]
    assert len(list((tmp_path / "rows").glob("*.arrow"))) == 7


def test_a_stream_of_datasets_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["positive", "negative"])})  # fmt: skip
    made = datasets.Dataset.from_dict(
        {"text": [text for text, _ in REVIEWS], "label": [label for _, label in REVIEWS]}, features=features
    )
    rows = spool(made.to_iterable_dataset(), tmp_path / "rows")
    assert list(rows["label"]) == [int(label == "positive") for _, label in REVIEWS]


def test_a_teachers_classes_may_be_called_true_and_false(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "train.csv", [("good", "true"), ("dull", "false"), ("fine", "true")])
    teacher = Outputs("single_label_classification", ("true", "false"))
    (tmp_path / "rows").mkdir()
    rows = streaming.spool(str(path), DataSettings(), teacher, tmp_path / "rows", Stage("read"))
    whole = load_examples(DataSettings(train=str(path)), splits=("train",), teacher=teacher).splits["train"]
    assert list(rows["label"]) == list(whole["label"]) == [0, 1, 0]


def test_a_stream_without_labels_is_unlabelled_text(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("NA\nnull\n" + "".join(f"{text}\n" for text, _ in REVIEWS))
    rows = spool(str(tmp_path / "more.txt"), tmp_path / "rows")
    assert rows.column_names == ["text"]
    assert list(rows["text"])[:2] == ["NA", "null"]


def test_a_fault_is_told_with_its_rows(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", [*REVIEWS[:20], ("a fine film", "so-so"), *REVIEWS[20:]])
    with pytest.raises(DataError, match=r"rows 17 to 32 has labels that are not among.*'so-so'"):
        spool(str(path), tmp_path / "rows")
    with pytest.raises(DataError, match=r"absent\.csv does not exist"):
        spool(str(tmp_path / "absent.csv"), tmp_path / "more")
    (tmp_path / "broken.jsonl").write_text('{"text": "a", "label": "positive"}\n{"text": \n')
    with pytest.raises(DataError, match=r"broken\.jsonl, line 2, column 1: this is no JSON"):
        spool(str(tmp_path / "broken.jsonl"), tmp_path / "broken")
    with pytest.raises(DataError, match="has no column 'mood'"):  # it is not unlabelled text
        spool(str(write_csv(tmp_path / "train.csv", REVIEWS)), tmp_path / "mood", label_column="mood")


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("a.csv", "text,source\nforum,a film,x\n", {}),  # more fields than names, which pandas would shift
        ("a.csv", "text\nI like it, a film\n", {}),
        ("a.csv", "label,text,note\npositive,good film\n", {}),
        ("a.csv", "label,text\n" + "positive,good\n" * 20 + "negative\n" + "positive,good\n" * 20, {}),
        ("a.csv", "label,text\n" + "positive,good\n" * 20 + "negative\n", {"on_uneven": "drop"}),
        ("a.csv", 'text,label\n"good" film,positive\n', {}),
        ("a.csv", "text,label\n", {}),
        ("a.csv", "text,label\ncaf\xe9,positive\n", {}),
        ("a.csv", "text,label\n" + "good,positive\n" * 16 + "  ,\n" * 17, {"on_empty": "drop"}),
        ("a.csv", "text,label\n" + "  ,\n" * 17, {"on_empty": "drop"}),
        ("a.jsonl", '{"text": "caf\xe9", "label": "negative"}\n', {"encoding": "cp1252"}),
        ("a.jsonl", '{"text": "2020-01-01T00:00:00", "label": "negative"}\n{"text": "2", "label": "positive"}\n', {}),
        ("a.jsonl", '{"text": 1.50, "label": "negative"}\n{"text": 2, "label": "positive"}\n', {}),
        ("a.txt", "caf\xe9\n\n" + "fine\n" * 15 + "\n" * 20 + "end\n\n", {"encoding": "cp1252"}),
    ],
)
def test_a_file_streams_as_it_is_read_whole(name: str, text: str, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode("cp1252"))
    given = DataSettings(problem_type="single_label_classification", **settings)
    whole: dict[str, Any] | None = None
    with contextlib.suppress(DataError):
        labelled = "label" in text
        rows = read_split(str(tmp_path / name), "train" if labelled else "unlabelled", given)
        whole = {"text": list(rows["text"])}
        if labelled:
            whole["label"] = [int(label == "positive") for label in rows["label"]]
    if whole is None:
        with pytest.raises(DataError):
            spool(str(tmp_path / name), tmp_path / "rows", **settings)
    else:
        assert spool(str(tmp_path / name), tmp_path / "rows", **settings)[:] == whole


def test_a_saved_folder_streams_the_split_that_is_named_and_refuses_one_that_it_lacks(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list([{"text": text, "label": label} for text, label in REVIEWS])
    splits = datasets.DatasetDict({"train": rows.select(range(3)), "extra": rows})
    splits.save_to_disk(str(tmp_path / "splits"))
    assert len(spool(str(tmp_path / "splits"), tmp_path / "rows")) == 3
    assert len(spool(f"{tmp_path / 'splits'}:extra", tmp_path / "more")) == len(REVIEWS)
    rows.save_to_disk(str(tmp_path / "single"))
    assert len(spool(str(tmp_path / "single"), tmp_path / "all")) == len(REVIEWS)
    with pytest.raises(DataError, match="without splits; leave out ':extra'"):
        spool(f"{tmp_path / 'single'}:extra", tmp_path / "none")
    (tmp_path / "loose").mkdir()
    write_csv(tmp_path / "loose" / "train.csv", REVIEWS)
    with pytest.raises(DataError, match=r"none that `datasets` saved.*train\.csv"):
        spool(str(tmp_path / "loose"), tmp_path / "loose rows")
