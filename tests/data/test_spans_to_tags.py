"""Spans of annotation tools as tags of words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkd.data.spans_to_tags import holds_spans, tags_of_spans
from pkd.data.windows import split_words

TEXT = "Ann Lee, of the U.N., ran."  # Ann Lee , of the U . N . , ran .


def _tags(*spans: Any) -> list[str]:
    found = tags_of_spans(TEXT, split_words(TEXT), list(spans))
    assert not found.conflicts
    return list(found.tags)


def _conflicts(*spans: Any) -> tuple[str, ...]:
    return tags_of_spans(TEXT, split_words(TEXT), list(spans)).conflicts


@pytest.mark.parametrize(
    "span",
    [
        [0, 7, "PER"],
        (0, 7, "PER"),
        {"start": 0, "end": 7, "label": "PER"},
        {"start": 0, "end": 7, "labels": ["PER"], "text": "Ann Lee"},
        {"start_offset": 0, "end_offset": 7, "label": "PER", "id": 9},
        {"value": {"start": 0, "end": 7, "labels": ["PER"]}, "from_name": "label", "type": "labels"},
        {"start": 0, "end": 7, "token_start": 0, "token_end": 1, "label": "PER"},
        {"start": 0, "end": 7, "entity_group": "PER", "score": 0.9},
    ],
)
def test_each_form_of_a_span_is_read(span: Any) -> None:
    assert _tags(span) == ["B-PER", "I-PER", *["O"] * 10]


def test_the_tags_are_those_of_the_words_that_split_words_finds() -> None:
    assert _tags([16, 20, "ORG"], [0, 3, "PER"]) == [
        "B-PER", "O", "O", "O", "O", "B-ORG", "I-ORG", "I-ORG", "I-ORG", "O", "O", "O",
    ]  # fmt: skip


def test_neighbours_of_one_type_are_two_spans() -> None:
    assert _tags([0, 3, "PER"], [4, 7, "PER"])[:2] == ["B-PER", "B-PER"]


def test_blanks_at_the_ends_are_left_out_and_told() -> None:
    found = tags_of_spans(TEXT, split_words(TEXT), [[3, 8, "PER"], [0, 3, "PER"]])

    assert found.conflicts == ()
    assert found.trimmed
    assert found.tags[:4] == ("B-PER", "B-PER", "I-PER", "O")


def test_a_span_that_is_written_twice_counts_once() -> None:
    assert _tags([0, 3, "PER"], [0, 3, "PER"])[0] == "B-PER"


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        ([[0, 7, "PER"], [4, 7, "LOC"]], "the span 'Lee', 4 to 7 (LOC) overlaps that of 0 to 7 (PER)"),
        ([[0, 3, "PER"], [0, 3, "LOC"]], "overlaps that of 0 to 3 (PER)"),
        ([[0, 2, "PER"]], "the span 'An', 0 to 2 (PER) ends inside of the word 'Ann'"),
        ([[1, 7, "PER"]], "the span 'nn Lee', 1 to 7 (PER) begins inside of the word 'Ann'"),
        ([[20, 99, "PER"]], "the span 20 to 99 (PER) lies outside of the text, which has 26 characters"),
        ([[-1, 3, "PER"]], "lies outside"),
        ([[7, 3, "PER"]], "lies outside"),
        ([[3, 3, "PER"]], "the span 3 to 3 (PER) is empty"),
        ([[3, 4, "PER"]], "is empty"),
        ([{"from": 0, "to": 3, "label": "PER"}], "a span with the keys from, to, label does not give"),
        ([{"start": 0, "end": 3}], "a span with the keys start, end does not give"),
        ([["0", "3", "PER"]], "does not give"),
        ([[0, 3, ""]], "does not give"),
        ([[0.5, 3, "PER"]], "does not give"),
        ([[0, 3, None]], "does not give"),
        (["PER"], "is no object with start, end and label"),
    ],
)
def test_conflicts_are_told(spans: list[Any], says: str) -> None:
    (conflict,) = _conflicts(*spans)

    assert says in conflict


def test_all_conflicts_of_a_row_are_told() -> None:
    assert len(_conflicts([0, 2, "PER"], [3, 3, "PER"], [0, 99, "PER"])) == 3


def test_lists_of_starts_ends_and_labels_are_spans_as_datasets_keeps_them() -> None:
    kept = {"start": [0, 16], "end": [7, 20], "label": ["PER", "ORG"]}

    assert tags_of_spans(TEXT, split_words(TEXT), kept).tags[:2] == ("B-PER", "I-PER")
    assert holds_spans(kept)


@pytest.mark.parametrize(
    ("value", "expected"),
    [([[0, 3, "a"]], True), ([{"start": 0}], True), (["a", "b"], False), ("a", False), ([0, 1], False), ([], None)],
)
def test_spans_are_told_from_sets_of_labels(value: Any, expected: bool | None) -> None:
    assert holds_spans(value) is expected


@given(st.text(alphabet="ab .,-é", max_size=30), st.data())
def test_spans_of_whole_words_come_back_from_the_tags(text: str, data: st.DataObject) -> None:
    words = split_words(text)
    spans, word = [], 0
    while word < len(words):
        length = data.draw(st.integers(1, 3))
        last = min(len(words), word + length) - 1
        if data.draw(st.booleans()):
            spans.append((words[word][0], words[last][1], data.draw(st.sampled_from(["PER", "LOC"]))))
        word = last + 1

    found = tags_of_spans(text, words, spans)

    assert not found.conflicts
    read: list[tuple[int, int, str]] = []
    for (start, end), tag in zip(words, found.tags, strict=True):
        if tag[0] == "B":
            read.append((start, end, tag[2:]))
        elif tag[0] == "I":
            read[-1] = (read[-1][0], end, tag[2:])
    assert read == spans


EMOJI = "😀😀 Ann Lee ran"  # the span is 3 to 10 in characters, 5 to 12 in UTF-16, 9 to 16 in bytes


@pytest.mark.parametrize(("start", "end", "unit"), [(3, 10, None), (5, 12, "utf-16"), (9, 16, "bytes")])
def test_the_own_text_of_a_span_shows_what_its_offsets_count(start: int, end: int, unit: str | None) -> None:
    span = {"start": start, "end": end, "labels": ["PER"], "text": "Ann Lee"}

    found = tags_of_spans(EMOJI, split_words(EMOJI), [span])

    assert found.tags == ("O", "O", "B-PER", "I-PER", "O")
    assert (found.conflicts, found.counted) == ((), unit)


def test_a_span_whose_own_text_is_another_is_a_conflict() -> None:
    (conflict,) = _conflicts({"start": 0, "end": 3, "label": "PER", "text": "Lee"})
    assert conflict == "the span 0 to 3 (PER) covers 'Ann', but gives 'Lee' as its text"
    assert _tags({"start": 0, "end": 7, "label": "PER", "text": "ann\\nlee"})[:2] == ["B-PER", "I-PER"]


def test_offsets_of_another_unit_are_explained_and_read_on_request() -> None:
    words = split_words(EMOJI)

    (conflict,) = tags_of_spans(EMOJI, words, [[5, 12, "PER"]]).conflicts
    assert (
        "begins inside of the word 'Ann'; counted in UTF-16 units it is 'Ann Lee': if that is meant, give" in conflict
    )
    assert tags_of_spans(EMOJI, words, [[5, 12, "PER"]], "utf-16").tags == ("O", "O", "B-PER", "I-PER", "O")
    assert tags_of_spans(EMOJI, words, [[9, 16, "PER"]], "bytes").tags == ("O", "O", "B-PER", "I-PER", "O")
    (inside,) = tags_of_spans(EMOJI, words, [[1, 12, "PER"]], "utf-16").conflicts
    assert "lies outside of the text" in inside
