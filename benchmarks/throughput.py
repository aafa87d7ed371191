"""How fast a student is trained and a whole job done: `pkd` beside its peers, and beside the machine's limit.

All train the same student on the same rows (PKD-Skip, batch 32), each in a process of its own, in turns: by default
three layers of the demo's encoder, on phrases of SST-2's lengths cut from the demo's reviews.

    python -m benchmarks.throughput                                      # the whole table, ten minutes on two cores
    python -m benchmarks.throughput --train SST-2/train.tsv --json figures.json
    python -m benchmarks.throughput --quick                              # three minutes, coarser
    python -m benchmarks.throughput --alone                              # one thread, processor time: busy machines
    python -m benchmarks.throughput --teacher base --parts training pass # BERT-base with random weights, on a GPU
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import numpy as np

from benchmarks.contenders import CONTENDERS, annotate_and_encode
from benchmarks.latency import LATENCIES, save_student
from benchmarks.material import BATCH, SIZES, Setup, half_map, load_teacher, read_texts
from benchmarks.passes import PASSES
from benchmarks.whole_jobs import EPOCHS, WHOLE_JOBS
from benchmarks.workers import measure_in_turns, ratios, spread, write_figures
from pkd.data.arrays import column_array
from pkd.data.batching import grouped_order
from pkd.data.tokenize import occurring_pieces
from pkd.distillation.annotation import TeacherPass
from pkd.training.hardware import autocast_dtype, describe_hardware, resolve_device

_STEPS = {
    "cpu": {"reference style": 4, "TextBrewer": 12, "teacher in the loop": 12, "pkd": 60, "limit": 60},
    "cuda": {"reference style": 40, "TextBrewer": 40, "teacher in the loop": 40, "pkd": 100, "limit": 100},
}
_PARTS = ("training", "pass", "text", "job")
_GRID = 108  # points of the published grid
_TARGETS = {  # what is reached at least, and what is aimed at
    "pkd / teacher in the loop": (6, 8),
    "pkd / TextBrewer": (6, 8),
    "pkd / reference style": (13, 20),
    "pkd / limit": (0.8, 0.95),
    "whole job / teacher in the loop": (4, 7),
    "teacher pass / bare forward": (1.15, 1.05),
    "time of one text: predict / bare model": (1.2, 1.05),
}
_COSTS = ("teacher pass", "time of")  # what such figures tell is a cost: less is better


def main() -> None:
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(given, Path(folder))
    print(_table(figures))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--train", help="labelled examples; by default phrases of SST-2's lengths from the demo's reviews"
    )
    parser.add_argument("--reviews", action="store_true", help="the demo's reviews whole, 27 word pieces on average")
    parser.add_argument("--rows", type=int, default=16_000, help="rows that training draws its batches from")
    parser.add_argument("--pass-rows", type=int, default=2048, help="rows of the measured teacher pass")
    parser.add_argument("--job-rows", type=int, default=1024, help="rows of the whole jobs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--job-rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(CONTENDERS), help="these contenders beside pkd")
    parser.add_argument("--parts", nargs="*", choices=_PARTS, default=_PARTS, help="only these (default: all)")
    parser.add_argument("--teacher", choices=["demo", *SIZES], default="demo", help="a size: with random weights")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--steps-factor", type=float, default=1.0, help="times the steps that are timed")
    parser.add_argument("--alone", action="store_true", help="one thread, processor time instead of wall time")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument("--json", type=Path, help="also write the figures here, as they come")
    given = parser.parse_args()
    if given.quick:
        given.rows, given.pass_rows, given.job_rows, given.rounds, given.job_rounds = 4000, 1024, 256, 3, 1
    return given


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures, in the order of the table; written after each round."""
    setup, device = Setup(given.teacher, given.device, given.alone), resolve_device(given.device)
    rows = read_texts(given.train, given.rows, phrases=not given.reviews)
    figures: dict[str, Any] = {"teacher": given.teacher, "hardware": describe_hardware(device), "alone": given.alone}
    began = time.monotonic()
    annotated = _annotate(rows, folder / "annotated", setup)
    figures["data"] = _describe(annotated)
    print(_told_data(figures["data"]) + f" (annotated in {time.monotonic() - began:.0f} s)", flush=True)
    texts = {}
    for name, count in (("pass", given.pass_rows), ("job", given.job_rows)):
        texts[name] = str(folder / name)
        rows.select(range(min(count, len(rows)))).save_to_disk(texts[name])
    chosen = [name for name in CONTENDERS if given.only is None or name in (*given.only, "pkd")]
    steps = {name: max(1, int(each * given.steps_factor)) for name, each in _STEPS[device.type].items()}

    def keep(part: str, **more: Any) -> Callable[[dict[str, list[float]]], None]:
        def write(values: dict[str, list[float]]) -> None:
            figures[part] = {**more, **{name: spread(each) for name, each in values.items()}}
            figures["ratios"] = figures.get("ratios", {}) | _ratios(part, values)
            write_figures(given.json, figures)

        return write

    training: dict[str, list[float]] = {}
    passes: dict[str, list[float]] = {}
    if "training" in given.parts:
        print("Training, examples a second", flush=True)
        contenders = {n: (CONTENDERS[n], str(folder / "annotated"), steps[n], setup) for n in chosen}
        training = measure_in_turns(contenders, given.rounds, "examples/s", keep("training"))
    if "pass" in given.parts:
        print("Teacher pass, rows a second", flush=True)
        contenders = {n: (PASSES[n], texts["pass"], setup) for n in PASSES}
        passes = measure_in_turns(contenders, given.rounds, "rows/s", keep("teacher_pass"))
    if "text" in given.parts:
        print("One text at a time, texts a second", flush=True)
        save_student(str(folder / "student"), setup)
        contenders = {n: (LATENCIES[n], str(folder / "student"), setup) for n in LATENCIES}
        measure_in_turns(contenders, given.rounds, "texts/s", keep("one_text"))
    if "job" in given.parts:
        print(f"Whole job, {EPOCHS} epochs, seconds", flush=True)
        contenders = {n: (WHOLE_JOBS[n], texts["job"], setup) for n in WHOLE_JOBS}
        measure_in_turns(contenders, given.job_rounds, "s", keep("whole_job", rows=given.job_rows))
    if "teacher in the loop" in training and "teacher pass" in passes:
        figures["grid_hours"] = _grid(len(rows), training, passes)
        write_figures(given.json, figures)
    return figures


