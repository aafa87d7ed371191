"""Streams become rows on the disk chunk by chunk, and say where they are wrong."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pkd.data.streaming as streaming
from conftest import make_reviews, write_csv
from pkd.data.examples import load_examples
from pkd.data.outputs import Outputs
from pkd.data.sources import read_split
from pkd.errors import DataError, PKDError
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
    with pytest.raises(DataError, match=r"bad\.csv \(train\) has labels that are not among.*'so-so' \(1 rows\)"):
        spool(str(path), tmp_path / "rows")
    with pytest.raises(DataError, match=r"absent\.csv does not exist"):
        spool(str(tmp_path / "absent.csv"), tmp_path / "more")
    (tmp_path / "broken.jsonl").write_text('{"text": "a", "label": "positive"}\n{"text": \n')
    with pytest.raises(DataError, match=r"broken\.jsonl, line 2, column 1: this is no JSON"):
        spool(str(tmp_path / "broken.jsonl"), tmp_path / "broken")
    with pytest.raises(DataError, match="has no column 'mood'"):  # it is not unlabelled text
        spool(str(write_csv(tmp_path / "train.csv", REVIEWS)), tmp_path / "mood", label_column="mood")


TEACHERS = {
    "classes": Outputs("single_label_classification", ("negative", "positive")),
    "numbers": Outputs("single_label_classification", ("0", "1", "2")),
    "truth": Outputs("single_label_classification", ("false", "true")),
    "unnamed": Outputs("single_label_classification", ("LABEL_0", "LABEL_1"), is_declared=False),
    "sets": Outputs("multi_label_classification", ("a", "b", "c")),
    "scores": Outputs("regression", ("score",)),
    "binary": Outputs("binary_classification", ("not spam", "spam"), is_declared=False),
    "choices": Outputs("multiple_choice", ()),
}


def both_ways(path: Path, teacher: str, folder: Path, **given: Any) -> tuple[Any, Any]:
    """Rows or the error of a file that is read whole, and of one that is streamed."""
    settings = DataSettings(train=str(path), **given)
    ways = []
    for way in ("whole", "streamed"):
        try:
            if way == "whole":
                rows = load_examples(settings, splits=("train",), teacher=TEACHERS[teacher]).splits["train"]
            else:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                rows = streaming.spool(str(path), settings, TEACHERS[teacher], folder, Stage("read"))
                assert streaming.is_spool(folder)
                assert not list(folder.glob("texts-*"))
            ways.append((rows[:], {name: str(kind) for name, kind in rows.features.items()}))
        except PKDError as error:
            ways.append((type(error), str(error)))
    return ways[0], ways[1]


LABELS = [
    ["negative", "positive"], ["Negative", "positive "], ["0", "1"], ["0", "1", "2"], [0, 1], [0, 1.0], ["0.5", "1"],
    [0.25, 3], ["true", "false"], [True, False], ["a", "b|c", "a|b"], ["a;b", "c"], ["a,b", "b"], [["a"], ["b", "c"], []],
    [[1, 0, 1], [0, 1, 0]], ["a", "a|b", "-"], ["-1", "1"], ["spam", "ham"], ["0,5", "1,5"], ["01", "02"], [None, "a"],
    ["", "negative"], [float("nan"), 1.5], ["-100", "0"], ["LABEL_0", "LABEL_1"], ["nan", "negative"], [1, "x"],
]  # fmt: skip
ODD_TEXTS = ["", "  ", None, float("nan"), "NA", "a\x07b", "x" * 3000]
ROWS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30)), min_size=0, max_size=40)
EXAMPLES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_rows(path: Path, records: list[dict[str, Any]], uneven: int | None = None) -> None:
    """Write records as the path's suffix says; of a CSV file one line may have a field more than the header."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return
    if path.suffix == ".parquet":
        names = list(records[0]) if records else ["text", "label"]
        columns = {name: [record[name] for record in records] for name in names}
        pq.write_table(pa.table(columns), path)
        return
    names = list(records[0]) if records else ["text", "label"]
    lines = [["" if record[name] is None else str(record[name]) for name in names] for record in records]
    if uneven is not None and lines:
        lines[uneven % len(lines)].append("more")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *lines])


