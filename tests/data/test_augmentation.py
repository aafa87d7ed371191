"""Rows made of training texts: a function of rows, seed, row and variant; nothing that is held out, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import make_reviews
from pkd.data import augmentation
from pkd.data.augmentation import AUGMENTED, augment_rows, augmented_splits

FILMS = [
    "the plot of this film is thin and its actors are fine",
    "a moving story with a quiet end",
    "I have seen better scenes in a park",
    "nobody laughed",
    "great great great",
]
TEXT = st.text(st.sampled_from("ab好 \nA"), max_size=12)
ROWS = st.one_of(
    st.lists(st.tuples(TEXT), min_size=1, max_size=12),
    st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=12),
    st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=12),
)


def table(rows: Sequence[Sequence[str]]) -> datasets.Dataset:
    """Rows of single texts, pairs, or questions with choices."""
    width = len(rows[0])
    names = {1: ["text"], 2: ["text_a", "text_b"]}.get(width, ["text_a", *(f"choice_{n}" for n in range(width - 1))])
    return datasets.Dataset.from_dict({name: [row[place] for row in rows] for place, name in enumerate(names)})


def made(
    rows: Sequence[Sequence[str]], variants: int = 1, seed: int = 42, held_out: Sequence[Sequence[str]] = ()
) -> list[tuple[int, int, tuple[str, ...]]]:
    """(variant, row from 1, texts) of each row that is made."""
    tables = augment_rows(table(rows), variants, seed, [table(held_out)] if held_out else [])
    found = []
    for variant, chunk in tables:
        *texts, numbers, variants_of_rows = (column.to_pylist() for column in chunk.columns)
        assert set(variants_of_rows) <= {variant}
        found += [(variant, number, tuple(of)) for number, *of in zip(numbers, *texts, strict=True)]
    return found


def same(text: str) -> str:
    """What a reader without upper case and without a mask token may read."""
    return " ".join(text.lower().replace("[mask]", " ").split())


def test_what_is_made_of_these_texts_never_changes() -> None:
    """A stage that is taken up again, on another machine or by a later version, must find the rows that it left."""
    assert made([(text,) for text in FILMS], variants=2) == [
        (1, 1, ("the plot of this film is thin [MASK] its actors are fine",)),
        (1, 2, ("great moving story with a quiet end",)),
        (1, 3, ("I [MASK] seen better scenes in a park",)),
        (1, 4, ("nobody",)),
        (1, 5, ("with great great",)),
        (2, 1, ("the plot of this film is thin actors its actors are fine",)),
        (2, 2, ("a moving story with a quiet and",)),
        (2, 3, ("have seen better scenes in a",)),
        (2, 4, ("nobody moving",)),
        (2, 5, ("great great this",)),
    ]


def test_pairs_and_questions_never_change_either() -> None:
    pairs = [(FILMS[number], FILMS[(number + 2) % 5]) for number in range(4)]
    assert made(pairs) == [
        (1, 1, (FILMS[0], "I have seen better scenes [MASK] a park")),
        (1, 2, ("better scenes in a a moving story with", FILMS[3])),
        (1, 3, (FILMS[2], FILMS[2])),
        (1, 4, (FILMS[3], "film plot of this film is thin and its actors [MASK] fine")),
    ]
    questions = [("who is it ?", "he", "she", "a film"), ("where ?", "in a park", "here", "at the end of it")]
    assert made(questions, variants=2) == [
        (1, 1, ("who is it ?", "he", "she", "a film at the end of it")),
        (1, 2, ("where ?", "in a park", "here here", "at the end of it")),
        (2, 1, ("who is it ?", "he", "she", "here")),
        (2, 2, ("where ?", "in a park", "here", "at the end ? it")),
    ]


def test_more_variants_begin_with_the_same_ones_and_another_seed_makes_others() -> None:
    rows = [(text,) for text, _ in make_reviews(40)]
    three = made(rows, variants=3)
    assert [each for each in three if each[0] < 3] == made(rows, variants=2)
    assert {variant for variant, *_ in three} == {1, 2, 3}
    assert made(rows, seed=43) != made(rows)
    assert len({texts for _, _, texts in three}) == len(three)


def test_what_a_row_becomes_depends_on_no_row_behind_the_first_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "POOL_ROWS", 10)
    rows = [(text,) for text, _ in make_reviews(40)]
    of_all = {number: texts for _, number, texts in made(rows)}
    of_some = {number: texts for _, number, texts in made(rows[:25])}
    assert {number: of_all[number] for number in of_some if number in of_all} == of_some
    strange = [*rows[:25], *((f"strange{number} words{number}",) for number in range(15))]
    words = {word for _, number, (text,) in made(strange) if number <= 25 for word in text.split()}
    assert not any(word.startswith(("strange", "words")) for word in words)


def test_how_many_rows_are_made_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(text,) for text, _ in make_reviews(60)]
    at_once = made(rows, variants=3)
    monkeypatch.setattr(augmentation, "_ROWS_AT_A_TIME", 7)
    assert made(rows, variants=3) == at_once


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS, data=st.data())
def test_nothing_is_made_twice_or_stands_in_the_rows_or_is_held_out(rows: list[Any], data: st.DataObject) -> None:
    freely = made(rows, variants=2)
    wanted = [texts for _, _, texts in freely]
    held_out = data.draw(st.lists(st.sampled_from(wanted), max_size=6)) if wanted else []
    now = [texts for _, _, texts in made(rows, variants=2, held_out=held_out)]
    keys = [tuple(map(same, texts)) for texts in now]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {tuple(map(same, row)) for row in rows}
    assert not set(keys) & {tuple(map(same, row)) for row in held_out}
    assert all(all(key) for key in keys)
    texts_of_rows = {same(text) for row in rows for text in row}
    never = {same(text) for row in held_out for text in row} - texts_of_rows
    assert not never & {text for key in keys for text in key}


def test_a_held_out_text_is_not_made_in_other_capitals_spaces_or_with_a_word_masked() -> None:
    rows = [(text,) for text in FILMS]
    _, number, (text,) = next(each for each in made(rows, variants=8) if "[MASK]" in each[2][0])
    as_read_without_a_mask = f"  {same(text).upper()}\n"
    others = made(rows, variants=8, held_out=[(as_read_without_a_mask,)])
    assert (number, same(text)) not in {(number, same(of)) for _, number, (of,) in others}


def test_of_a_pair_one_side_changes_or_both_are_swapped() -> None:
    reviews = [text for text, _ in make_reviews(80)]
    pairs = list(zip(reviews[:40], reviews[40:], strict=True))
    sides: dict[str, int] = {"a": 0, "b": 0, "swapped": 0, "recombined": 0}
    for _, number, (a, b) in made(pairs, variants=6):
        before = pairs[number - 1]
        if (b, a) == before:
            sides["swapped"] += 1
            continue
        assert (a == before[0]) != (b == before[1])
        side = "a" if b == before[1] else "b"
        sides["recombined" if (a, b)["ab".index(side)] in [pair["ab".index(side)] for pair in pairs] else side] += 1
    assert min(sides.values()) > 15, sides
    held_out = [(b, a) for a, b in pairs]
    assert not {
        pairs[number - 1]
        for _, number, (a, b) in made(pairs, variants=6, held_out=held_out)
        if (b, a) == pairs[number - 1]
    }


def test_of_a_question_one_choice_changes_and_no_two_become_alike() -> None:
    texts = [text for text, _ in make_reviews(160)]
    questions = [(texts[number], *texts[40 + 3 * number : 43 + 3 * number]) for number in range(40)]
    taken = 0
    for _, number, (asked, *choices) in made(questions, variants=4):
        before = questions[number - 1]
        assert asked == before[0]
        changed = [place for place, choice in enumerate(choices) if choice != before[1 + place]]
        assert len(changed) == 1
        assert len(set(choices)) == 3
        taken += choices[changed[0]] in {choice for question in questions for choice in question[1:]}
    assert 40 < taken < 120
    assert not made([("a ?", "yes", "no"), ("b ?", "no", "yes")] * 4) or all(
        len(set(choices)) == 2 for _, _, (_, *choices) in made([("a ?", "yes", "no"), ("b ?", "no", "yes")] * 4)
    )


def test_words_are_masked_or_come_from_the_rows_themselves() -> None:
    rows = [(text,) for text, _ in make_reviews(60)]
    known = {word for (text,) in rows for word in text.split()}
    words = [word for _, _, (text,) in made(rows, variants=4) for word in text.split()]
    assert set(words) - known == {"[MASK]"}
    assert 0.02 < words.count("[MASK]") / len(words) < 0.1


def test_scripts_without_spaces_are_taken_apart_too() -> None:
    rows = [("这部电影的情节很好看",), ("演员的表演不太好看啊",), ("結末がとても良かった",), ("หนังเรื่องนี้สนุกมาก",)]
    changed = made(rows, variants=8)
    assert len(changed) > 24
    assert all(same(text) for _, _, (text,) in changed)
    thai = [text for _, number, (text,) in changed if number == 4]
    assert all(not text.startswith(("ิ", "ี", "ุ", "้", "่")) for text in thai)


def test_line_breaks_and_other_spaces_stay_where_they_are() -> None:
    (text,) = next(
        texts for _, _, texts in made([("one\n\ntwo  three\tfour five six",)], variants=8) if "[MASK]" in texts[0]
    )
    assert "\n\n" in text or "\t" in text or "  " in text


@pytest.mark.parametrize(
    "rows", [[("",)], [("x",)], [("", "")], [("a", "a")], [("?", "a", "b")], [("[MASK]",), ("[MASK] [MASK]",)]]
)
def test_rows_of_which_nothing_can_be_made_have_none(rows: list[Any]) -> None:
    for _, _, texts in made(rows, variants=3):
        assert tuple(map(same, texts)) not in {tuple(map(same, row)) for row in rows}
        assert all(map(same, texts))


def test_each_variant_is_a_split_of_texts_alone() -> None:
    reviews = make_reviews(30)
    train = table([(text,) for text, _ in reviews]).add_column("label", [0] * 30)
    splits = dict(augmented_splits({"train": train, "test": train.select(range(3))}, 2, 42))
    assert list(splits) == [AUGMENTED.format(1), AUGMENTED.format(2)]
    assert [rows.column_names for rows in splits.values()] == [["text"], ["text"]]
    texts = [text for rows in splits.values() for text in rows["text"]]
    assert texts == [text for _, _, (text,) in made([(text,) for text, _ in reviews], variants=2)]
    assert dict(augmented_splits({"train": train}, 0, 42)) == {}
    nothing = dict(augmented_splits({"train": table([("",)])}, 2, 42))
    assert [len(rows) for rows in nothing.values()] == [0, 0]
