"""Whether a run that is killed again and again ends with the bits of one that never was.

A job of `benchmarks.killed_jobs` (`run`: fine-tune the teacher, annotate, train student and controls, evaluate, report;
`distill`; `export`) runs undisturbed once. Then it is killed with SIGKILL: at random moments spread over its wall time,
and in every dangerous window of `benchmarks.killing`, each until it is hit. After each kill the same command runs again
in a fresh process; when a job ends, every file of it is compared with the undisturbed one's.

    python -m benchmarks.endurance --kills 100                    # fresh processes, random and aimed
    python -m benchmarks.endurance --job export --kills 15        # of `pkd export`
    python -m benchmarks.endurance --kills 10 --random-only --processes 2   # of two processes, under torchrun
    python -m benchmarks.endurance --kills 10 --fork              # the test suite's: from a process that is warm

Exits with 1 and names the files, if any differ; wall times and what is made of them (`results.jsonl`'s `created`,
`train_seconds`, `rows_per_second`, the report's and cards' words for them) are set equal before they are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attempts import ENVIRONMENT, Start, make_data_apart, run_undisturbed, start_forked, start_fresh
from benchmarks.killed_jobs import JOBS, SAVE_STEPS, begin_job, compare, digest_of
from benchmarks.killing import HIT, STARTED, STEPS, WINDOWS, Window

_KILLS_A_JOB = 5  # at random; then it may end, so that kills hit every part of a job and not its end alone


@dataclass
class Tally:
    """What happened so far."""

    kills: int = 0
    aimed: list[str] = field(default_factory=list)
    jobs: int = 0
    differences: list[str] = field(default_factory=list)
    steps: int = 0
    most_steps: float = 0.0  # of what a job and its kills may cost


class Endurance:
    """Jobs that are killed, one after the other, each compared with the undisturbed one when it ends."""

    def __init__(self, place: Path, start: Start, seconds: float, seed: int) -> None:
        self.place = place
        self.start = start
        self.seconds = seconds
        self.chance = random.Random(seed)
        self.reference = place / "undisturbed"
        self.digest = digest_of(self.reference)
        self.tally = Tally()
        self._number = 0
        self._kills_of_job = self._random_kills_of_job = 0
        self._begin()

    def kill_at_random(self) -> None:
        """One kill at a moment of the job's wall time; a job that ends before it is compared, and a new one begun."""
        while True:
            if self._random_kills_of_job >= _KILLS_A_JOB:
                self.finish()
            started = self.folder / "record" / STARTED
            started.unlink(missing_ok=True)
            attempt = self.start(self.folder, [])
            code = attempt.wait(until=started.exists)
            if code is None:
                code = attempt.wait(self.chance.uniform(0.0, self.seconds))
            if code is None:
                attempt.kill()
                self._killed()
                self._random_kills_of_job += 1
                return
            self._ended(code)

    def kill_in(self, window: Window) -> None:
        """One kill in a window; a job that ends without having come there is compared, and a new one begun."""
        for _ in range(2):
            hit = self.folder / "record" / HIT
            hit.unlink(missing_ok=True)
            code = self.start(self.folder, ["--window", window.name]).wait()
            if hit.exists():
                self._killed()
                self.tally.aimed.append(window.name)
                return
            self._ended(code)
        raise SystemExit(f"The window '{window.name}' was not reached in a whole job.")

    def finish(self) -> None:
        """Let the job under way come to its end."""
        if self._kills_of_job:
            self._ended(self.start(self.folder, []).wait())

    def _begin(self) -> None:
        self._number += 1
        self._kills_of_job = self._random_kills_of_job = 0
        self.folder = begin_job(self.place, f"job-{self._number}")

    def _killed(self) -> None:
        self.tally.kills += 1
        self._kills_of_job += 1

    def _ended(self, code: int | None) -> None:
        if code != 0:
            raise SystemExit(f"{self.folder}: ended with {code}, not by our kill: {self._log()}")
        found = list(compare(self.digest, digest_of(self.folder)))
        self.tally.differences += [f"{self.folder.name}: {each}" for each in found]
        self.tally.jobs += 1
        steps, whole = (count_steps(folder) for folder in (self.folder, self.reference))
        self.tally.steps += steps
        self.tally.most_steps += whole + self._kills_of_job * SAVE_STEPS
        if not found:
            shutil.rmtree(self.folder)
        self._begin()

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


def count_steps(folder: Path) -> int:
    """Training steps that were computed in all attempts of a job."""
    counted = folder / "record" / STEPS
    return counted.stat().st_size if counted.exists() else 0  # an export trains nothing


def main() -> int:
    """Run the endurance test and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", choices=list(JOBS), default="run")
    parser.add_argument(
        "--kills", type=int, default=100, help="in all: two thirds in windows, each once, the others at random"
    )
    parser.add_argument("--random-only", action="store_true", help="no aimed kills")
    parser.add_argument("--aimed-only", action="store_true", help="no random kills")
    parser.add_argument("--processes", type=int, default=1, help="of a job, under torchrun")
    parser.add_argument("--fork", action="store_true", help="fork attempts from a process that is warm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", type=Path, help="an empty folder to work in (default: a temporary one)")
    asked = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        place = (asked.place or Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        make_data_apart(place / "data", asked.processes, controls=not asked.fork)
        start = start_forked(asked.job) if asked.fork else start_fresh(asked.job, asked.processes)
        tally = _endure(asked, place, start)
    told = {
        "kills": tally.kills, "aimed": len(tally.aimed), "jobs": tally.jobs, "steps": tally.steps,
        "steps_allowed": tally.most_steps, "differences": tally.differences,
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    return 1 if tally.differences or tally.steps > tally.most_steps else 0


def _endure(asked: argparse.Namespace, place: Path, start: Start) -> Tally:
    seconds = run_undisturbed(asked.job, place, start, warm=asked.fork)
    reference = place / "undisturbed"
    print(f"undisturbed: {seconds:.1f} s, {count_steps(reference)} steps", file=sys.stderr, flush=True)
    endurance = Endurance(place, start, seconds, asked.seed)
    of_job = [window for window in WINDOWS if window.job == asked.job]
    aimed = 0 if asked.random_only else min(len(of_job), asked.kills if asked.aimed_only else -(-asked.kills * 2 // 3))
    windows = [of_job[place * len(of_job) // aimed] for place in range(aimed)]
    for number, window in enumerate(windows, start=1):
        endurance.kill_in(window)
        print(f"{number}: {window.name}", file=sys.stderr, flush=True)
    if asked.kills - aimed > _KILLS_A_JOB:
        endurance.finish()
    while not asked.aimed_only and endurance.tally.kills < asked.kills:
        endurance.kill_at_random()
        print(f"{endurance.tally.kills}: at random", file=sys.stderr, flush=True)
    endurance.finish()
    return endurance.tally


if __name__ == "__main__":
    sys.exit(main())
