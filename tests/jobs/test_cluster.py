"""Ray trains whatever it is given, tells how each ended, and its end or its failing start leaves the process whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pkd.errors import ResourceError
from pkd.jobs.cluster import ray_started, require_ray


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a process that used Ray and ended it says, and its folder."""
    scratch = tmp_path_factory.mktemp("on_ray") / "scratch"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory(prefix="r") as short:  # a socket's path has room for about a hundred letters
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("on_ray.py")), str(scratch)],
            capture_output=True, text=True, timeout=400, check=False, env=environment | {"RAY_TMPDIR": short, "PRIORITY": str(os.nice(0))},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr  # Ray's C++ code exits with 1 and says nothing
    return json.loads(done.stdout.splitlines()[-1]) | {"scratch": scratch}


@pytest.mark.slow
def test_every_training_ends_once_with_its_scores_or_with_why_it_has_none(told: Any) -> None:
    """The first fails if it has not the priority of the process that asked for it."""
    assert told["slots"] >= 1
    assert told["done"] == 3
    done, diverged, failed = told["outcomes"]
    assert [one[0] for one in (done, diverged, failed)] == ["done", "diverged", "failed"]
    assert done[1] == pytest.approx([0.1, 0.2])
    assert [one[2] for one in (done, diverged, failed)] == [
        None,
        "The loss is not finite.",
        "ValueError: no such shape",
    ]
    assert not told["scratch"].exists()


@pytest.mark.slow
def test_garbage_that_is_collected_as_ray_ends_does_not_end_the_process(told: Any) -> None:
    assert told["collects"]  # the fixture has seen the process go on


@pytest.mark.slow
def test_a_start_that_fails_is_tried_again_and_joins_no_cluster_that_happens_to_be_here(told: Any) -> None:
    assert len([note for note in told["notes"] if note.startswith("Ray did not start (")]) == 1


def test_ray_that_cannot_start_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_ray()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").write_text("a file where Ray's folder should be")
    words = r"did not start on this machine, in 3 attempts: .*ray'\. End .*RAY_ADDRESS"
    with pytest.raises(ResourceError, match=words), ray_started():
        raise AssertionError("it started")
    assert not [name for name in os.environ if name.startswith("RAY_health_check")]  # for Ray's processes alone
