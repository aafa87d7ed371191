"""What each saving gives: forward, backward and step of the student with all of them, and with one of them left out.

Each variant runs in a process of its own, in turns, on batches that lie in memory; what is told is how many times as
fast the step is with the saving as without it.

    python -m benchmarks.gains                        # some five minutes on two cores
    python -m benchmarks.gains --alone                # one thread, processor time: for a busy machine
    python -m benchmarks.gains --compile              # torch.compile instead, which takes minutes to compile
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from benchmarks.material import BATCH, load_demo_teacher, read_texts
from benchmarks.workers import measure_in_turns, ratios, spread, stopwatch
from pkd.data.arrays import column_array
from pkd.data.batching import Collator, LengthGroupedBatches, TokenRows
from pkd.data.tokenize import encode, occurring_pieces
from pkd.distillation.student import student_from
from pkd.encoder.inference import model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import occurring_only
from pkd.training.hardware import autocast_dtype, keep_freed_memory, resolve_device

_ALL: dict[str, bool] = {
    "last layer for [CLS] alone": True,
    "word pieces that occur alone": True,
    "batches of like length": True,
    "bfloat16": True,
    "fused AdamW": True,
    "freed memory kept": True,
}
_OPTIONS = ("activation checkpointing",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--train", help="labelled examples; by default phrases of SST-2's lengths from the demo's reviews"
    )
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="one thread, processor time instead of wall time")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile, and nothing else")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    variants: dict[str, dict[str, bool]] = {"all": {}}
    if given.compile:
        variants["compiled"] = {"compiled": True}
    else:
        variants |= {f"without {saving}": {saving: False} for saving in _ALL}
        variants |= {f"with {option}": {option: True} for option in _OPTIONS}
    with tempfile.TemporaryDirectory() as place:
        encode(read_texts(given.train, given.rows), load_demo_teacher().tokenizer, 128).save_to_disk(place)
        contenders = {name: (_step, place, given.steps, given.alone, changed) for name, changed in variants.items()}
        values = measure_in_turns(contenders, given.rounds, "examples/s")
    figures = {}
    for name in values:
        ratio = (
            ratios(values["all"], values[name]) if name.startswith("without") else ratios(values[name], values["all"])
        )
        figures[name] = {"examples_per_second": spread(values[name]), "gain": ratio}
        told = "" if name == "all" else f"gain {ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
        print(f"{name:<40} {figures[name]['examples_per_second']['median']:8,.1f} examples/s  {told}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _step(place: str, steps: int, alone: bool, changed: dict[str, bool]) -> Callable[[], float]:
    """Examples a second of a student's steps with all savings but for what is `changed`."""
    on = _ALL | dict.fromkeys((*_OPTIONS, "compiled"), False) | changed
    if on["freed memory kept"]:
        keep_freed_memory()
    teacher, device = load_demo_teacher(), resolve_device("auto")
    rows = datasets.load_from_disk(place)
    batches = _batches(rows, steps, by_length=on["batches of like length"])
    student = student_from(teacher.model, 3).to(device)  # type: ignore[arg-type]
    student.train()
    if on["activation checkpointing"]:
        student.gradient_checkpointing_enable()
    dtype = autocast_dtype("auto" if on["bfloat16"] else "float32", device)
    occurs = occurring_pieces(rows, student.config.vocab_size)
    forward: Any = torch.compile(student, dynamic=True) if on["compiled"] else student

    def measure() -> float:
        with contextlib.ExitStack() as savings:
            if on["last layer for [CLS] alone"]:
                savings.enter_context(cls_only(student))
            if on["word pieces that occur alone"]:
                savings.enter_context(occurring_only(student, occurs))
            trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
            fused = {"fused": True} if on["fused AdamW"] else {"foreach": False, "fused": False}
            optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.01, **fused)  # type: ignore[arg-type]
            now = stopwatch(alone)
            began = now()
            for number, batch in enumerate(batches):
                if number == 3:  # the first steps set things up
                    began = now()
                with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
                    loss = forward(**model_inputs(batch, student, device), labels=batch["labels"].to(device)).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                optimizer.zero_grad()
            return (len(batches) - 3) * BATCH / (now() - began)

    return measure


def _batches(rows: datasets.Dataset, steps: int, *, by_length: bool) -> list[dict[str, torch.Tensor]]:
    table, collate = TokenRows(rows), Collator(0)
    lengths = column_array(rows, "length")
    grouped = LengthGroupedBatches(lengths, BATCH, seed=0)
    random = np.random.default_rng(0).permutation(len(lengths))[: len(lengths) // BATCH * BATCH].reshape(-1, BATCH)
    order = grouped if by_length else random.tolist()
    return [collate(table.__getitems__(batch)) for batch in itertools.islice(order, steps + 3)]


if __name__ == "__main__":
    main()