@given(
    rows=ROWS,
    labels=st.sampled_from(LABELS),
    more=st.sampled_from([None, *LABELS]),
    empty=st.sampled_from([0, 0, 1, 3]),
    ids=st.sampled_from([None, None, 1000, 7]),
    suffix=st.sampled_from([".csv", ".jsonl", ".parquet"]),
    uneven=st.sampled_from([None, None, None, 3, 17]),
    teacher=st.sampled_from([name for name in TEACHERS if name != "choices"]),
    on_empty=st.sampled_from(["error", "drop", "keep"]),
    on_uneven=st.sampled_from(["error", "drop"]),
    on_no_label=st.sampled_from(["error", "drop"]),
)
@EXAMPLES
def test_a_file_streams_as_it_is_read_whole(
    tmp_path: Path, rows: Any, labels: list[Any], more: list[Any] | None, empty: int, ids: int | None, suffix: str,
    uneven: int | None, teacher: str, **given: Any,
) -> None:  # fmt: skip
    """What a whole file decides once is decided once for a stream too: the same rows come, or the same error."""
    records = []
    for number, (text, label) in enumerate(rows):
        record: dict[str, Any] = {} if ids is None else {"id": number % ids}
        odd = ODD_TEXTS[label % len(ODD_TEXTS)]
        record["text"] = odd if text < empty else f"a film of {text} {label}"
        several = labels if more is None or number < len(rows) - 2 else more  # the last rows may be of another kind
        record["label"] = several[label % len(several)]
        records.append(record)
    path = tmp_path / f"train{suffix}"
    try:
        write_rows(path, records, uneven)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return  # a column of a Parquet file is of one type
    whole, streamed = both_ways(path, teacher, tmp_path / "rows", **given)
    assert streamed == whole


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=30),
    answers=st.sampled_from(["ABC", "012", "123", "BAC", ["he", "she", "it"], ["A", "he", 2], [None, "B", "C"], "ABD"]),
    choices=st.sampled_from([[["he", "she", "it"]], [["B", "A", "C"]], [["1", "0", "2"], ["he", "she", "it"]],
                             [["he", "she"], ["he", "she", "it"]], [["he", None, "it"]], [["he"]]]),
    groups=st.sampled_from([None, ["high1.txt", "middle2.txt"], ["a", "b", "c"], [str(n) for n in range(20)]]),
    suffix=st.sampled_from([".jsonl", ".parquet", ".csv"]),
    broken=st.booleans(),
)  # fmt: skip
@EXAMPLES
def test_questions_stream_as_they_are_read_whole(
    tmp_path: Path, rows: Any, answers: Any, choices: Any, groups: list[str] | None, suffix: str, broken: bool
) -> None:
    """How answers are meant, and whether groups part the rows, all rows decide together."""
    records = []
    for number, (answer, which) in enumerate(rows):
        of = choices[0] if number < len(rows) - 1 else choices[-1]
        record = {"question": f"who {which}?", "choices": of, "answer": answers[answer % len(answers)]}
        records.append(record if groups is None else {**record, "group": groups[which * 7 % len(groups)]})
    path = tmp_path / f"train{suffix}"
    try:
        write_rows(path, records)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return
    if broken and suffix == ".jsonl":
        path.write_text(path.read_text() + "{\n")
    whole, streamed = both_ways(path, "choices", tmp_path / "rows", on_empty="keep")
    assert streamed == whole


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("a.csv", "label,text\n" + "positive,good\n" * 20 + "negative\n" + "positive,good\n" * 20 + "negative\n", {}),
        ("a.csv", 'text,label\n"good" film,positive\n', {}),
        ("a.csv", "text,label\n", {}),
        ("a.csv", "text,label\ncaf\xe9,positive\n", {}),
        ("a.csv", "text,label\n" + "good,positive\n" * 16 + "  ,\n" * 17 + "bad,negative\n", {"on_empty": "drop"}),
        ("a.csv", "text,label\n" + "  ,\n" * 17, {"on_empty": "drop"}),
        ("a.csv", "sep=;\ntext;label\n" + "good;positive\nbad;negative\n" * 16, {}),
        ("a.tsv", '"text"\t"label"\n' + '"good"\t"positive"\n"bad"\t"negative"\n' * 16, {"quotes": "csv"}),
        (
            "a.jsonl",
            '{"text": "caf\xe9", "label": "negative"}\n{"text": "b", "label": "positive"}\n',
            {"encoding": "cp1252"},
        ),
        ("a.jsonl", '{"text": "2020-01-01", "label": "negative"}\n{"text": "2", "label": "positive"}\n', {}),
        ("a.jsonl", '{"text": 1.50, "label": "negative"}\n{"text": 2, "label": "positive"}\n', {}),
    ],
)
def test_an_odd_file_streams_as_it_is_read_whole(
    name: str, text: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text.encode("cp1252"))
    whole, streamed = both_ways(tmp_path / name, "classes", tmp_path / "rows", **settings)
    assert streamed == whole


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("a.csv", "text,source\nforum,a film,x\n", {}),  # more fields than names, which pandas would shift
        ("a.csv", "text\nI like it, a film\n", {}),
        ("a.csv", "text,id\n" + "a,1\n" * 20, {}),
        ("a.csv", "text\n" + "a film\n" * 30 + '""\n', {}),
        ("a.txt", "caf\xe9\n\n" + "fine\n" * 15 + "\n" * 20 + "end\n\n", {"encoding": "cp1252"}),
    ],
)
def test_a_file_without_labels_streams_as_unlabelled_text(
    name: str, text: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text.encode("cp1252"))
    given = DataSettings(problem_type="single_label_classification", **settings)
    ways: list[Any] = []
    for read in (
        lambda path: read_split(path, "unlabelled", given),
        lambda path: spool(path, tmp_path / "rows", **settings),
    ):
        try:
            ways.append(read(str(tmp_path / name))[:])
        except DataError as error:
            ways.append(str(error))
    assert ways[1] == ways[0]


