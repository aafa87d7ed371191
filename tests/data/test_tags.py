"""Schemes of tags: recognised, checked, and brought to IOB2; each worked by hand on the same spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkd.data.tags import PLAIN, Scheme, classes_in_iob2, faults, ordered_names, recognise, tag_continuations, to_iob2
from pkd.errors import DataError

# Ann Lee | Bo (two persons side by side), likes, Rome: the words Ann Lee Bo likes Rome
IOB2 = ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]
WRITTEN = {
    "IOB2": IOB2,
    "IOB1": ["I-PER", "I-PER", "B-PER", "O", "I-LOC"],
    "IOBES": ["B-PER", "E-PER", "S-PER", "O", "S-LOC"],
    "BIOLU": ["B-PER", "L-PER", "U-PER", "O", "U-LOC"],
    "BMEWO": ["B-PER", "E-PER", "W-PER", "O", "W-LOC"],
    "BMES": ["B-PER", "M-PER", "E-PER", "S-PER", "O", "S-LOC"],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_each_scheme_is_recognised_and_becomes_the_same_iob2(name: str) -> None:
    tags = WRITTEN[name]

    scheme = recognise([tags, ["O"]], "a.conll")

    if name == "BMEWO":  # without M these letters, B, E and W, are of one scheme alone
        assert "M" not in "".join(tags)
    assert scheme.name == name
    assert list(faults([tags], scheme)) == []
    assert to_iob2(tags, scheme) == (IOB2 if name != "BMES" else ["B-PER", "I-PER", *IOB2[1:]])


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["B_PER", "I_PER", "O"], ["B-PER", "I-PER", "O"]),
        (["B:PER", "I:PER", "O"], ["B-PER", "I-PER", "O"]),
        (["PER-B", "PER-I", "O"], ["B-PER", "I-PER", "O"]),
        (["PER_B", "PER_I", "O", "creative_work_B"], ["B-PER", "I-PER", "O", "B-creative_work"]),
        (["B-creative-work", "I-creative-work"], ["B-creative-work", "I-creative-work"]),
        (["B", "I", "O", "B"], ["B-SPAN", "I-SPAN", "O", "B-SPAN"]),
        (["b-PER", "i-PER", "o"], ["B-PER", "I-PER", "O"]),
    ],
)
def test_other_spellings_of_a_tag_become_iob2(tags: list[str], expected: list[str]) -> None:
    scheme = recognise([tags], "a.conll")

    assert not list(faults([tags], scheme))
    assert to_iob2(tags, scheme) == expected


@pytest.mark.parametrize(
    "tags", [["DET", "NOUN", "X"], ["NN", "-LRB-", "VBZ", "PRP$"], ["PER", "O"], ["S", "NP"], ["nsubj:pass", "S:pass"]]
)
def test_tags_that_mark_no_spans_stay_as_they_are(tags: list[str]) -> None:
    assert recognise([tags], "a.conll") is PLAIN
    assert to_iob2(tags, PLAIN) == tags


@pytest.mark.parametrize(
    ("tags", "scheme", "words", "says"),
    [
        (["O", "I-PER", "I-PER"], "IOB2", [1], "'I-PER' stands after 'O', but a span begins with 'B-PER'"),
        (["I-PER"], "IOB2", [0], "at the beginning of the sentence"),
        (["B-PER", "I-LOC", "O", "I-LOC"], "IOB2", [1, 3], "'I-LOC' stands after 'B-PER'"),
        (["O", "B-PER"], "IOB1", [1], "'B-PER' stands after 'O', but in IOB1 it separates"),
        (["B-PER", "O"], "IOBES", [1], "'O' follows 'B-PER', but a span ends with 'E-PER'"),
        (["O", "I-PER", "E-PER"], "IOBES", [1], "'I-PER' stands after 'O'"),
        (["S-PER", "E-PER"], "IOBES", [1], "'E-PER' stands after 'S-PER'"),
        (["B-PER", "S-PER"], "IOBES", [1], "'S-PER' follows 'B-PER'"),
        (["B-PER", "E-LOC"], "IOBES", [1], "'E-LOC' follows 'B-PER'"),
        (["O", "B-PER"], "IOBES", [1], "the sentence ends after 'B-PER'"),
        (["U-PER", "L-PER"], "BIOLU", [1], "a span begins with 'B-PER'"),
        (["B-PER", "O"], "BIOLU", [1], "ends with 'L-PER', one of a single word is 'U-PER'"),
        (["B-PER", "PER", "O"], "IOB2", [1], "'PER' is no tag of IOB2"),
    ],
)
def test_a_tag_that_cannot_be_is_found_at_its_word(tags: list[str], scheme: str, words: list[int], says: str) -> None:
    found = list(faults([tags], Scheme(scheme)))

    assert [fault.word for fault in found] == words
    assert says in found[0].message


def test_one_wrong_tag_among_iob2_does_not_make_it_iob1() -> None:
    assert recognise([["B-PER", "I-PER"], ["O", "I-LOC"]], "a.conll").name == "IOB2"


def test_letters_of_no_scheme_and_brackets_are_refused() -> None:
    with pytest.raises(DataError, match=r"a.conll: the tags begin with B, E, L"):
        recognise([["B-PER", "L-PER", "E-PER"]], "a.conll")
    with pytest.raises(DataError, match=r"a.conll: the tags are brackets, as OntoNotes writes spans"):
        recognise([["(PERSON*", "*)", "*"]], "a.conll")


def test_a_further_part_of_a_word_continues_its_span() -> None:
    assert tag_continuations(("O", "B-LOC", "I-LOC", "B-PER", "NOUN")) == [0, 2, 2, 3, 4]


def test_classes_are_outside_then_pairs_by_type_even_if_half_of_one_is_missing() -> None:
    assert ordered_names(["I-PER", "O", "B-LOC", "B-PER"]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert ordered_names(["VERB", "NOUN"]) == ("NOUN", "VERB")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("O", "B-PER", "I-PER"), ("O", "B-PER", "I-PER")),
        (("B", "I", "O"), ("B-SPAN", "I-SPAN", "O")),
        (("PER-B", "PER-I", "O"), ("B-PER", "I-PER", "O")),
        (("O", "b_PER", "i_PER"), ("O", "B-PER", "I-PER")),
        (("o", "b-per", "i-per"), ("O", "B-per", "I-per")),
        (("O", "I-PER", "[SEP]"), ("O", "I-PER", "[SEP]")),
        (("NOUN", "VERB"), ("NOUN", "VERB")),
        (("O", "B-PER", "E-PER", "I-PER", "S-PER"), None),
        (("O", "B-PER", "L-PER", "I-PER", "U-PER"), None),
    ],
)
def test_the_classes_of_a_classifier_are_spelled_as_the_rows_are(
    names: tuple[str, ...], expected: tuple[str, ...] | None
) -> None:
    assert classes_in_iob2(names) == expected


Span = tuple[int, int, str]


@st.composite
def _spans(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """A sentence's number of words and the spans in it."""
    spans, words = [], 0
    for gap, length, type in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["PER", "LOC", "a-b"])), max_size=5)
    ):
        spans.append((words + gap, words + gap + length, type))
        words += gap + length
    return words + draw(st.integers(0, 2)), spans


