"""Which training rows choose, where nobody named development rows: the same wherever the same texts are read."""

from __future__ import annotations

import datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from pkd.data.hold_out import MOST_ROWS, hold_out


def parts(texts: list[str], seed: int = 42) -> tuple[list[str], list[str]]:
    both = hold_out(datasets.Dataset.from_dict({"text": texts}), seed)
    return (texts, []) if both is None else (list(both[0]["text"]), list(both[1]["text"]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=3), min_size=1, max_size=60), st.integers(0, 5))
def test_every_row_is_in_one_part_in_its_order_and_no_text_in_both(texts: list[str], seed: int) -> None:
    train, held = parts(texts, seed)
    assert sorted([*train, *held]) == sorted(texts)
    assert not {text.strip() for text in train} & {text.strip() for text in held}
    assert len(held) <= len(texts) // 10
    assert [text for text in texts if text in set(held)] == held
    assert train


def test_a_tenth_is_held_out_and_never_more_than_a_thousand() -> None:
    assert [len(parts([f"text {row}" for row in range(rows)])[1]) for rows in (9, 15, 160, 20_000)] == [
        0, 1, 16, MOST_ROWS,
    ]  # fmt: skip
    assert parts(["one text"] * 40) == (["one text"] * 40, [])


def test_seed_and_texts_choose_them_whatever_order_they_stand_in() -> None:
    texts = [f"text {row}" for row in range(300)]
    held = set(parts(texts)[1])
    assert set(parts(texts[::-1])[1]) == held
    assert set(parts(texts, seed=43)[1]) != held


def test_pairs_are_held_out_by_both_texts() -> None:
    rows = datasets.Dataset.from_dict({"text_a": ["same"] * 40, "text_b": [f"b {row}" for row in range(40)]})
    both = hold_out(rows, 0)
    assert both is not None
    assert len(both[1]) == 4