def test_what_is_told_of_the_columns_of_a_stream_is_told_once(tmp_path: Path, heard: Any) -> None:
    rows = datasets.Dataset.from_list([{"text": text, "label": label, "category": "x"} for text, label in REVIEWS])
    spool(rows.to_iterable_dataset(), tmp_path / "rows")
    assert len([note for note in heard.notes if "'category'" in note]) == 1


def test_a_stream_of_one_class_may_be_a_part_of_something(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list([{"text": text, "label": "positive"} for text, _ in REVIEWS])
    assert set(spool(rows.to_iterable_dataset(), tmp_path / "rows")["label"]) == {1}


def test_a_saved_folder_streams_the_split_that_is_named_and_refuses_one_that_it_lacks(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list([{"text": text, "label": label} for text, label in REVIEWS])
    splits = datasets.DatasetDict({"train": rows.select([0, 1, len(rows) - 1]), "extra": rows})
    splits.save_to_disk(str(tmp_path / "splits"))
    assert len(spool(str(tmp_path / "splits"), tmp_path / "rows")) == 3
    assert len(spool(f"{tmp_path / 'splits'}:extra", tmp_path / "more")) == len(REVIEWS)
    rows.save_to_disk(str(tmp_path / "single"))
    assert len(spool(str(tmp_path / "single"), tmp_path / "all")) == len(REVIEWS)
    with pytest.raises(DataError, match="without splits; leave out ':extra'"):
        spool(f"{tmp_path / 'single'}:extra", tmp_path / "none")
    (tmp_path / "loose").mkdir()
    write_csv(tmp_path / "loose" / "train.csv", REVIEWS)
    with pytest.raises(DataError, match=r"that `datasets` did not save.*train\.csv"):
        spool(str(tmp_path / "loose"), tmp_path / "loose rows")
