"""Attempts of a job, each a process of its own that can be killed: fresh ones, or forks of a warm process."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.killed_jobs import JOBS, begin_job, make_data
from benchmarks.killing import STARTED, WINDOWS, run_here

_MODULES = "modules"  # which a whole job has imported
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

Start = Callable[[Path, Sequence[str]], "Attempt"]


@dataclass
class Attempt:
    """A running job: a process, with those that it started, that can be killed and waited for."""

    pid: int
    log: Path

    def wait(self, seconds: float | None = None, until: Callable[[], bool] = lambda: False) -> int | None:
        """The exit code (negative of a signal); None if it still runs after so many seconds, or when `until` holds."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if until() or (end is not None and time.monotonic() >= end):
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL for the process and all that it started; torchrun's ranks have sessions of their own."""
        for pid in [self.pid, *_descendants(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait()


def _descendants(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [each for child in children for each in (child, *_descendants(child))]
    return []


def start_fresh(job: str, processes: int) -> Start:
    """Start attempts as new Python processes, under torchrun where there are several."""
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]

    def start(folder: Path, options: Sequence[str]) -> Attempt:
        log = folder / "log"
        root = Path(__file__).resolve().parents[1]
        path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        with log.open("ab") as output:
            command = [*launcher, "benchmarks.killing", *options, "--record", "record", "--", *JOBS[job]]
            process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path}, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        return Attempt(process.pid, log)

    return start


def start_forked(job: str) -> Start:
    """Start attempts as forks of this process, which has loaded the libraries and computed nothing."""

    def start(folder: Path, options: Sequence[str]) -> Attempt:
        def attempt() -> int:
            os.setsid()
            os.chdir(folder)
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            window = next((each for each in WINDOWS if each.name in options), None)
            code = run_here(JOBS[job], Path("record"), window)
            Path(_MODULES).write_text("\n".join(sys.modules))
            return code

        return Attempt(_fork(attempt), folder / "log")

    return start


def _fork(work: Callable[[], int]) -> int:
    """Start a copy of this process that does the work, and ends with the code that it gives; its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def make_data_apart(folder: Path, processes: int, *, controls: bool) -> None:
    """Make the jobs' data in a process of its own, so that this one has computed nothing when it forks."""

    def make() -> int:
        make_data(folder, processes, controls=controls)
        return 0

    child = _fork(make)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit("The jobs' data could not be made.")


def run_undisturbed(job: str, place: Path, start: Start, *, warm: bool) -> float:
    """Run a job in `place/undisturbed`, and load here what it loads if forks shall be warm; its seconds.

    Raises:
        SystemExit: if it failed.
    """
    folder = begin_job(place, "undisturbed")
    if warm:
        _warm_up([f"pkd.jobs.{name}" for name in (job, "report")])
        _warm_up(["transformers.models.bert.modeling_bert", "torch._dynamo"])
    attempt = start(folder, [])
    code = attempt.wait(until=(folder / "record" / STARTED).exists)
    started = time.monotonic()
    code = attempt.wait() if code is None else code
    if code != 0:
        raise SystemExit(f"The undisturbed job ended with {code}: {attempt.log.read_text()[-3000:]}")
    if warm:
        _warm_up((folder / _MODULES).read_text().splitlines())
    return time.monotonic() - started


def _warm_up(modules: Sequence[str]) -> None:
    """Import what a whole job imports, so that its forks need not."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
