"""Signals stop a job so that it can save; errors that are no bugs have a sentence and an exit code."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pkd import progress
from pkd.cli.session import explain, loading
from pkd.errors import DataError, Stopped

_JOB = """
import sys, time
from pkd import progress
from pkd.cli import main as cli
def job(arguments):
    print("started", flush=True)
    if "saving" in arguments:
        with progress.saves_on_stop():
            while not progress.stop_requested() or "deaf" in arguments:
                time.sleep(0.01)
            print("saved", flush=True)
            progress.stop_if_requested("step 3 of 9 is")
    else:
        time.sleep(30)
    return 0
cli._run = job
sys.exit(cli.main(sys.argv[1:]))
"""


def stopped(*arguments: str, signals: list[int]) -> subprocess.CompletedProcess[str]:
    """Start a job that runs until it is stopped, send it `signals` one after another, and wait for its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", _JOB, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    for number in signals:
        time.sleep(0.2)
        process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_lets_the_job_save_and_names_what_is_safe(number: int, code: int) -> None:
    done = stopped("saving", signals=[number])
    assert done.returncode == code
    assert done.stdout == "saved\n"
    assert "pkd: Stopped as asked; step 3 of 9 is saved. The same command again goes on from there." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_where_nothing_is_to_be_saved_a_signal_ends_at_once(number: int, code: int) -> None:
    done = stopped("computing", signals=[number])
    assert done.returncode == code
    assert done.stderr == (
        "pkd: Stopped as asked; nothing was finished that could be kept. The same command begins anew.\n"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_even_a_job_that_does_not_listen(number: int, code: int) -> None:
    assert stopped("saving", "deaf", signals=[signal.SIGINT, number]).returncode == code


@pytest.fixture
def _no_stop_is_left() -> Iterator[None]:
    yield
    progress.clear_stop()


@pytest.mark.usefixtures("_no_stop_is_left")
def test_a_stop_inside_saving_blocks_is_raised_at_the_end_of_the_outermost_at_the_latest() -> None:
    reached = []

    def job() -> None:
        with progress.saves_on_stop():
            with progress.saves_on_stop():
                progress.request_stop(75)
                reached.append("inner")
            reached.append("outer")
        reached.append("after")

    with pytest.raises(Stopped) as caught:
        job()
    assert caught.value.exit_code == 75
    assert reached == ["inner", "outer"]


@pytest.mark.usefixtures("_no_stop_is_left")
def test_a_stop_outside_of_saving_blocks_is_raised_at_once() -> None:
    with pytest.raises(Stopped):
        progress.request_stop(130)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("bad row"), 3, "bad row"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x"), 7, "runs/x: The disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 7, "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/out"), 2, "/out: Permission denied"),
        (MemoryError(), 7, "a smaller per_device_train_batch_size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 7, "as many more gradient_accumulation_steps"),
        (OSError("Memory mapping file failed: Cannot allocate memory"), 7, "The memory does not suffice"),  # of pyarrow
        (ImportError("sparse.so: failed to map segment from shared object"), 7, "The memory does not suffice"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), 7, "a smaller per_device_train_batch_size"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_errors_that_are_no_bugs_are_explained(error: BaseException, code: int, words: str) -> None:
    explained = explain(error)
    assert explained is not None
    assert explained[1] == code
    assert words in explained[0]


def test_what_nobody_expected_is_a_bug() -> None:
    assert explain(KeyError("x")) is None
    assert explain(ImportError("x.so: failed to map segment from shared object: Operation not permitted")) is None
    assert explain(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None


def test_garbage_is_left_alone_while_libraries_load_and_collected_again_after() -> None:
    with pytest.raises(ImportError), loading():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    assert frozen > 0
    with loading():
        made = [[number] for number in range(1000)]
    assert len(made) == 1000
    assert gc.get_freeze_count() <= frozen  # what a second job made can become garbage