def _ratios(part: str, values: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """What a part's figures are held against, as far as its contenders came."""
    against = {
        "training": [(f"pkd / {name}", "pkd", name) for name in values if name != "pkd"],
        "teacher_pass": [("teacher pass / bare forward", "bare forward", "teacher pass")],
        "one_text": [("time of one text: predict / bare model", "bare model(**tokens)", "predict, one text")],
        "whole_job": [("whole job / teacher in the loop", "teacher in the loop", "pkd")],
    }[part]
    return {
        name: ratios(values[one], values[other]) for name, one, other in against if one in values and other in values
    }


def _annotate(rows: datasets.Dataset, folder: Path, setup: Setup) -> datasets.Dataset:
    teacher, device = load_teacher(setup.teacher), resolve_device(setup.device)
    folder.mkdir()
    return annotate_and_encode(
        rows,
        TeacherPass(
            teacher.model.to(device),  # type: ignore[arg-type]
            teacher.tokenizer,
            half_map(teacher).teacher,
            128,
            autocast_dtype=autocast_dtype("auto", device),
        ),
        folder,
    )


def _describe(annotated: datasets.Dataset) -> dict[str, Any]:
    """How long the rows are, and which share of what is computed would be padding."""
    lengths = column_array(annotated, "length")
    random = np.random.default_rng(0).permutation(len(lengths))
    return {
        "rows": len(lengths),
        "mean_length": float(lengths.mean()),
        "word_pieces_that_occur": int(occurring_pieces(annotated, 30522).sum()),
        "padding": {
            "to 128": 1 - float(lengths.mean()) / 128,
            "of random batches": _padding(lengths[random]),
            "of length-grouped batches": _padding(lengths[grouped_order(lengths, BATCH, 0, 0)]),
        },
    }


def _padding(lengths: np.ndarray) -> float:
    batches = lengths[: len(lengths) // BATCH * BATCH].reshape(-1, BATCH)
    return 1 - float(batches.sum() / (batches.max(axis=1) * BATCH).sum())


def _grid(rows: int, training: dict[str, list[float]], passes: dict[str, list[float]]) -> dict[str, float]:
    """Hours of the published grid's 108 students on these rows, calculated from the parts."""
    epochs = _GRID * EPOCHS * rows
    return {
        "pkd": (rows / median(passes["teacher pass"]) + epochs / median(training["pkd"])) / 3600,
        "teacher in the loop": epochs / median(training["teacher in the loop"]) / 3600,
    }


def _told_data(data: dict[str, Any]) -> str:
    padding = ", ".join(f"{share:.0%} {name}" for name, share in data["padding"].items())
    return (
        f"{data['rows']:,} rows of {data['mean_length']:.1f} word pieces, of which {data['word_pieces_that_occur']:,} "
        f"occur; padding: {padding}"
    )


def _table(figures: dict[str, Any]) -> str:
    lines = ["", f"{'examples a second':<34} median   lowest  highest"]
    for name, value in figures.get("training", {}).items():
        lines.append(f"{name:<32} {value['median']:8,.1f} {value['lowest']:8,.1f} {value['highest']:8,.1f}")
    lines += ["", f"{'ratio, round by round':<42} median   lowest  highest     must      aim"]
    for name, value in figures.get("ratios", {}).items():
        must, aim = _TARGETS[name]
        told = f"{name:<40} {value['median']:8.2f} {value['lowest']:8.2f} {value['highest']:8.2f} {must:8} {aim:8}"
        lines.append(f"{told}   {_verdict(name, value['median'])}")
    if "grid_hours" in figures:
        hours = figures["grid_hours"]
        lines += [
            "",
            f"published grid ({_GRID} students of {EPOCHS} epochs on these rows, calculated): {hours['pkd']:.1f} hours "
            f"with one teacher pass, {hours['teacher in the loop']:.1f} with the teacher in the loop",
        ]
    return "\n".join(lines)


def _verdict(name: str, value: float) -> str:
    must, aim = _TARGETS[name]
    reached = [value <= target if name.startswith(_COSTS) else value >= target for target in (must, aim)]
    return "aim reached" if reached[1] else "reached" if reached[0] else "NOT reached"


if __name__ == "__main__":
    main()
