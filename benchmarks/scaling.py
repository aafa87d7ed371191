"""How time grows with the rows and with their length; the exponent of a power law through the measured points.

Rows: the teacher pass and one epoch, with a tiny model, so that what grows faster than the arithmetic would show. An
exponent of 1 is proportional. Length: forward, loss and step of the demo's student on batches of 32 texts, and the
teacher's forward; attention makes it grow a little faster than proportionally once texts are long.

    python -m benchmarks.scaling                      # some ten minutes on two cores
    python -m benchmarks.scaling --rows 1000 4000 16000 --lengths 16 64 256
    python -m benchmarks.scaling --alone              # one thread, processor time: for a busy machine
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.contenders import annotate_and_encode, patient_trainer
from benchmarks.material import BATCH, half_map, load_demo_teacher, random_teacher, read_texts, rows_of_length
from benchmarks.workers import stopwatch
from pkd.distillation.annotation import TeacherPass
from pkd.encoder.load import LoadedClassifier
from pkd.recipe.settings import TrainingSettings
from pkd.training.hardware import autocast_dtype, resolve_device

_ROWS = (1000, 4000, 16_000, 64_000)
_LENGTHS = (16, 32, 64, 128, 256, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=_ROWS)
    parser.add_argument("--lengths", type=int, nargs="*", default=_LENGTHS)
    parser.add_argument("--alone", action="store_true", help="one thread, processor time instead of wall time")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    now = stopwatch(given.alone)
    figures = {}
    if given.rows:
        points = [_by_rows(rows, now) for rows in given.rows]
        figures["rows"] = _tell(
            "rows", given.rows, {"teacher pass": [p[0] for p in points], "epoch": [p[1] for p in points]}
        )
    if given.lengths:
        points = [_by_length(length, now) for length in given.lengths]
        figures["length"] = _tell(
            "word pieces", given.lengths, {"teacher pass": [p[0] for p in points], "training": [p[1] for p in points]}
        )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _by_rows(rows: int, now: Callable[[], float]) -> tuple[float, float]:
    """Seconds of the teacher pass and of one epoch over so many rows, from reading to writing."""
    teacher = _tiny_teacher()
    texts = read_texts(None, rows)
    with tempfile.TemporaryDirectory() as folder:
        began = now()
        annotated = annotate_and_encode(
            texts, TeacherPass(teacher.model, teacher.tokenizer, half_map(teacher).teacher, 128), Path(folder)
        )
        between = now()
        patient_trainer(teacher, annotated, TrainingSettings(num_train_epochs=1, precision="float32")).train()
        return between - began, now() - between


def _by_length(length: int, now: Callable[[], float], batches: int = 3) -> tuple[float, float]:
    """Seconds for a hundred rows of one length: the teacher's pass, and a training step's share; the best of three."""
    teacher = load_demo_teacher()
    rows = rows_of_length(length, batches * BATCH)
    passes, trainings = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            began = now()
            annotated = annotate_and_encode(
                rows,
                TeacherPass(
                    teacher.model, teacher.tokenizer, half_map(teacher).teacher, length,
                    autocast_dtype=autocast_dtype("auto", resolve_device("cpu")),
                ),
                Path(folder),
            )  # fmt: skip
            between = now()
            patient_trainer(teacher, annotated, TrainingSettings(num_train_epochs=1)).train()
            passes.append(between - began)
            trainings.append(now() - between)
    return min(passes) / len(rows) * 100, min(trainings) / len(rows) * 100


def _tiny_teacher() -> LoadedClassifier:
    return random_teacher(
        "tiny", vocab_size=30522, hidden_size=32, num_hidden_layers=6, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128,
    )  # fmt: skip


def _tell(what: str, sizes: Sequence[int], seconds: dict[str, list[float]]) -> dict[str, object]:
    exponents = {name: float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) for name, values in seconds.items()}
    last = {name: float(np.diff(np.log(v[-2:]))[0] / np.diff(np.log(sizes[-2:]))[0]) for name, v in seconds.items()}
    for name, values in seconds.items():
        told = ", ".join(f"{size:,}: {value:.2f} s" for size, value in zip(sizes, values, strict=True))
        print(f"{name} by {what}: {told}; exponent {exponents[name]:.2f}, at the end {last[name]:.2f}", flush=True)
    return {"sizes": list(sizes), "seconds": seconds, "exponents": exponents, "last_exponents": last}


if __name__ == "__main__":
    main()
