"""Ten kills of a whole job: a hundred are `python -m benchmarks.endurance --kills 100` (docs/reliability.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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
