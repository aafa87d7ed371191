from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pkd.reporting.speeds import Latency, SpeedRecord, Throughput, load_sentence, rounds_disagree, speed_doubts
from pkd.reporting.terminal import print_speeds


def record(name: str, faster: list[float], at_batches: list[float], **changes: Any) -> SpeedRecord:
    values: dict[str, Any] = {
        "name": name, "runtime": "torch", "layers": 2, "embeddings": 1, "layer_parameters": 2, "head": 1, "parameters": 4,
        "bytes": 16, "peak_memory_bytes": None, "rows": 8, "on": "test.csv", "device": "cpu", "threads": 2,
        "cpu_shares": [0.99] * len(faster), "seconds": [1.0 / each for each in faster],
        "latency": Latency.of([0.1], [0.1]), "smaller": 1.0, "faster": faster,
        "throughput": [Throughput(batch=8, length=None, rows_per_second=at_batches, faster=at_batches)],
    }  # fmt: skip
    return SpeedRecord(**{**values, **changes})


FIRST = record("teacher", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0])


def test_rounds_that_agree_on_an_idle_machine_leave_no_doubt() -> None:
    assert speed_doubts([FIRST, record("student", [2.0, 2.1, 2.4], [2.0, 2.0, 2.2])]) == []


@pytest.mark.parametrize(("ratios", "apart"), [([2.0, 2.6], False), ([2.0, 2.61], True), ([36.8], False)])
def test_rounds_disagree_where_the_largest_ratio_is_far_from_the_smallest(ratios: list[float], apart: bool) -> None:
    assert rounds_disagree(ratios) is apart


def test_rounds_that_disagree_are_told_with_what_they_were_measured_at() -> None:
    (doubt,) = speed_doubts([FIRST, record("student", [1.9, 36.8, 2.0], [2.0, 2.0, 2.0])])
    assert doubt.startswith("The rounds disagree how student compares with teacher: 1.9 to 37× at all rows. ")
    (doubt,) = speed_doubts([FIRST, record("student", [2.0, 2.0, 2.0], [1.0, 9.0, 2.0])])
    assert "1 to 9× at batches of 8 texts" in doubt


def test_a_busy_machine_is_told_above_what_it_spoils(capsys: pytest.CaptureFixture[str]) -> None:
    busy = {"cpu_shares": [0.97, 0.52, 0.6]}
    records = [
        FIRST.model_copy(update=busy),
        record("student", [36.8, 36.8, 36.8], [2.0, 2.0, 2.0], **busy),
    ]
    print_speeds(records, Console(file=(told := io.StringIO())))
    text = " ".join(told.getvalue().split())
    assert "this process got 52 to 97 % of 2 cores. Seconds and ratios do not hold beside another job" in text
    assert text.index("36.80×") < text.index("Something else uses this machine") < text.index("on disk")


def test_the_load_is_told_of_one_core_and_not_where_it_is_not_known() -> None:
    assert load_sentence([], 2) == load_sentence([0.9], 2) == ""
    assert load_sentence([0.5], 1) == "Something else uses this machine: this process got 50 % of 1 core."
