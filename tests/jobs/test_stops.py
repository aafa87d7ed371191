"""A stop in any phase of a job ends it alike: by `Stopped`, and with a sentence that promises what the next call keeps."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pkd
from pkd import progress
from pkd.errors import Stopped
from pkd.recipe.reading import recipe_from

TRAINING = {"num_train_epochs": 1, "learning_rate": 1e-3, "per_device_train_batch_size": 40, "precision": "float32"}


class Stops(progress.Watcher):
    """Asks for a stop at the so many-th stage or note, and keeps what was told."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.stopped_in = ""
        self.notes: list[str] = []
        self.ended: list[tuple[str, bool]] = []

    def _count(self, stage: str = "") -> None:
        self.at -= 1
        if self.at == 0:
            self.stopped_in = stage
            progress.request_stop(75)

    def stage_began(self, stage: Any) -> None:
        self._count(stage.name)

    def stage_ended(self, stage: Any) -> None:
        self.ended.append((stage.name, stage.failed))

    def noted(self, message: str, level: str) -> None:
        self.notes.append(message)
        self._count()


@pytest.fixture(autouse=True)
def _no_stop_is_left() -> Iterator[None]:
    yield
    progress.clear_stop()


def finetune(workspace: Path, folder: Path) -> None:
    pkd.finetune(
        model=str(workspace / "teacher"), train=str(workspace / "train.csv"), eval=str(workspace / "dev.csv"),
        output=str(folder / "tuned"), max_length=32, **TRAINING,
    )  # fmt: skip


def run(workspace: Path, folder: Path) -> None:
    given = {
        "output": str(folder / "run"),
        "teacher": {"model": str(workspace / "teacher"), "finetune": TRAINING},
        "data": {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32},
        "training": TRAINING,
        "students": [{"layers": 2}],
        "controls": False,
        "evaluation": {"resamples": 20},
    }
    pkd.run(recipe_from(given, where="test"))


def distill(workspace: Path, folder: Path) -> None:
    pkd.distill(
        teacher=str(workspace / "teacher"), train=str(workspace / "train.csv"), eval=str(workspace / "dev.csv"),
        output=str(folder / "student"), layers=2, max_length=32, augment=1, resamples=20, **TRAINING,
    )  # fmt: skip


def evaluate(workspace: Path, folder: Path) -> None:
    if not (folder / "other").exists():
        shutil.copytree(workspace / "teacher", folder / "other")
    models = [str(workspace / "teacher"), str(folder / "other")]
    pkd.evaluate(models, test=str(workspace / "test.csv"), max_length=32, resamples=20)


def speed(workspace: Path, folder: Path) -> None:
    pkd.speed([str(workspace / "teacher")], rows=4, max_length=8, batch_sizes=[2], rounds=1, memory=False)


JOBS: list[Callable[[Path, Path], None]] = [finetune, run, distill, evaluate, speed]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_a_stop_in_any_phase_says_what_the_same_call_then_keeps(
    job: Callable[[Path, Path], None], workspace: Path, tmp_path: Path
) -> None:
    promised, stops = False, 0
    for at in range(1, 60):
        watcher = Stops(at)
        code, message = attempt(job, watcher, workspace, tmp_path)
        kept = any(word in note for note in watcher.notes for word in ("kept", "going on with", "goes on from"))
        assert not (kept and not promised), (at, watcher.notes)
        if code == 0:
            break
        stops += 1
        assert code == 75
        if watcher.stopped_in:  # what was stopped is not told as done
            assert watcher.ended[-1] == (watcher.stopped_in, True)
        if not promised:
            promised = (
                message == "Stopped as asked; what was finished is saved. The same command again goes on from there."
            )
        if not promised:
            assert message == (
                "Stopped as asked; nothing was finished that could be kept. The same command begins anew."
            )
    assert code == 0
    assert stops
    assert promised == (job in (finetune, run, distill))  # the others have nothing to keep


def attempt(job: Callable[[Path, Path], None], watcher: Stops, workspace: Path, folder: Path) -> tuple[int, str]:
    """The exit code of a job, and what its stop says."""
    try:
        with progress.watch(watcher):
            job(workspace, folder)
    except Stopped as stopped:
        return stopped.exit_code, str(stopped)
    finally:
        progress.clear_stop()
    return 0, ""


def test_a_stop_passes_whatever_catches_errors_and_is_not_forgotten_where_it_does_not(tmp_path: Path) -> None:
    """As a signal that comes while a library swallows all that is raised."""
    with pytest.raises(Stopped):
        try:
            progress.request_stop(130)
        except Exception as error:  # what wraps whatever a hub, a parser or a tracer raises
            raise ValueError from error
    with contextlib.suppress(BaseException):
        progress.request_stop(75)
    with pytest.raises(Stopped), progress.stage("the next one"):
        raise AssertionError("it began though a stop was asked for")
