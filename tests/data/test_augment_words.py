"""Rows made of rows whose words have tags: entities stay whole, words keep their places, no label is kept."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random

import datasets
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pkd
from pkd.data.augment_words import Sentence, changed, pool_of, sentences_of
from pkd.data.augmentation import augment_rows, augmented_splits
from pkd.data.words import word_offsets

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SENTENCES = [
    ("Ann Lee likes old Rome", "B-PER I-PER O O B-LOC"),
    ("in New York nobody met Bo", "O B-LOC I-LOC O O B-PER"),
    ("Cy and Di left Oslo yesterday", "B-PER O B-PER O B-LOC O"),
    ("it rained the whole day", "O O O O O"),
]
ENTITIES = {"PER": {"Ann Lee", "Bo", "Cy", "Di"}, "LOC": {"Rome", "New York", "Oslo"}}
OUTSIDE = {"likes", "old", "in", "nobody", "met", "and", "left", "yesterday", "it", "rained", "the", "whole", "day"}


def table(sentences: Sequence[tuple[str, str]] = SENTENCES, *, ids: bool = True) -> datasets.Dataset:
    words = [text.split() for text, _ in sentences]
    tags = [of.split() for _, of in sentences]
    labels = [[NAMES.index(tag) for tag in of] for of in tags] if ids else tags
    return datasets.Dataset(
        pa.table(
            {
                "text": [text for text, _ in sentences],
                "word_offsets": pa.array([word_offsets(of) for of in words], pa.list_(pa.int32())),
                "label": labels,
            }
        )
    )


def made(rows: datasets.Dataset, variants: int = 1, seed: int = 42) -> list[dict[str, object]]:
    return [row for _, chunk in augment_rows(rows, variants, seed, names=NAMES) for row in chunk.to_pylist()]


def words_in(row: dict[str, object]) -> list[str]:
    text, offsets = str(row["text"]), row["word_offsets"]
    assert isinstance(offsets, list)
    return [text[start:end] for start, end in zip(offsets[::2], offsets[1::2], strict=True)]


def test_what_is_made_of_these_sentences_never_changes() -> None:
    """A stage that is taken up again must find the rows that it left."""
    assert [(row["variant"], row["row"], row["text"]) for row in made(table(), variants=2)] == [
        (1, 1, "Ann Lee likes old Oslo"),
        (1, 2, "in Oslo nobody met Bo"),
        (1, 3, "Cy and Di left New York yesterday"),
        (1, 4, "it rained the in day"),
        (2, 1, "Bo likes met New York"),
        (2, 2, "in New York nobody met Di"),
        (2, 3, "Bo and Di left Oslo yesterday"),
        (2, 4, "it rained [MASK] whole whole"),
    ]


def test_the_words_of_a_made_row_are_where_its_offsets_say() -> None:
    for row in made(table(), variants=20):
        assert words_in(row) == str(row["text"]).split()
        assert set(row) == {"text", "word_offsets", "row", "variant"}


def test_every_word_is_masked_or_stands_outside_of_entities_or_in_a_whole_one_of_the_rows() -> None:
    found: dict[str, set[str]] = {"PER": set(), "LOC": set()}
    for row in made(table(), variants=60):
        rest = f" {' '.join(words_in(row))} "
        for type, surfaces in ENTITIES.items():
            for surface in sorted(surfaces, key=len, reverse=True):
                if f" {surface} " in rest:
                    found[type].add(surface)
                    rest = rest.replace(f" {surface} ", "  ")
        assert set(rest.split()) <= OUTSIDE | {"[MASK]"}
    assert found == ENTITIES


def test_entities_are_swapped_with_others_of_their_type_alone() -> None:
    row = table()[2]  # Cy and Di left Oslo yesterday
    pattern = re.compile(r"(\S+(?: Lee)?) and (\S+(?: Lee)?) left (\S+(?: York)?) yesterday")
    sentences = list(sentences_of(table(), NAMES))
    pool = pool_of(iter(sentences))

    matches = [pattern.fullmatch(changed(sentences[2], pool, Random(number))[0]) for number in range(300)]
    whole = [match.groups() for match in matches if match]

    assert row["text"] == "Cy and Di left Oslo yesterday"
    assert {name for names in whole for name in names[:2]} == ENTITIES["PER"]
    assert {names[2] for names in whole} == ENTITIES["LOC"]


def test_a_span_cuts_no_entity() -> None:
    rows = table([("Ann Lee", "B-PER I-PER"), ("a b New York c", "O O B-LOC I-LOC O")])
    for row in made(rows, variants=40):
        words = words_in(row)
        assert ("New" in words) == ("York" in words)
        assert ("Ann" in words) == ("Lee" in words)


def test_labels_by_name_or_by_id_make_the_same_rows() -> None:
    assert made(table(ids=False), 3) == made(table(), 3)


def test_more_variants_begin_with_the_same_ones_and_another_seed_makes_others() -> None:
    two, three, other = made(table(), 2), made(table(), 3), made(table(), 2, seed=7)

    assert three[: len(two)] == two
    assert other != two


def test_plain_tags_swap_words_of_one_tag() -> None:
    rows = table([("dogs bark", "NOUN VERB"), ("cats sleep", "NOUN VERB")], ids=False)
    texts = {str(row["text"]) for row in made(rows, 60)}

    assert "cats bark" in texts or "dogs sleep" in texts
    assert all(set(text.split()) <= {"dogs", "cats", "bark", "sleep"} for text in texts)
    assert not any(text.split()[0] in ("bark", "sleep") for text in texts if len(text.split()) == 2)


def test_each_variant_is_a_split_without_labels_that_leaves_held_out_texts_alone() -> None:
    splits = {"train": table(), "eval": table([("Di Lee", "B-PER I-PER")])}

    for name, rows in augmented_splits(splits, 2, 42, NAMES):
        assert name.startswith("augmented-")
        assert rows.column_names == ["text", "word_offsets"]
        assert rows.features == table().remove_columns("label").features
        assert not set(rows["text"][:]) & {text for text, _ in SENTENCES}


@given(st.lists(st.tuples(st.lists(st.sampled_from(["a", "(", "Bé", "."]), min_size=1), st.data()), max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40)
def test_offsets_are_ascending_and_no_two_words_grow_together(drawn: list[tuple[list[str], st.DataObject]]) -> None:
    sentences = []
    for words, data in drawn:
        units = tuple((data.draw(st.sampled_from(["", " "])) if word in "(." else " ", word) for word in words)
        runs = tuple((number, number + 1, data.draw(st.sampled_from(["", "X"]))) for number in range(len(words)))
        sentences.append(Sentence(units, runs, is_plain=False))
    pool = pool_of(iter(sentences))
    for number, sentence in enumerate(sentences):
        text, offsets = changed(sentence, pool, Random(number))
        assert offsets == sorted(offsets)
        spans = list(zip(offsets[::2], offsets[1::2], strict=True))
        assert all(text[start:end].strip() for start, end in spans)
        between = [text[end:start] for (_, end), (start, _) in itertools.pairwise(spans)]
        assert set(between) <= {"", " "}
        assert not any(
            gap == "" and text[end - 1].isalnum() and text[end].isalnum()
            for gap, (_, end) in zip(between, spans, strict=False)
        )


@pytest.mark.parametrize("form", ["conll", "spans"])
def test_the_file_of_made_rows_is_read_as_unlabelled_rows_with_the_same_words(form: str, tmp_path: Path) -> None:
    source = tmp_path / ("train.conll" if form == "conll" else "train.jsonl")
    if form == "conll":
        pairs = [zip(text.split(), tags.split(), strict=True) for text, tags in SENTENCES]
        lines = ["".join(f"{word}.com {tag}\n" for word, tag in of) for of in pairs]
        source.write_text("\n".join(lines), encoding="utf-8")
    else:
        rows = [{"text": "Ann's (old) Rome.", "entities": [[0, 3, "PER"]]}, {"text": "Bo left.", "entities": []}]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    result = pkd.augment(train=source, variants=8, output=tmp_path / "more.jsonl")

    keys = json.loads((tmp_path / "more.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert list(keys) == ["tokens" if form == "conll" else "text", "row", "variant"]
    read = pkd.load_data(train=source, unlabelled=[str(tmp_path / "more.jsonl")])["unlabelled"]
    assert isinstance(result.rows, datasets.Dataset)
    assert read["word_offsets"][:] == result.rows["word_offsets"][:]
    assert read["text"][:] == result.rows["text"][:]
    assert any("[MASK]" in text for text in read["text"][:])
