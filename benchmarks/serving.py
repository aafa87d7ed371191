"""What a student costs to serve, against what it must: latency, throughput, int8's change, and the server.

Models are timed in one process, in turn; the server runs beside the load generator wrk (`apt-get install wrk`), on the
same cores, with one client and with 64 in turn.

    pkd export student/ --int8 --eval test.csv --output served-int8/
    python -m benchmarks.serving --teacher teacher/ --student student/ --int8 served-int8/

With --beside, only the bare calls of exported folders on the texts of a file, one thread each, in turns: what their
runtimes and precisions differ by.

    python -m benchmarks.serving --beside served/ served-int8/ served-openvino/ --texts test.csv

With --search, each point of a search beside a graph of its shape with random weights, made and timed as before the
training: by how much the prediction differs where nothing else does.

    python -m benchmarks.serving --search served.work/ --texts dev.csv
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median, quantiles

from pkd.data.encodings import Reader
from pkd.data.sources import read_texts
from pkd.encoder.load import load_teacher
from pkd.jobs.speed import speed
from pkd.recipe.settings import DataSettings
from pkd.reporting.front import read_front
from pkd.reporting.speeds import SpeedRecord
from pkd.reporting.terminal import print_speeds
from pkd.search.random_graphs import Body
from pkd.serving.classifier import Classifier
from pkd.serving.loaded import LoadedModel
from pkd.serving.speed import random_batch

_TEXTS, _BATCH, _TURN = 96, 32, 12  # texts of a comparison, of a batch; calls of a model at a time
_POST = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"texts": ["a film that takes its time, and yours, and gives back less than it owes, but not by much"]}'
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher")
    parser.add_argument("--student")
    parser.add_argument("--int8", help="the student as `pkd export --int8` wrote it")
    parser.add_argument("--beside", nargs="+", default=[], metavar="FOLDER", help="exported folders to compare alone")
    parser.add_argument("--search", type=Path, metavar="FOLDER", help="a search's work folder, its points alone")
    parser.add_argument("--texts", help="the file of texts of --beside or --search")
    parser.add_argument("--threads", type=int, help="cores a model in the comparison (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5, help="of load a round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    needed = ("texts",) if given.beside or given.search else ("teacher", "student", "int8")
    if missing := [f"--{name}" for name in needed if getattr(given, name) is None]:
        parser.error(f"missing: {', '.join(missing)}")
    if given.beside:
        models = {folder: _on_one_core(folder) for folder in given.beside}
        print(*_in_words(beside(models, given.texts, given.rounds)), sep="\n")
        return
    if given.search:
        print(*predictions(given.search, given.texts, given.rounds), sep="\n")
        return

    records = speed(
        [given.teacher, given.student, given.int8], max_length=32, lengths=[32], batch_sizes=[32], rows=32,
        rounds=given.rounds, threads=given.threads,
    )  # fmt: skip
    from rich.console import Console

    print_speeds(records, Console())
    processor = processor_times({"teacher": given.teacher, "student": given.student, "int8": given.int8})
    served = measure_server(given.int8, given.rounds, given.seconds)
    figures = {
        **ratios(*records),
        **processor,
        **int8_change(Path(given.int8)),
        **served,
        "cores": len(os.sched_getaffinity(0)),
    }
    print()
    for name, value in figures.items():
        print(f"{name}: {json.dumps(value)}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def beside(models: Mapping[str, LoadedModel], file: str, rounds: int) -> dict[str, dict[int, list[float]]]:
    """Milliseconds of calls of one text and of 32, by model."""
    texts = list(itertools.islice(read_texts(file, DataSettings()), _TEXTS))
    encoder = next(iter(models.values())).encoder
    batches = {
        size: [encoder.pad(encoder.encode(texts[at : at + size])) for at in range(0, len(texts) - size + 1, size)]
        for size in (1, _BATCH)
    }
    taken: dict[str, dict[int, list[float]]] = {name: {size: [] for size in batches} for name in models}
    for number, size in itertools.product(range(rounds), batches):
        for begin in range(0, len(batches[size]), _TURN):
            some = batches[size][begin : begin + _TURN]
            for name in list(models) if number % 2 == 0 else reversed(models):
                forward = models[name].forward
                forward(some[0])  # the caches hold another model's weights
                for batch in some:
                    began = time.perf_counter()
                    forward(batch)
                    taken[name][size].append(1000 * (time.perf_counter() - began))
    return taken


def _in_words(taken: Mapping[str, Mapping[int, list[float]]]) -> Iterator[str]:
    """Medians and quartiles."""
    for name, of_model in taken.items():
        for size, each in of_model.items():
            if not each:  # fewer texts than a batch
                continue
            texts = "one text" if size == 1 else f"{size} texts"
            yield f"{name}, {texts}: {median(each):.2f} ms ({quantiles(each)[0]:.2f} to {quantiles(each)[2]:.2f})"


def predictions(work: Path, file: str, rounds: int) -> Iterator[str]:
    """Each point of a search in turns with a graph of random weights, of the same shape."""
    for point in read_front(work).points:
        student = load_teacher(str(work / point.student))
        reader = Reader(student.tokenizer, student.tokenizer.model_max_length, point.shape.name)
        with tempfile.TemporaryDirectory() as made:
            random = Path(made) / "random"
            Body(point.shape, student.model.config, reader, student.outputs).build(random)
            models = {
                "random": _on_one_core(random / point.shape.precision),
                "trained": _on_one_core(work / point.folder),
            }
            taken = beside(models, file, rounds)
        (before, after) = (median(taken[name][1]) for name in models)
        yield f"{point.shape.name}: {before:.2f} ms predicted, {after:.2f} ms measured ({before / after - 1:+.1%})"


def _on_one_core(folder: str | Path) -> LoadedModel:
    return Classifier.load(folder, "cpu", threads=1).model


def ratios(teacher: SpeedRecord, student: SpeedRecord, int8: SpeedRecord) -> dict[str, object]:
    """The speed-ups, the median of the rounds and their spread."""
    return {
        "latency of one text of 32, teacher / int8 student": round(int8.latency.faster, 2),
        "threads": teacher.threads,
        "throughput 32 × 32, int8 student / teacher": _spread(int8.throughput[0].faster),
        "throughput 32 × 32, student / teacher, both PyTorch": _spread(student.throughput[0].faster),
    }


def processor_times(models: dict[str, str]) -> dict[str, object]:
    """Milliseconds of processor time a call, one thread each, the least of many: other programs hardly show in it."""
    loaded = {name: Classifier.load(folder, "cpu", threads=1).model for name, folder in models.items()}
    least: dict[str, dict[str, float]] = {}
    for rows, rounds, calls in ((1, 12, 25), (32, 5, 3)):  # calls in a row, as a server makes them: caches are warm
        batch = random_batch(rows, 32, min(model.encoder.vocabulary for model in loaded.values()))
        taken: dict[str, list[float]] = {name: [] for name in loaded}
        for _, (name, model), _ in itertools.product(range(rounds), loaded.items(), range(calls)):
            began = time.thread_time()
            model.forward(batch)
            taken[name].append(1000 * (time.thread_time() - began))
        told = {name: round(min(each), 2) for name, each in taken.items()}
        least[f"{rows} × 32, one thread, ms of processor time"] = {
            **told,
            "teacher / int8": round(told["teacher"] / told["int8"], 2),
            "teacher / student": round(told["teacher"] / told["student"], 2),
        }
    return dict(least)


def int8_change(folder: Path) -> dict[str, object]:
    """What the export measured, as its manifest says."""
    change = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["facts"]["int8"]
    return {"int8's change": {key: change[key] for key in ("on", "rows", "agreement", "metric", "before", "after")}}


def measure_server(folder: str, rounds: int, seconds: int) -> dict[str, object]:
    """Requests per second of single texts with 1 client and with 64, in turn."""
    if shutil.which("wrk") is None:
        return {"server": "not measured: wrk is not installed"}
    alone: list[float] = []
    together: list[float] = []
    cpu_alone: list[float] = []
    cpu_together: list[float] = []
    with tempfile.TemporaryDirectory() as scratch, _served(folder) as url:
        script = Path(scratch) / "post.lua"
        script.write_text(_POST, encoding="utf-8")
        _wrk(url, script, 64, 2)  # warm
        for _ in range(rounds):
            for clients, rates, cpu in ((1, alone, cpu_alone), (64, together, cpu_together)):
                began, before = _cpu_seconds(url), time.perf_counter()
                rates.append(_wrk(url, script, clients, seconds))
                requests = rates[-1] * (time.perf_counter() - before)
                cpu.append(1000 * (_cpu_seconds(url) - began) / requests)
    return {
        "requests/s, one client": _spread(alone),
        "requests/s, 64 clients": _spread(together),
        "the server's CPU, ms a request, one client": _spread(cpu_alone),
        "the server's CPU, ms a request, 64 clients": _spread(cpu_together),
        "64 clients / one": _spread([many / one for many, one in zip(together, alone, strict=True)]),
    }


def _cpu_seconds(url: str) -> float:
    """Of the server's process so far: on a busy machine it says more than the clock."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        found = re.search(r"^process_cpu_seconds_total ([\d.e+]+)", answer.read().decode(), flags=re.MULTILINE)
    assert found is not None
    return float(found.group(1))


def _wrk(url: str, script: Path, clients: int, seconds: int) -> float:
    given = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(script), f"{url}/predict"]
    told = subprocess.run(given, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"the server refused or lost requests:\n{told}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert found is not None, told
    return float(found.group(1))


@contextlib.contextmanager
def _served(folder: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pkd", "serve", folder, "--port", "0"], stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://[\d.:]+", line)
        if found is None:
            raise RuntimeError(f"the server did not start: {line}")
        time.sleep(1)
        yield found.group(0)
    finally:
        process.terminate()
        process.wait(30)


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(median(values), 2), "least": round(min(values), 2), "most": round(max(values), 2)}


if __name__ == "__main__":
    main()
