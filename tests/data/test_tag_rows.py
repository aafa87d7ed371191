"""Rows with tokens and tags, or a text and its spans, from every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from pkd.data.examples import load_examples
from pkd.data.outputs import Outputs
from pkd.data.sources import read_data
from pkd.data.streaming import spool
from pkd.errors import DataError
from pkd.progress import stage
from pkd.recipe.settings import DataSettings

TOKENS = [["EU", "rejects"], ["Peter", "Blackburn", "."]]
TAGS = [["B-ORG", "O"], ["B-PER", "I-PER", "O"]]
NAMES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG"]
IDS = [[NAMES.index(tag) for tag in tags] for tags in TAGS]
ROWS = [
    {"text": "EU rejects", "word_offsets": [0, 2, 3, 10], "label": TAGS[0]},
    {"text": "Peter Blackburn .", "word_offsets": [0, 5, 6, 15, 16, 17], "label": TAGS[1]},
]


def _lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _tokens(path: Path, label: str = "ner_tags", tags: Any = TAGS, **more: Any) -> str:
    rows = [{"tokens": of, label: each} | more for of, each in zip(TOKENS, tags, strict=True)]
    return _lines(path, rows)


def _read(source: str, **settings: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_data(DataSettings(train=source, **settings))["train"].to_list()
    return rows


@pytest.mark.parametrize("label", ["ner_tags", "tags", "labels", "label", "pos_tags"])
def test_tokens_and_tags_in_json_lines_are_found_by_their_names(label: str, tmp_path: Path) -> None:
    assert _read(_tokens(tmp_path / "a.jsonl", label)) == ROWS


def test_entities_are_chosen_among_several_columns_of_tags(tmp_path: Path) -> None:
    path = _tokens(tmp_path / "a.jsonl", pos_tags=["X"], chunk_tags=["X"])

    assert _read(path) == ROWS


def test_another_column_of_tags_or_tokens_can_be_named(tmp_path: Path) -> None:
    path = _lines(tmp_path / "a.jsonl", [{"w": TOKENS[0], "mine": TAGS[0], "ner_tags": []}])

    assert _read(path, text_columns=["w"], label_column="mine", problem_type="token_classification") == ROWS[:1]


def test_ids_need_names_in_json_lines(tmp_path: Path) -> None:
    path = _tokens(tmp_path / "a.jsonl", tags=IDS)

    with pytest.raises(DataError, match=r"line 1, word 1: the tag is 3, a class id, but the classes have no names"):
        _read(path)
    assert _read(path, label_names=NAMES) == ROWS
    examples = load_examples(DataSettings(train=path, label_names=NAMES))
    assert examples.label_names == tuple(NAMES)
    with pytest.raises(DataError, match=r"line 1, word 1: the tag is 3, but the classes are 0 to 2"):
        _read(path, label_names=NAMES[:3])


def test_ids_of_a_classifier_are_read_if_the_user_says_so(tmp_path: Path) -> None:
    path = _tokens(tmp_path / "a.jsonl", tags=IDS)
    teacher = Outputs("token_classification", tuple(NAMES))

    with pytest.raises(DataError, match="a class id"):
        load_examples(DataSettings(train=path), teacher=teacher)
    examples = load_examples(DataSettings(train=path, label_ids_are_teacher_ids=True), teacher=teacher)
    assert examples.splits["train"]["label"][:] == IDS


def test_parquet_and_saved_sets_give_ids_their_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=NAMES)),
        }
    )
    rows = datasets.Dataset.from_dict({"id": ["0", "1"], "tokens": TOKENS, "ner_tags": IDS}, features=features)
    rows.to_parquet(str(tmp_path / "a.parquet"))
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "saved"))

    assert _read(str(tmp_path / "a.parquet")) == ROWS
    assert _read(str(tmp_path / "saved")) == ROWS


def test_parquet_of_another_program_has_names_or_needs_them(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"tokens": TOKENS, "tags": TAGS}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"tokens": TOKENS, "tags": IDS}), tmp_path / "b.parquet")

    assert _read(str(tmp_path / "a.parquet")) == ROWS
    with pytest.raises(DataError, match="row 1, word 1: the tag is 3, a class id"):
        _read(str(tmp_path / "b.parquet"))
    assert _read(str(tmp_path / "b.parquet"), label_names=NAMES) == ROWS


def test_lists_in_csv_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('tokens,ner_tags\n"[\'EU\', \'rejects\']","[""B-ORG"", ""O""]"\n', encoding="utf-8")

    assert _read(str(path)) == ROWS[:1]


def test_lists_that_numpy_writes_without_commas_are_read_item_by_item(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("tokens,ner_tags\n\"['Ann' \"\"isn't\"\"\n 'here']\",['B-PER' 'O' 'O']\n['x'],['O']\n")

    assert [(row["text"], row["label"]) for row in _read(str(path))] == [
        ("Ann isn't here", ["B-PER", "O", "O"]),
        ("x", ["O"]),
    ]
    path.write_text("tokens,ner_tags\n\"['Ann' 'ran']\",[1 0]\n")
    assert [row["label"] for row in _read(str(path), label_names=NAMES)] == [[NAMES[1], NAMES[0]]]
    path.write_text("tokens,ner_tags\n['a' ... 'b'],['O' ... 'O']\n")
    with pytest.raises(DataError, match="a list of words is expected"):
        _read(str(path))


def test_unlabelled_columns_that_are_read_as_texts_are_told(tmp_path: Path, heard: Any) -> None:
    (tmp_path / "a.txt").write_text("Ann\tNNP\nran\tVBD\n\nNo\tUH\n")

    read_data(DataSettings(train=_tokens(tmp_path / "a.jsonl"), unlabelled=[str(tmp_path / "a.txt")]))

    assert any("one word and its columns" in each for each in heard.warnings)


def test_one_word_a_row_of_csv_is_told_to_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("word,tag\nEU,B-ORG\nrejects,O\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"a.csv has one word a row \('word'\), which does not say where sentences end"):
        _read(str(path), problem_type="token_classification")


def test_rows_whose_lists_differ_in_length_are_all_named(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": ["O"]}, {"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a"], "tags": []}]

    with pytest.raises(DataError) as error:
        _read(_lines(tmp_path / "a.jsonl", rows))
    assert (
        "the labels of 2 rows do not fit the words. line 1: there are 2 words, but 1 tags; "
        "line 3: there are 1 words, but 0 tags." in str(error.value)
    )


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"tokens": "a b", "ner_tags": ["O", "O"]}, r"line 1: 'tokens' is 'a b'; a list of words is expected"),
        ({"tokens": ["a", None], "ner_tags": ["O", "O"]}, r"line 1: word 2 of 'tokens' is None"),
        ({"tokens": ["a"], "ner_tags": [None]}, r"line 1, word 1: the tag is None; give every word a name"),
        ({"tokens": ["a"], "ner_tags": "O"}, r"line 1: the tags are 'O', no list"),
        ({"tokens": ["a", "b"], "ner_tags": ["O", "I-PER"]}, r"a.jsonl: there is a tag that cannot be"),
        ({"tokens": ["a"]}, r"a.jsonl has tokens \('tokens'\) but no column with their tags"),
    ],
)
def test_faulty_rows_are_named(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    good = {"tokens": ["a"], "ner_tags": ["B-PER"]} if "ner_tags" in row else {"tokens": ["a"]}

    with pytest.raises(DataError, match=says):
        _read(_lines(tmp_path / "a.jsonl", [row, good]))


def test_a_tag_that_cannot_be_is_named_by_row_and_word(tmp_path: Path) -> None:
    path = _tokens(tmp_path / "a.jsonl", tags=[["B-ORG", "O"], ["B-PER", "O", "I-PER"]])

    with pytest.raises(DataError, match=r"line 2, word 3: 'I-PER' stands after 'O'"):
        _read(path)


def test_rows_without_words_are_dropped_like_rows_without_a_text(tmp_path: Path) -> None:
    rows = [{"tokens": ["a"], "tags": ["B-X"]}] * 200 + [{"tokens": [], "tags": []}]

    assert len(_read(_lines(tmp_path / "a.jsonl", rows))) == 200
    with pytest.raises(DataError, match="have an empty text"):
        _read(_lines(tmp_path / "b.jsonl", rows[-2:]))


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Ann ran", "entities": [[0, 3, "PER"]]},
        {"text": "Ann ran", "entities": [{"start": 0, "end": 3, "label": "PER"}], "Comments": []},
        {"text": "Ann ran", "label": [[0, 3, "PER"]]},  # doccano
        {"id": 1, "text": "Ann ran", "label": [{"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}]},
        {"text": "Ann ran", "spans": [{"start": 0, "end": 3, "label": "PER"}], "tokens": [{"text": "Ann", "id": 0}]},
    ],
)
def test_exports_of_annotation_tools_are_read(row: dict[str, Any], tmp_path: Path) -> None:
    none: dict[str, Any] = {key: [] if isinstance(value, list) else value for key, value in row.items()} | {"id": 2}
    path = _lines(tmp_path / "a.jsonl", [none | {"text": "No"}, row])

    assert _read(path) == [
        {"text": "No", "word_offsets": [0, 2], "label": ["O"]},
        {"text": "Ann ran", "word_offsets": [0, 3, 4, 7], "label": ["B-PER", "O"]},
    ]


def test_spans_in_a_saved_set_are_read(tmp_path: Path) -> None:
    rows = [{"text": "Ann ran", "entities": [{"start": 0, "end": 3, "label": "PER"}]}, {"text": "No", "entities": []}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "a.parquet"))

    for source in ("saved", "a.parquet"):
        assert [row["label"] for row in _read(str(tmp_path / source))] == [["B-PER", "O"], ["O"]]


def test_every_conflict_of_a_file_is_named_by_its_row(tmp_path: Path) -> None:
    spans = [[[0, 2, "PER"]], [[0, 3, "PER"]], [[0, 3, "PER"], [0, 7, "X"]], [[0, 99, "PER"], [3, 3, "X"]]]
    path = _lines(tmp_path / "a.jsonl", [{"text": "Ann ran", "entities": of} for of in spans])

    with pytest.raises(DataError) as error:
        _read(path)
    for says in (
        "the labels of 3 rows do not fit the words",
        "line 1: the span 'An', 0 to 2 (PER) ends inside of the word 'Ann'",
        "line 3: the span 'Ann ran', 0 to 7 (X) overlaps that of 0 to 3 (PER)",
        "line 4: the span 0 to 99 (PER) lies outside of the text",
        "line 4: the span 3 to 3 (X) is empty",
    ):
        assert says in str(error.value)
    assert "line 2" not in str(error.value)


def test_columns_of_whole_texts_stay_what_they_were(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "label": "x", "entities": [[0, 1, "P"]], "tokens": ["a"]},
        {"text": "b", "label": "y", "entities": [], "tokens": ["b"]},
    ]
    sets = [{"text": "a", "labels": ["x", "y"]}, {"text": "b", "labels": ["x"]}]

    assert [row["label"] for row in _read(_lines(tmp_path / "a.jsonl", rows))] == ["x", "y"]
    assert [row["label"] for row in _read(_lines(tmp_path / "b.jsonl", sets))] == [["x", "y"], ["x"]]


def test_unlabelled_rows_of_every_form_go_with_tagged_ones(tmp_path: Path) -> None:
    settings = DataSettings(
        train=_tokens(tmp_path / "a.jsonl"),
        unlabelled=[
            _lines(tmp_path / "b.jsonl", [{"tokens": ["a.b"]}]),
            _lines(tmp_path / "c.jsonl", [{"text": "a.b"}]),
            _lines(tmp_path / "d.jsonl", [{"text": "a.b", "entities": [[0, 1, "X"]]}]),
            _lines(tmp_path / "e.jsonl", [{"document": "a.b", "annotation": []}]),
        ],
    )

    rows = read_data(settings)["unlabelled"].to_list()

    assert rows == [
        {"text": "a.b", "word_offsets": [0, 3]},
        {"text": "a.b", "word_offsets": [0, 1, 1, 2, 2, 3]},
        {"text": "a.b", "word_offsets": [0, 1, 1, 2, 2, 3]},
        {"text": "a.b", "word_offsets": [0, 1, 1, 2, 2, 3]},
    ]


@pytest.mark.parametrize("form", ["tokens", "spans"])
def test_a_stream_of_such_rows_gives_the_same_rows(form: str, tmp_path: Path) -> None:
    path = _tokens(tmp_path / "a.jsonl")
    if form == "spans":
        path = _lines(tmp_path / "a.jsonl", [{"text": "Ann ran", "entities": [[0, 3, "PER"]]}])
    teacher = Outputs("token_classification", tuple(NAMES))
    folder = tmp_path / "rows"
    folder.mkdir()

    with stage("read", unit="rows") as counter:
        rows = spool(path, DataSettings(), teacher, folder, counter)

    whole = load_examples(DataSettings(train=path), teacher=teacher).splits["train"]
    assert rows.to_list() == whole.to_list()


def test_rows_that_are_in_two_splits_and_texts_with_two_taggings_are_told(tmp_path: Path) -> None:
    train = _tokens(tmp_path / "a.jsonl")
    other = [["O", "O"], ["B-PER", "I-PER", "O"]]
    more = _tokens(tmp_path / "b.jsonl", tags=other)
    both = tmp_path / "c.jsonl"
    both.write_text(Path(train).read_text() + Path(more).read_text(), encoding="utf-8")

    examples = load_examples(DataSettings(train=str(both), test=train))

    assert examples.shared == {"test": {"train": 2}}
    assert examples.warnings[0] == "train: 1 text occurs with different labels (2 rows)."


def test_a_tenth_of_the_rows_is_held_out_by_their_texts(tmp_path: Path) -> None:
    rows = [{"tokens": [f"w{number}", "x"], "tags": ["B-X", "O"]} for number in range(40)]

    examples = load_examples(DataSettings(train=_lines(tmp_path / "a.jsonl", rows)), seed=1)

    train, held = examples.splits["train"], examples.splits["eval"]
    assert (len(train), len(held)) == (36, 4)
    assert held.column_names == ["text", "word_offsets", "label"]
    assert not set(train["text"][:]) & set(held["text"][:])


def test_where_words_are_is_in_the_fingerprint_of_the_texts(tmp_path: Path) -> None:
    one = load_examples(DataSettings(train=_lines(tmp_path / "a.jsonl", [{"tokens": ["a b"], "tags": ["B-X"]}] * 2 + [
        {"tokens": ["c"], "tags": ["O"]}])))  # fmt: skip
    two = load_examples(DataSettings(train=_lines(tmp_path / "b.jsonl", [{"tokens": ["a", "b"], "tags": ["B-X", "O"]}] * 2
        + [{"tokens": ["c"], "tags": ["O"]}])))  # fmt: skip

    assert one.splits["train"]["text"][:] == two.splits["train"]["text"][:]
    assert one.fingerprints["train"]["texts"] != two.fingerprints["train"]["texts"]


def test_rows_whose_tags_are_null_are_left_out_on_request(tmp_path: Path) -> None:
    path = _tokens(tmp_path / "a.jsonl", tags=[TAGS[0], None])

    with pytest.raises(DataError, match=r"1 of 2 rows have no label \(line 2\)"):
        _read(path)
    assert _read(path, on_no_label="drop") == ROWS[:1]


def test_rows_that_prodigy_exports_without_a_span_have_none_and_those_refused_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"text": "No", "answer": "accept"},
        {"text": "Ann ran", "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"},
        {"text": "Ann", "spans": [{"start": 0, "end": 2, "label": "PER"}], "answer": "reject"},
        {"text": "Bob", "answer": "ignore"},
    ]

    found = _read(_lines(tmp_path / "a.jsonl", rows))

    assert [(row["text"], row["label"]) for row in found] == [("No", ["O"]), ("Ann ran", ["B-PER", "O"])]


def test_offsets_in_another_unit_are_read(tmp_path: Path) -> None:
    path = _lines(tmp_path / "a.jsonl", [{"text": "😀 Ann", "entities": [[3, 6, "PER"]]}])

    assert _read(path, span_offsets="utf-16")[0]["label"] == ["O", "B-PER"]


def test_class_ids_may_be_written_as_texts(tmp_path: Path) -> None:
    path = _tokens(tmp_path / "a.jsonl", tags=[[str(tag) for tag in of] for of in IDS])

    assert _read(path, label_names=NAMES) == ROWS


def test_a_word_of_blanks_alone_is_a_word(tmp_path: Path) -> None:
    rows = [{"tokens": ["\u2003"], "tags": ["B-X"]}, {"tokens": ["a"], "tags": ["O"]}]

    assert [row["label"] for row in _read(_lines(tmp_path / "a.jsonl", rows))] == [["B-X"], ["O"]]


@pytest.mark.parametrize(
    "row",
    [
        {"content": "Ann ran", "annotations": [{"start": 0, "end": 3, "value": "Ann", "tag": "PER"}]},  # LightTag
        {"document": "Ann ran", "annotation": [{"start": 0, "end": 3, "label": "PER", "text": "Ann"}]},  # UBIAI
        {"full_text": "Ann ran", "spans": [{"entity_type": "PER", "start_position": 0, "end_position": 3}]},  # Presidio
        {"source_text": "Ann ran", "privacy_mask": [{"value": "Ann", "start": 0, "end": 3, "label": "PER"}]},
        {"text": "Ann ran", "tokens": ["Ann", "ran"], "annotation": [{"label": "PER", "start": 0, "end": 3}]},
        {"text": "Ann ran", "tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]},
        {"text": "Ann ran", "tokens": ["Ann", "ran"], "labels": ["B-PER", "O"]},
    ],
)
def test_rows_of_further_tools_are_found_by_their_columns(row: dict[str, Any], tmp_path: Path) -> None:
    assert [each["label"] for each in _read(_lines(tmp_path / "a.jsonl", [row, row]))] == [["B-PER", "O"]] * 2


def test_spans_in_a_csv_file_are_found_without_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\nNo,[]\nAnn ran,"[{""start"": 0, ""end"": 3, ""labels"": [""PER""]}]"\n')

    assert [row["label"] for row in _read(str(path))] == [["O"], ["B-PER", "O"]]


def test_rows_in_conflict_are_left_out_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spans = [{"text": "Ann ran", "entities": [[0, end, "PER"]]} for end in (3, 2, 7)]
    lists = [{"tokens": ["a"], "tags": tags} for tags in (["O"], ["O", "O"], ["B-X"])]

    with pytest.raises(DataError, match=r"leave them out with on_uneven='drop'|data.on_uneven=drop"):
        _read(_lines(tmp_path / "a.jsonl", spans))
    kept = _read(_lines(tmp_path / "a.jsonl", spans), on_uneven="drop")
    assert [row["label"] for row in kept] == [["B-PER", "O"], ["B-PER", "I-PER"]]
    kept = _read(_lines(tmp_path / "b.jsonl", lists), on_uneven="drop")
    assert [row["label"] for row in kept] == [["O"], ["B-X"]]
    with pytest.raises(DataError, match="No row is left"):
        _read(_lines(tmp_path / "c.jsonl", spans[1:2]), on_uneven="drop")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "Sentence #,Word,POS,Tag\nSentence: 1,Ann,NNP,B-PER\n,ran,VBD,O\n", "one word a row .'Word'"),
        ("a.csv", "File,Line,Begin Offset,End Offset,Type\na.txt,0,0,3,PER\n", "offsets of spans without their texts"),
        ("a.tsv", "Ann\tB-PER\nran\tO\n\nNo\tO\n", "problem.type.*token_classification"),
        ("a.txt", "Ann\tB-PER\nran\tO\n\nNo\tO\n", "problem.type.*token_classification"),
        ("a.ann", "T1\tPER 0 3\tAnn\n", r"become rows with spans by `python -m pkd\.data\.json_shapes"),
        ("a.xmi", "<xmi/>", "as CoNLL 2002"),
        ("a.spacy", "x", "start_char, end_char and label_"),
        ("a.tsv", "#FORMAT=WebAnno TSV 3.3\n\n1-1\t0-3\tAnn\tPER\n", r"WebAnno TSV 3\.3.*as CoNLL 2002"),
        ("a.conll", "#FORMAT=WebAnno TSV 3.3\n\n1-1\t0-3\tAnn\tPER\n", r"WebAnno TSV 3\.3.*as CoNLL 2002"),
    ],
)
def test_what_is_not_read_is_refused_with_what_to_do(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")

    with pytest.raises(DataError, match=says):
        _read(str(tmp_path / name))
