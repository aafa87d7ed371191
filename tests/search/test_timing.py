from __future__ import annotations

import numpy as np
import pytest

from conftest import make_tokenizer
from pkd.search.timing import Timed, figures_of, latency_of, time_in_rounds, typical
from pkd.serving.speed import Cell, Times, Work
from pkd.serving.texts import Batch, TextEncoder, backend_of


def encoder() -> TextEncoder:
    return TextEncoder(backend_of(make_tokenizer()), 32)


def rounds(*singles: list[float], rate: float = 100.0) -> list[Times]:
    return [Times(singles=each, cells={Cell(1, 0): [rate], Cell(8, 0): [3 * rate]}) for each in singles]


def test_figures_are_the_median_and_the_95th_percentile_over_all_rounds_in_milliseconds() -> None:
    graph = rounds([0.001, 0.002, 0.003], [0.002, 0.003, 0.100])
    found = figures_of(graph, rounds([0.025], [0.025]), 1234, 0.95)
    assert found.latency.value == pytest.approx(2.5)
    assert found.p95.value == pytest.approx(1000 * np.percentile([0.001, 0.002, 0.003, 0.002, 0.003, 0.1], 95))
    assert found.speed_up is not None
    assert found.speed_up.value == pytest.approx(10)
    assert found.throughput is not None
    assert (found.throughput.value, found.batch) == (300, 8)
    assert (found.bytes, found.call) == (1234, None)


def test_the_interval_is_as_wide_as_the_rounds_differ() -> None:
    same = latency_of(rounds(*[[0.002] * 5] * 7), 0.95)
    assert (same.low, same.value, same.high) == pytest.approx((2.0, 2.0, 2.0))
    one_disturbed = latency_of(rounds(*[[0.002] * 5] * 6, [0.009] * 5), 0.95)
    assert one_disturbed.value == pytest.approx(2.0)
    half = latency_of(rounds(*[[0.002] * 5] * 4, *[[0.009] * 5] * 3), 0.95)
    assert (half.low, half.high) == pytest.approx((2.0, 9.0))


def test_of_several_lengths_the_slowest_one_decides_the_throughput() -> None:
    def each(number: int) -> Times:
        return Times(singles=[0.001], cells={Cell(1, 16): [90.0 + number], Cell(8, 16): [50.0], Cell(1, 64): [20.0],
                                             Cell(8, 64): [30.0]})  # fmt: skip

    found = figures_of([each(number) for number in range(3)], rounds(*[[0.01]] * 3), 1, 0.95)
    assert found.throughput is not None
    assert (found.throughput.value, found.batch) == (30, 8)


def test_typical_texts_are_spread_over_the_lengths_and_so_is_every_beginning() -> None:
    texts = [" ".join(["film"] * (1 + number % 24)) for number in range(240)]
    chosen = [len(text.split()) for text in typical(texts, encoder())]
    assert len(chosen) == 64
    assert np.median(chosen) == pytest.approx(np.median([len(text.split()) for text in texts]), abs=1)
    for begin in (4, 8, 16, 32):
        assert np.mean(chosen[:begin]) == pytest.approx(12.5, abs=3.5)


def test_few_texts_come_again_and_given_lengths_take_their_place() -> None:
    read: list[int] = []

    def forward(batch: Batch) -> object:
        read.append(batch["input_ids"].shape[1])
        return None

    work = Timed(["film", "film film film"], (), (), 1).work(forward, encoder())
    for call in work.singles:
        call()
    assert read == [3, 5] * 32
    read.clear()
    work = Timed(["film"], (8, 16), (4,), 1).work(forward, encoder())
    for call in work.singles:
        call()
    assert read == [8, 16] * 32
    assert list(work.cells) == [Cell(4, 8), Cell(4, 16)]


def test_rounds_of_an_earlier_call_are_not_repeated() -> None:
    calls: list[int] = []
    works = {"graph": Work(rows=0, all_rows=(), singles=[lambda: calls.append(1)] * 4)}
    kept: list[int] = []
    before = [{"graph": Times(singles=[0.5])}] * 2
    done = time_in_rounds(works, "time", rounds=3, before=before, on_round=lambda so_far: kept.append(len(so_far)))
    assert [len(each["graph"].singles) for each in done] == [1, 1, 4]
    assert kept == [3]
    calls.clear()
    assert time_in_rounds(works, "time", rounds=2, before=done) == done[:2]
    assert calls == []
