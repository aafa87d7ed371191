"""Whether a disk that is full at any file costs more than the file: a whole job, each of its files refused once.

A library that is loaded before all others (`full_disk.c`, built with `cc`; Linux) notes which files an undisturbed job
writes. Then, for each of them in turn, half a write goes through and the next finds no space left. The job must end
with exit code 7 and say so; it goes on with the next file refused, and at its end every file must be the undisturbed
one's.

    python -m benchmarks.full_disk                 # some three minutes
    python -m benchmarks.full_disk --job distill

Exits with 1 and tells what went wrong, if anything did.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.attempts import ENVIRONMENT, make_data_apart, run_undisturbed, start_forked
from benchmarks.killed_jobs import JOBS, begin_job, compare, digest_of

_EXIT_CODE = 7
_LOADED = "FULL_DISK_LOADED"
_NOT_OURS = ("/log", "/modules", "/recipe.yaml", ".lock")  # the benchmark's, and a file of no bytes
_RANDOM_NAME = re.compile(r"/(\.?tmp[-_.]?)\w+$")  # of a temporary file, as libraries make them


def main() -> int:
    """Build the library, start again with it, and refuse the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", choices=list(JOBS), default="run")
    asked = parser.parse_args()
    if _LOADED not in os.environ:
        with tempfile.TemporaryDirectory() as temporary:
            library = Path(temporary) / "full_disk.so"
            source = Path(__file__).with_suffix(".c")
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
            again = [sys.executable, "-m", "benchmarks.full_disk", *sys.argv[1:]]
            preload = " ".join(filter(None, [str(library), os.environ.get("LD_PRELOAD")]))
            environment = {**os.environ, _LOADED: "1", "LD_PRELOAD": preload}
            return subprocess.run(again, env=environment, check=False).returncode
    os.environ.update(ENVIRONMENT)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary).resolve()
        files, faults = _refuse_all(place, asked.job)
    told = {"files": files, "faults": faults, "seconds": round(time.monotonic() - began)}
    print(json.dumps(told, indent=1))
    return 1 if faults else 0


def _refuse_all(place: Path, job: str) -> tuple[int, list[str]]:
    """How many files were refused, and what went wrong."""
    make_data_apart(place / "data", 1, controls=False)
    start = start_forked(job)
    os.environ["FULL_DISK_LOG"] = str(place / "written")
    seconds = run_undisturbed(job, place, start, warm=True)
    del os.environ["FULL_DISK_LOG"]
    targets = _targets(place / "written", place / "undisturbed")
    print(f"undisturbed: {seconds:.1f} s, {len(targets)} files", file=sys.stderr, flush=True)
    whole = digest_of(place / "undisturbed")
    hit = os.environ["FULL_DISK_HIT"] = str(place / "hit")
    faults: list[str] = []
    folder = begin_job(place, "job-0")
    refused = 0
    for number, target in enumerate(targets, start=1):
        for attempt in range(2):  # a job that has passed the file already ends, and a new one comes to it
            Path(hit).unlink(missing_ok=True)
            (folder / "log").unlink(missing_ok=True)
            os.environ["FULL_DISK"], _, os.environ["FULL_DISK_WHICH"] = target.partition(" ")
            code = start(folder, []).wait()
            del os.environ["FULL_DISK"]
            if Path(hit).exists():
                refused += 1
                faults += _faults(folder, target, code)
                break
            faults += [f"{target}: unrefused, the job ended with {code}"] if code else []
            faults += _differences(folder, whole, target)
            folder = begin_job(place, f"job-{number}-{attempt}")
        else:
            faults.append(f"{target}: written by the undisturbed job, and not again")
        print(f"{number}: {target}", file=sys.stderr, flush=True)
    if code := start(folder, []).wait():
        faults.append(f"at the end, with room: exit code {code}: {(folder / 'log').read_text()[-1000:]}")
    return refused, faults + _differences(folder, whole, "at the end")


def _targets(written: Path, folder: Path) -> list[str]:
    """What the product wrote in a job's folder, in order, as ends of paths, each once; a random name with a number."""
    targets: dict[str, None] = {}
    random_names: dict[str, list[str]] = {}
    for line in written.read_text(encoding="utf-8").splitlines():
        path = line.removeprefix(str(folder))
        if path == line or path.endswith(_NOT_OURS) or path.startswith("/record"):
            continue
        plain = _RANDOM_NAME.sub(r"/\1*", path)
        if plain != path:
            names = random_names.setdefault(plain, [])
            names += [path] if path not in names else []
            plain += f" {names.index(path)}"
        targets[plain] = None
    return list(targets)


def _faults(folder: Path, target: str, code: int | None) -> list[str]:
    """What is wrong with how a job ended that found the disk full."""
    said = (folder / "log").read_text(errors="replace")
    if code == _EXIT_CODE and "The disk is full" in said and "Traceback" not in said:
        return []
    return [f"{target}: exit code {code}: {said[-1500:]}"]


def _differences(folder: Path, whole: dict[str, str], when: str) -> list[str]:
    return [f"{when}: {each}" for each in compare(whole, digest_of(folder))]


if __name__ == "__main__":
    sys.exit(main())
