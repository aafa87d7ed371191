"""Two trainings at once on one thread each, against one after another on both threads: what a sweep gains on a CPU.

python -m benchmarks.sharing
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.contenders import patient_trainer
from benchmarks.material import BATCH, LAYER_MAP, load_demo_teacher, read_texts
from pkd.distillation.annotation import annotate_rows, open_shards
from pkd.recipe.settings import TrainingSettings
from pkd.training.precision import autocast_dtype, resolve_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=100, help="steps of each training")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    cores = os.cpu_count() or 2
    with tempfile.TemporaryDirectory() as folder:
        teacher, device = load_demo_teacher(), resolve_device("cpu")
        annotate_rows(
            read_texts(None, given.rows), teacher.model, teacher.tokenizer, Path(folder),
            teacher_layers=LAYER_MAP.teacher, max_length=128, autocast_dtype=autocast_dtype("auto", device),
        )  # fmt: skip
        together, one_by_one = [], []
        for number in range(given.rounds):
            one_by_one.append(_examples_per_second(folder, given.steps, at_once=1, threads=cores))
            together.append(_examples_per_second(folder, given.steps, at_once=cores, threads=1))
            print(
                f"  round {number + 1}: one after another {one_by_one[-1]:,.0f}, {cores} at once {together[-1]:,.0f} "
                "examples/s",
                flush=True,
            )
    ratios = [one / other for one, other in zip(together, one_by_one, strict=True)]
    print(f"{cores} at once / one after another: {median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


def _examples_per_second(folder: str, steps: int, *, at_once: int, threads: int) -> float:
    """Examples a second of all trainings together, from the first step of the first to the last of the last."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(at_once + 1), context.Barrier(at_once + 1)
    trainings = [context.Process(target=_train, args=(folder, steps, threads, ready, go)) for _ in range(at_once)]
    for training in trainings:
        training.start()
    ready.wait()
    go.wait()
    began = time.perf_counter()
    for training in trainings:
        training.join()
    return at_once * steps * BATCH / (time.perf_counter() - began)


def _train(folder: str, steps: int, threads: int, ready: object, go: object) -> None:
    import torch

    torch.set_num_threads(threads)
    trainer = patient_trainer(load_demo_teacher(), open_shards(Path(folder)), TrainingSettings(), max_steps=steps)
    ready.wait()  # type: ignore[attr-defined]
    go.wait()  # type: ignore[attr-defined]
    trainer.train()


if __name__ == "__main__":
    main()
