"""All that is to be known of a GPU, as far as eight minutes go, on a machine without a network.

Unpacks and installs what `benchmarks.gpu.prepare` packed, then runs the parts in order of worth, each a process of its
own with a limit of its own. What a part has measured is in `figures.json` within a second, so that a run that is cut
off still gives what it had; `log.txt` has the lines that the parts print.

    python3 -m benchmarks.gpu.run --output OUT
    python -m benchmarks.gpu.run --output OUT --device cpu --tiny --installed    # all parts, proven on a CPU
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# imports nothing but the standard library: the rest is installed by this module
from benchmarks.gpu.prepare import DATA, PARCELS, WHEELS

ROOT = Path(__file__).resolve().parents[2]
_LEAST = 15  # seconds: less is too little to start a part


@dataclass(frozen=True)
class Part:
    """A module to run.

    Attributes:
        name: under which its figures stand.
        module: run by `python -m`.
        words: its arguments on a GPU.
        tiny: its arguments where all is only to be proven.
        seconds: it is ended after so many.
    """

    name: str
    module: str
    words: str
    tiny: str
    seconds: int


def parts(data: Path) -> list[Part]:
    """The parts in order of worth."""
    sst2 = f"--train {data}/sst2/train.tsv"
    few = "--teacher tiny --rows 400 --rounds 1"
    brief = f"{sst2} {few} --pass-rows 64 --steps-factor 0.1"
    return [
        Part("machine", "benchmarks.gpu.machine", "", "", 45),
        Part("jobs", "benchmarks.gpu.jobs", f"--data {data}", f"--data {data} --tiny", 200),
        Part(
            "sizes", "benchmarks.sizes", "--sizes base --lengths 128 32 512 --batches 60 --pass-tokens 1048576",
            "--sizes tiny --lengths 16 --batches 2", 90,
        ),
        Part(
            "throughput, BERT-base", "benchmarks.throughput",
            f"{sst2} --teacher base --pass-rows 16000 --rounds 2 --parts training pass",
            f"{brief} --parts training pass", 130,
        ),
        Part(
            "launches, BERT-base", "benchmarks.launches",
            f"{sst2} --teacher base --rows 8000 --steps 120 --rounds 2 --parts graphs tf32",
            f"{sst2} {few} --steps 4", 130,
        ),
        Part(
            "sharing", "benchmarks.sharing", f"{sst2} --teacher base --steps 200 --rounds 2 --at-once 4 8",
            f"{sst2} {few} --steps 3 --at-once 2", 100,
        ),
        Part(
            "throughput, demo's encoder", "benchmarks.throughput",
            f"{sst2} --pass-rows 16000 --job-rows 2048 --rounds 2 --job-rounds 1 --parts training pass job",
            f"{brief} --job-rows 32 --job-rounds 1 --parts training pass job", 130,
        ),
        Part(
            "forwards", "benchmarks.forwards", "--rounds 3", "--teacher tiny --length 16 --rows 256 --rounds 1", 90,
        ),
        Part("packing", "benchmarks.packing", f"{sst2} --teacher base --rounds 2", f"{sst2} {few} --steps 3", 90),
        Part(
            "launches, demo's encoder", "benchmarks.launches",
            f"{sst2} --rows 8000 --rounds 2 --parts graphs compile", f"{sst2} {few} --steps 4 --parts compile", 120,
        ),
        Part(
            "long steps, BERT-base", "benchmarks.launches",
            f"{sst2} --teacher base --rows 2048 --rounds 2 --parts long", f"{sst2} {few} --steps 8 --parts long", 120,
        ),
    ]  # fmt: skip


@dataclass
class Record:
    """`figures.json`: how each part ended, and what it has measured so far."""

    path: Path
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def write(self) -> None:
        """Write all; the old file stays until the new one is whole."""
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text(json.dumps({"parts": self.ended, **self.figures}, indent=1, ensure_ascii=False) + "\n")
        partial.replace(self.path)


class Log:
    """Prints lines and keeps them in a file, each with the seconds since the begin."""

    def __init__(self, path: Path) -> None:
        self._file, self._began, self._lock = path.open("w", encoding="utf-8"), time.monotonic(), threading.Lock()

    def __call__(self, line: str) -> None:
        told = f"{time.monotonic() - self._began:6.1f} {line.rstrip()}"
        with self._lock:
            print(told, flush=True)
            self._file.write(told + "\n")
            self._file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of figures.json and log.txt")
    parser.add_argument("--parcels", type=Path, default=ROOT / PARCELS, help="folder of the parcels")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument(
        "--minutes", type=float, default=7.8, help="all parts together; those that have no room are left out"
    )
    parser.add_argument("--parts", nargs="*", metavar="NAME", help="only those whose names begin so, as jobs sizes")
    parser.add_argument(
        "--tiny", action="store_true", help="the smallest models and few steps: proves, measures nothing"
    )
    parser.add_argument("--installed", action="store_true", help="take the libraries that are here, not the wheels")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    given.output.mkdir(parents=True, exist_ok=True)
    record, log = Record(given.output / "figures.json"), Log(given.output / "log.txt")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        environment = _install(given, Path(place), log)
        for part in parts(Path(place) / "data"):
            if given.parts and not part.name.startswith(tuple(given.parts)):
                continue
            seconds = part.seconds * (20 if given.tiny else 1)
            left = end - time.monotonic()
            if left < _LEAST:
                record.ended[part.name] = {"ended": "not begun: the time was over"}
                log(f"{part.name}: not begun, the time is over")
                record.write()
                continue
            log(f"== {part.name} (at most {min(seconds, left):.0f} s)")
            _run(part, given, min(seconds, left), environment, Path(place), record, log)


def _install(given: argparse.Namespace, place: Path, log: Log) -> dict[str, str]:
    """Unpack the parcels and install the wheels; the environment that the parts run in."""
    began = time.monotonic()
    unpacking = threading.Thread(target=_unpack, args=(given.parcels / DATA, place / "data"))
    unpacking.start()
    path = [str(ROOT / "src"), str(ROOT)]
    if given.installed:
        path += [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    else:
        _unpack(given.parcels / WHEELS, place / "wheels")
        wheels = sorted(str(path) for path in (place / "wheels").glob("*.whl"))
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile",
             "--no-cache-dir", "--target", str(place / "site"), *wheels], check=True,
        )  # fmt: skip
        path.append(str(place / "site"))
    unpacking.join()
    (place / "tmp").mkdir()
    log(f"unpacked and installed in {time.monotonic() - began:.0f} s")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "TMPDIR": str(place / "tmp"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HOME": str(place / "hub"),
        "PKD_BENCHMARK_ENCODER": str(place / "data" / "encoder"),
    }


def _unpack(parcel: Path, folder: Path) -> None:
    with tarfile.open(parcel) as archive:
        archive.extractall(folder, filter="data")


def _run(
    part: Part,
    given: argparse.Namespace,
    seconds: float,
    environment: dict[str, str],
    place: Path,
    record: Record,
    log: Log,
) -> None:
    """Run a part until it ends or its time is over; its figures are in the record within a second."""
    json_file = place / "part.json"
    json_file.unlink(missing_ok=True)
    words = (part.tiny if given.tiny else part.words).split()
    command = [sys.executable, "-m", part.module, *words, "--device", given.device, "--json", str(json_file)]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    reading = threading.Thread(target=_read, args=(process, log), daemon=True)
    reading.start()
    cut_off = False
    while process.poll() is None:
        time.sleep(1)
        _take_in(json_file, part.name, record)
        if time.monotonic() - began > seconds:
            cut_off = True
            break
    with contextlib.suppress(ProcessLookupError):  # with the processes that it started
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    reading.join(timeout=5)
    _take_in(json_file, part.name, record)
    told = "cut off" if cut_off else "done" if code == 0 else f"failed with {code}"
    record.ended[part.name] = {"ended": told, "seconds": round(time.monotonic() - began, 1), "command": command[1:]}
    log(f"== {part.name}: {told} after {record.ended[part.name]['seconds']:.0f} s")
    record.write()


def _read(process: subprocess.Popen[str], log: Log) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            log(line)


def _take_in(json_file: Path, name: str, record: Record) -> None:
    with contextlib.suppress(OSError, ValueError):
        figures = json.loads(json_file.read_text(encoding="utf-8"))
        if figures != record.figures.get(name):
            record.figures[name] = figures
            record.write()


if __name__ == "__main__":
    main()
