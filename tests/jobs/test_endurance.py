"""Ten kills of a whole job: a hundred are `python -m benchmarks.endurance --kills 100` (docs/reliability.md)."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_window_opens_at_a_function_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    for window in importlib.import_module("benchmarks.killing").WINDOWS:
        module, _, attribute = window.target.partition(":")
        assert callable(reduce(getattr, attribute.split("."), importlib.import_module(module))), window.name


@pytest.mark.slow
def test_a_job_killed_ten_times_ends_with_the_bits_of_one_that_never_was(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.endurance", "--kills", "10", "--fork", "--place", str(tmp_path / "place")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    told = json.loads(done.stdout)
    assert told["differences"] == []
    assert (told["kills"], told["aimed"]) == (10, 7)
    assert told["steps"] <= told["steps_allowed"]
