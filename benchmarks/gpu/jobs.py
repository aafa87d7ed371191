"""The jobs of `pkd` once, tiny, end to end through the command line: does each compute where it is told to?

Fine-tuning, annotating, distilling, evaluating and checking must name the device in what they print and record; an
export stays on the CPU; a training that is killed and resumed must end with the same bits where torch computes
deterministically, and what happens otherwise is written down; a checkpoint of another device must be refused. No time
is measured here, so jobs that do not need each other run at once. What was seen is written as each check ends.

    python -m benchmarks.gpu.jobs --data DATA --device cuda --json jobs.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workers import write_figures

_TEXT = "a moving film"
_TOLD = 1500  # characters of a command's messages that are kept
_LONG = 600  # seconds after which a command is ended; the whole has a limit of its own


@dataclass(frozen=True)
class Bench:
    """Where the jobs run, and with what.

    Attributes:
        place: working folder.
        data: folder of the reviews' files.
        encoder: to be fine-tuned.
        device: "cuda" or "cpu".
        save_steps: of the trainings that are killed.
    """

    place: Path
    data: Path
    encoder: Path
    device: str
    save_steps: int

    def examples(self, *splits: str) -> list[str]:
        """The flags that name the files of these splits."""
        return [word for split in splits for word in (f"--{split}", str(self.data / f"{split}.csv"))]


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    messages: str


class Checks:
    """What was checked, written after each check; several may run at once."""

    def __init__(self, path: Path | None) -> None:
        self.figures: dict[str, Any] = {}
        self._path = path
        self._lock = threading.Lock()

    def run(self, name: str, check: Callable[[], dict[str, Any]]) -> None:
        """Run a check that returns what it saw, with `passed`; one that raises has failed."""
        began = time.monotonic()
        try:
            seen = check()
        except Exception as error:
            seen = {"passed": False, "error": f"{type(error).__name__}: {error}"[-_TOLD:]}
        with self._lock:
            self.figures[name] = {**seen, "seconds": round(time.monotonic() - began, 1)}
            write_figures(self._path, self.figures)
            verdict = {True: "passed", False: "FAILED", None: "seen"}[seen["passed"]]
            why = f": {seen.get('error') or seen}" if seen["passed"] is False else ""
            print(f"  {name}: {verdict} in {self.figures[name]['seconds']:.0f} s{why}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with encoder/ and reviews/")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny random encoder and few rows, for a CPU")
    parser.add_argument("--json", type=Path, help="write what was seen here")
    given = parser.parse_args()
    checks = Checks(given.json)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        bench = _set_up(given, Path(place))
        checks.run("finetune", lambda: _finetune(bench))
        with ThreadPoolExecutor(2 if given.tiny else 12) as pool:

            def start(name: str, check: Callable[[Bench], dict[str, Any]]) -> Future[None]:
                return pool.submit(checks.run, name, lambda: check(bench))

            made = start("distill", _distill)
            others = [start(name, check) for name, check in _with_a_teacher(bench).items()]
            made.result()
            for each in others + [start(name, check) for name, check in _WITH_A_STUDENT.items()]:
                each.result()
    failed = [name for name, seen in checks.figures.items() if seen["passed"] is False]
    print(f"{len(checks.figures) - len(failed)} of {len(checks.figures)} checks without a failure", flush=True)


def _set_up(given: argparse.Namespace, place: Path) -> Bench:
    """Fewer rows of the reviews, and for a look on a CPU a tiny encoder with the same tokenizer."""
    rows = {"train": 96, "eval": 40, "test": 40} if given.tiny else {"train": 1600, "eval": 300, "test": 300}
    data, encoder = place / "data", given.data / "encoder"
    data.mkdir()
    for split, count in rows.items():
        lines = (given.data / "reviews" / f"{split}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (data / f"{split}.csv").write_text("".join(lines[: count + 1]), encoding="utf-8")
    if given.tiny:
        from transformers import AutoTokenizer, BertConfig, BertModel
        from transformers.utils import logging

        logging.disable_progress_bar()
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        encoder = place / "encoder"
        config = BertConfig(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64)
        BertModel(config).save_pretrained(encoder)
        tokenizer.save_pretrained(encoder)
    return Bench(place, data, encoder, given.device, save_steps=2 if given.tiny else 20)


# The jobs ---------------------------------------------------------------------------------------------------------


def _finetune(bench: Bench) -> dict[str, Any]:
    ran = _pkd(
        bench, "finetune", "--model", str(bench.encoder), *bench.examples("train", "eval"), "--output", "teacher",
        "--num-train-epochs", "1", "--json",
    )  # fmt: skip
    return _on_device(bench, ran, "teacher")


def _annotate(bench: Bench) -> dict[str, Any]:
    ran = _pkd(
        bench, "annotate", "--teacher", "teacher", *bench.examples("train"), "--layers", "2", "--output", "annotated",
        "--json",
    )  # fmt: skip
    return _on_device(bench, ran, "annotated")


def _distill(bench: Bench) -> dict[str, Any]:
    ran = _pkd(bench, *_distill_into("student"), *bench.examples("train", "eval", "test"), "--json")
    return _on_device(bench, ran, "student", "student.work")


def _check(bench: Bench) -> dict[str, Any]:
    recipe = bench.place / "recipe.yaml"
    files = {split: str(bench.data / f"{split}.csv") for split in ("train", "eval")}
    recipe.write_text(json.dumps({"teacher": {"model": "teacher"}, "data": files, "students": [{"layers": 2}]}))
    return _on_device(bench, _pkd(bench, "check", "recipe.yaml", "--json"))


def _evaluate(bench: Bench) -> dict[str, Any]:
    ran = _pkd(bench, "evaluate", "teacher", "student", *bench.examples("test"), "--json")
    return _on_device(bench, ran)


def _predict(bench: Bench) -> dict[str, Any]:
    """Nothing is recorded of a prediction: it has to give the same label on the CPU."""
    answers = [_pkd(bench, "predict", "student", _TEXT, "--json", device=device) for device in (bench.device, "cpu")]
    labels = [json.loads(ran.out)["label"] if ran.code == 0 else ran.messages[-_TOLD:] for ran in answers]
    return {"passed": all(ran.code == 0 for ran in answers) and labels[0] == labels[1], "labels": labels}


def _export(bench: Bench) -> dict[str, Any]:
    """A student trained on the device, exported on the CPU, answers as it did."""
    ran = _pkd(bench, "export", "student", "--output", "served", "--json", device=None)
    if ran.code != 0:
        return {"passed": False, "code": ran.code, "messages": ran.messages[-_TOLD:]}
    answers = [_pkd(bench, "predict", model, _TEXT, "--json", device="cpu") for model in ("served", "student")]
    labels = [json.loads(each.out)["label"] for each in answers]
    return {"passed": labels[0] == labels[1], "labels": labels, "devices": sorted(_devices_in(bench.place / "served"))}


_WITH_A_STUDENT = {"evaluate": _evaluate, "predict": _predict, "export": _export}


def _with_a_teacher(bench: Bench) -> dict[str, Callable[[Bench], dict[str, Any]]]:
    checks: dict[str, Callable[[Bench], dict[str, Any]]] = {
        "annotate": _annotate,
        "check": _check,
        "killed and resumed, deterministic": lambda bench: _kill_and_resume(bench, "sure", deterministic=True),
        "killed and resumed": lambda bench: _kill_and_resume(bench, "plain", deterministic=False),
    }
    if bench.device == "cuda":
        checks |= {
            "a checkpoint of the CPU is refused": lambda bench: _refuse_other(bench, "from-cpu", "cpu", "cuda"),
            "a checkpoint of the GPU is refused": lambda bench: _refuse_other(bench, "from-gpu", "cuda", "cpu"),
        }
    return checks


def _distill_into(output: str, *more: str) -> list[str]:
    return ["distill", "--teacher", "teacher", "--layers", "2", "--no-controls", "--num-train-epochs", "2",
            "--output", output, *more]  # fmt: skip


# Kills ------------------------------------------------------------------------------------------------------------


def _kill_and_resume(bench: Bench, name: str, *, deterministic: bool) -> dict[str, Any]:
    """How far the weights of a killed and resumed training, and of a second one, are from those of one left alone.

    Bits are promised where torch computes deterministically, and on a CPU.
    """
    settings = ["--set", f"training.save_steps={bench.save_steps}"]
    settings += ["--set", "training.deterministic=true"] if deterministic else []
    examples = bench.examples("train", "eval")

    def train(output: str) -> Ran:
        return _pkd(bench, *_distill_into(f"{name}-{output}", *settings), *examples)

    def resume() -> Ran:
        _kill_at_checkpoint(bench, f"{name}-killed", settings, bench.device)
        return train("killed")

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(train, "whole"), pool.submit(resume), pool.submit(train, "second")]
        ran = [each.result() for each in running]
    if any(each.code for each in ran):
        told = "\n".join(each.messages[-_TOLD // 3 :] for each in ran if each.code)
        return {"passed": False, "codes": [each.code for each in ran], "messages": told}
    whole, killed, second = (bench.place / f"{name}-{output}" for output in ("whole", "killed", "second"))
    apart = _weights_apart(whole, killed)
    promised = deterministic or bench.device == "cpu"
    return {
        "passed": (apart == 0 and "goes on from" in ran[1].messages) if promised else None,
        "went on": "goes on from" in ran[1].messages,
        "largest difference of a weight": apart,
        "of a second run": _weights_apart(whole, second),
    }


def _refuse_other(bench: Bench, name: str, before: str, after: str) -> dict[str, Any]:
    """A training that was killed on one device must not go on on another, and say so in a sentence."""
    settings = ["--set", f"training.save_steps={bench.save_steps}"]
    _kill_at_checkpoint(bench, name, settings, before)
    ran = _pkd(bench, *_distill_into(name, *settings), *bench.examples("train", "eval"), device=after)
    said = before in ran.messages and after in ran.messages and "Traceback" not in ran.messages
    return {"passed": ran.code == 5 and said, "code": ran.code, "messages": ran.messages[-_TOLD:]}


def _kill_at_checkpoint(bench: Bench, output: str, settings: list[str], device: str) -> None:
    """Start a training and kill it once its first checkpoint is sealed.

    Raises:
        RuntimeError: if it ended before.
    """
    command = _command(*_distill_into(output, *settings), *bench.examples("train", "eval"), "--device", device)
    with (bench.place / f"{output}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=bench.place, stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + _LONG
    while process.poll() is None and time.monotonic() < end:
        if next((bench.place / f"{output}.work").glob("students/**/checkpoint-*/manifest.json"), None):
            break
        time.sleep(0.005)
    ended = process.poll()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if ended is not None:
        raise RuntimeError(f"{output} ended with {ended} before it was killed: {_tail(bench.place / f'{output}.log')}")


def _weights_apart(one: Path, other: Path) -> float:
    """The largest difference of a weight; 0 if the files are the same bytes."""
    if (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes():
        return 0.0
    from safetensors.torch import load_file

    mine, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    return max(float((mine[name].float() - theirs[name].float()).abs().max()) for name in mine)


# Commands ---------------------------------------------------------------------------------------------------------


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "pkd", *words]


def _pkd(bench: Bench, *words: str, device: str | None = "") -> Ran:
    """Run a command on the bench's device, on another, or, where None, where it runs by itself."""
    where = [] if device is None else ["--device", device or bench.device]
    done = subprocess.run(
        _command(*words, *where), cwd=bench.place, capture_output=True, text=True, timeout=_LONG, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _on_device(bench: Bench, ran: Ran, *folders: str) -> dict[str, Any]:
    """Whether a command ended well, and named its device and no other in what it printed and recorded."""
    if ran.code != 0:
        return {"passed": False, "code": ran.code, "messages": (ran.messages + ran.out)[-_TOLD:]}
    named = set(_devices_in_text(ran.out))
    for folder in folders:
        named |= set(_devices_in(bench.place / folder))
    return {"passed": bool(named) and all(each.startswith(bench.device) for each in named), "devices": sorted(named)}


def _devices_in(folder: Path) -> Iterator[str]:
    """The devices that the records of a folder name."""
    for path in folder.rglob("*.json*"):
        if path.suffix in (".json", ".jsonl") and path.name not in ("tokenizer.json", "tokenizer_config.json"):
            yield from _devices_in_text(path.read_text(encoding="utf-8"))


def _devices_in_text(text: str) -> Iterator[str]:
    with contextlib.suppress(ValueError):
        yield from _devices_of(json.loads(text))
        return
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            yield from _devices_of(json.loads(line))


def _devices_of(value: Any) -> Iterator[str]:
    """What stands under `device` and `devices` in a record; "auto" is a wish and no fact."""
    if isinstance(value, list):
        for each in value:
            yield from _devices_of(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "device" and isinstance(each, str) and each != "auto":
                yield each
            elif key == "devices" and isinstance(each, dict):
                yield from map(str, each.values())
            else:
                yield from _devices_of(each)


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-_TOLD:]


if __name__ == "__main__":
    main()