def _write(words: int, spans: list[Span], name: str) -> list[str]:
    """The tags of spans, written without the code under test."""
    tags = ["O"] * words
    for start, end, type in spans:
        adjacent = any(other_end == start and of == type for _, other_end, of in spans)
        inside = "M" if name in ("BMEWO", "BMES") else "I"
        last, single = {"IOBES": "ES", "BIOLU": "LU", "BMEWO": "EW", "BMES": "ES"}.get(name, "IB")
        for word in range(start, end):
            letter = inside
            if word == start:
                letter = single if end - start == 1 else "B"
                if name == "IOB1":
                    letter = "B" if adjacent else "I"
            elif word == end - 1:
                letter = last
            tags[word] = f"{letter}-{type}"
    return tags


def _read(tags: list[str]) -> list[Span]:
    """The spans of tags in IOB2."""
    spans: list[Span] = []
    for word, tag in enumerate(tags):
        if tag[0] == "B":
            spans.append((word, word + 1, tag[2:]))
        elif tag[0] == "I":
            spans[-1] = (spans[-1][0], word + 1, tag[2:])
    return spans


@given(_spans(), st.sampled_from(["IOB1", "IOB2", "IOBES", "BIOLU", "BMEWO", "BMES"]))
def test_spans_survive_the_way_to_iob2_from_every_scheme(sentence: tuple[int, list[Span]], name: str) -> None:
    words, spans = sentence
    tags = _write(words, spans, name)

    assert not list(faults([tags], Scheme(name)))
    assert _read(to_iob2(tags, Scheme(name))) == spans


@given(st.lists(_spans(), min_size=1, max_size=5), st.sampled_from(["IOB2", "IOBES", "BIOLU"]))
def test_a_file_is_read_with_the_spans_that_it_was_written_with(
    sentences: list[tuple[int, list[Span]]], name: str
) -> None:
    """Whatever scheme is recognised: a file without the rarer tags may be of several, with the same spans."""
    rows = [_write(words, spans, name) for words, spans in sentences]

    scheme = recognise(rows, "a.conll")

    assert not list(faults(rows, scheme))
    if not scheme.is_plain:
        assert [_read(to_iob2(row, scheme)) for row in rows] == [spans for _, spans in sentences]
