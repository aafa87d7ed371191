"""One name in several spellings, and names that look alike and are not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkd.data.match_names import lookalikes, match_names, plain, visible


@given(st.text(), st.sampled_from(["NFC", "NFD"]))
def test_a_name_is_the_same_in_every_unicode_form(name: str, form: str) -> None:
    assert plain(unicodedata.normalize(form, name)) == plain(name)
    assert plain(plain(name)) == plain(name)


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u3000", "\u202f", "  ", "\t"])
def test_a_space_is_a_space(space: str) -> None:
    assert match_names([f"not{space}spam{space}"], ["spam", "not spam"]) == {f"not{space}spam{space}": 1}


def test_the_spelling_of_a_name_wins_over_everything_that_is_near_to_it() -> None:
    names = ["Ku\u0308che", "K\u00fcche", "küche", "spam", "SPAM"]
    assert match_names(names, names) == {name: index for index, name in enumerate(names)}
    assert match_names(["KÜCHE", "Spam"], names) == {}  # could be two of them


def test_numbers_in_another_spelling_are_matched_where_neither_side_has_two() -> None:
    assert match_names(["1.0", "+2", 3], ["1", "2", "3"]) == {"1.0": 0, "+2": 1, 3: 2}
    assert match_names(["1", "1.0"], ["1"]) == {"1": 0}
    assert match_names(["3"], ["3.0", "3.00"]) == {}
    assert match_names(["2.1", "2.10", "007", "1e3"], ["2.1", "7", "1000"]) == {"2.1": 0}


@pytest.mark.parametrize(
    ("label", "character"),
    [
        ("sp\u200bam", "ZERO WIDTH SPACE (U+200B) after 'sp'"),
        ("spam\u00ad", "SOFT HYPHEN (U+00AD) after 'spam'"),
        ("\ufeffspam", "ZERO WIDTH NO-BREAK SPACE (U+FEFF) at its beginning"),
        ("\uff53pam", "FULLWIDTH LATIN SMALL LETTER S (U+FF53)"),
        ("sp\u0430m", "CYRILLIC SMALL LETTER A (U+0430)"),
    ],
)
def test_the_character_that_tells_two_names_apart_is_named(label: str, character: str) -> None:
    assert match_names([label], ["ham", "spam"]) == {}
    (sentence,) = lookalikes([label], ["ham", "spam"])
    assert character in sentence
    assert "looks like 'spam'" in sentence
    assert len(lookalikes(["spam", label], ["spam", label])) == 1
    (other_way,) = lookalikes(["spam"], [label])
    assert f"the other has {character}" in other_way


def test_names_that_one_can_tell_apart_are_no_lookalikes() -> None:
    names = ["spam", "ham", "Spam", "spam ", "spin", "eggs", "müsli", "kot", "кот", "ä 1", "ä 2"]
    assert lookalikes(names, names) == []


def test_invisible_characters_are_written_out() -> None:
    assert visible("sp\u200bam") == r"'sp\u200bam'"
    assert visible("Küche 1") == "'Küche 1'"
