from functools import partial
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkd.data.batches_by_length import round_up
from pkd.data.batching import (
    STAND_IN,
    Collator,
    LengthGroupedBatches,
    TokenRows,
    first_batches,
    grouped_order,
    has_unlabelled,
    is_labelled,
    stand_in,
)


@given(st.lists(st.integers(1, 128), max_size=300), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_an_epoch_meets_every_row_once_in_an_order_of_seed_and_epoch_alone(
    lengths: list[int], batch: int, seed: int, epoch: int
) -> None:
    array = np.asarray(lengths, dtype=np.int64)
    order = grouped_order(array, batch, seed, epoch)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    np.testing.assert_array_equal(order, grouped_order(array, batch, seed, epoch))


@given(st.integers(1, 400), st.integers(1, 6), st.integers(1, 3), st.integers(1, 9), st.integers(0, 5))
def test_the_batches_that_a_training_begins_with_are_known_from_the_lengths_of_few_rows(
    rows: int, batch_size: int, accumulation: int, most: int, seed: int
) -> None:
    lengths = np.random.default_rng(7).integers(1, 30, rows)
    asked: set[int] = set()

    def lengths_of(picked: np.ndarray) -> np.ndarray:
        asked.update(picked.tolist())
        return lengths[picked]

    first = first_batches(rows, lengths_of, batch_size, seed, accumulation=accumulation, most=most)
    expected = list(LengthGroupedBatches(lengths, batch_size, seed, accumulation=accumulation))[:most]
    assert [batch.tolist() for batch in first] == expected
    assert len(asked) <= -(-most // accumulation) * 50 * batch_size * accumulation


def test_batches_hold_rows_of_like_length_and_their_order_tells_no_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, size=3200)
    batches = lengths[grouped_order(lengths, 32, seed=1, epoch=0)].reshape(-1, 32)
    padding = 1 - batches.sum() / (batches.max(axis=1) * 32).sum()
    assert padding < 0.05
    means = batches.mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    batches = LengthGroupedBatches(np.arange(200), 8, seed=1)
    first = list(batches)
    batches.set_epoch(1)
    assert list(batches) != first
    assert list(LengthGroupedBatches(np.arange(200), 8, seed=2)) != first
    assert len(batches) == 25


def test_a_batch_is_padded_on_the_right_and_a_missing_label_is_ignored() -> None:
    rows = datasets.Dataset.from_dict(
        {"input_ids": [[2, 7, 3], [2, 3]], "token_type_ids": [[0, 1, 1], [0, 0]], "length": [3, 2], "label": [1, None]}
    )
    batch = Collator(pad_token_id=9, round_length=partial(round_up, multiple=4))(TokenRows(rows).__getitems__([1, 0]))
    assert batch["input_ids"].tolist() == [[2, 3, 9, 9], [2, 7, 3, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0], [0, 1, 1, 0]]
    assert batch["labels"].tolist() == [-100, 1]


@pytest.mark.parametrize(
    ("label", "width"),
    [
        (datasets.Value("int64"), ()),
        (datasets.Value("float32"), ()),
        (datasets.Sequence(datasets.Value("float32"), length=3), (3,)),
    ],
)
def test_a_batch_may_have_no_label_at_all(label: Any, width: tuple[int, ...]) -> None:
    features = datasets.Features(
        {"input_ids": datasets.Sequence(datasets.Value("int32")), "length": datasets.Value("int64"), "label": label}
    )
    rows = datasets.Dataset.from_dict(
        {"input_ids": [[1, 2], [3]], "length": [2, 1], "label": [None, None]}, features=features
    )
    batch = Collator(pad_token_id=0)(TokenRows(rows).__getitems__([0, 1]))
    assert batch["labels"].shape == (2, *width)
    assert not is_labelled(batch["labels"]).any()


def test_a_row_has_no_label_where_that_is_null_or_negative_and_only_chosen_rows_count() -> None:
    rows = datasets.Dataset.from_dict({"label": [1, 0, None, -100]})
    assert [has_unlabelled(rows.select([0, 1, other])) for other in (0, 2, 3)] == [False, True, True]
    assert has_unlabelled(datasets.Dataset.from_dict({"label": [0.5, None]}))
    assert has_unlabelled(rows.rename_column("label", "class"))
    assert not has_unlabelled(rows.select([]))


@given(st.integers(1, 70), st.integers(1, 4), st.integers(1, 5))
def test_the_ranks_together_have_the_batches_of_one_process_and_no_row_counts_twice(
    rows: int, ranks: int, batch_size: int
) -> None:
    lengths = np.arange(rows) % 7 + 1
    alone = list(LengthGroupedBatches(lengths, batch_size * ranks, seed=3))
    shares = [
        list(LengthGroupedBatches(lengths, batch_size * ranks, seed=3, rank=rank, ranks=ranks)) for rank in range(ranks)
    ]
    for step, whole in enumerate(alone):
        parts = [share[step] for share in shares]
        assert all(parts)
        assert [row for part in parts for row in part if row >= 0] == whole
        assert max(len(part) for part in parts) <= batch_size
    assert {len(share) for share in shares} == {len(alone)}


@given(st.integers(1, 90), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3))
def test_a_step_has_the_same_rows_however_it_is_cut(
    rows: int, batch_size: int, ranks: int, accumulation: int, epoch: int
) -> None:
    lengths = np.random.default_rng(rows).integers(3, 60, rows)

    def steps(batch_size: int, **cut: int) -> list[set[int]]:
        batches = LengthGroupedBatches(lengths, batch_size, seed=3, **cut)
        batches.set_epoch(epoch)
        accumulation, listed = cut.get("accumulation", 1), list(batches)
        return [
            {row for batch in listed[begin : begin + accumulation] for row in batch if row >= 0}
            for begin in range(0, len(listed), accumulation)
        ]

    whole = steps(batch_size * ranks * accumulation)
    shares = [steps(batch_size * ranks, rank=rank, ranks=ranks, accumulation=accumulation) for rank in range(ranks)]
    assert [set.union(*parts) for parts in zip(*shares, strict=True)] == whole


def test_the_batches_of_a_step_are_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, size=3200)
    batches = [lengths[rows] for rows in LengthGroupedBatches(lengths, 8, seed=1, accumulation=4)]
    assert 1 - sum(batch.sum() for batch in batches) / sum(8 * batch.max() for batch in batches) < 0.05


def test_a_stand_in_is_a_row_that_is_marked_as_not_counting() -> None:
    rows = TokenRows(datasets.Dataset.from_dict({"input_ids": [[2, 7, 3], [2, 3]], "length": [3, 2]}))
    batch = Collator(pad_token_id=0)(rows.__getitems__([stand_in(1)]))
    assert (batch["input_ids"].tolist(), batch[STAND_IN].tolist()) == ([[2, 3]], [True])
    assert STAND_IN not in Collator(pad_token_id=0)(rows.__getitems__([1]))
