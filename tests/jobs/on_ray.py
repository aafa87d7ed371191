"""Trains three things on a Ray that starts at the second attempt, ends it, and prints how each ended: a script."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path

import ray
from ray._private.worker import global_worker

from pkd import progress
from pkd.errors import DivergedError
from pkd.jobs.cluster import Outcome, Report, ray_started, resources_of, train_on_ray
from pkd.recipe.settings import SweepSettings


class Notes(progress.Watcher):
    """Keeps what is noted; once Ray has failed to start, mends its folder, in which another cluster is on record then."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def noted(self, message: str, level: str) -> None:
        self.kept.append(message)
        if "Ray did not start" in message:
            folder = Path(os.environ["RAY_TMPDIR"], "ray")
            folder.unlink()
            folder.mkdir()
            (folder / "ray_current_cluster").write_text("127.0.0.1:1")  # as `ray start` leaves it


class Knot:
    """A reference to an object of Ray's that only the collector of cycles frees."""

    def __init__(self) -> None:
        self.itself = self
        self.reference = ray.put("an object")


def train(number: int, report: Report) -> float:
    if number == 0 and sys.platform != "win32" and os.nice(0) != int(os.environ["PRIORITY"]):
        raise AssertionError(f"a training has the priority {os.nice(0)}")
    for epoch in (1, 2):
        report(number + epoch / 10, epoch)
    if number == 1:
        raise DivergedError("The loss is not finite.")
    if number == 2:
        raise ValueError("no such shape")
    return number + 0.3


def collect_as_ray_ends() -> None:
    """Allocate while Ray's C++ code ends, as any thread of the process may, so that garbage is collected in this one."""
    while hasattr(global_worker, "gcs_client"):
        pass
    gc.set_threshold(10)
    kept = []
    while hasattr(global_worker, "core_worker"):
        kept.append([[] for _ in range(100)])
        del kept[:-10]


def main() -> None:
    ended: dict[int, Outcome] = {}
    Path(os.environ["RAY_TMPDIR"], "ray").write_text("not a folder")
    with progress.watch(notes := Notes()), ray_started(), progress.stage("search", 3, "shapes") as stage:
        resources, slots = resources_of(SweepSettings(), "cpu")
        train_on_ray(
            train, [3, 3, 3], resources, Path(sys.argv[1]), stage, lambda one: ended.update({one.number: one}),
            early_stopping=False,
        )  # fmt: skip
        gc.set_threshold(1_000_000)
        for _ in range(10):
            Knot()
        threading.Thread(target=collect_as_ray_ends, daemon=True).start()
    outcomes = [[one.status, one.scores, one.why] for _, one in sorted(ended.items())]
    print(
        json.dumps(
            {"notes": notes.kept, "slots": slots, "done": stage.done, "outcomes": outcomes, "collects": gc.isenabled()}
        )
    )


if __name__ == "__main__":
    main()
