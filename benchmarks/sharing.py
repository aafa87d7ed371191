"""Several trainings at once against one after another: what a sweep gains when its trials share cores or a card.

On a CPU as many trainings as there are cores, one thread each, against one that has them all; on a GPU each number of
`--at-once` against one alone, which is what a card's trials do one after another. What is told is the examples a second
of all together, from the first step of the first to the last step of the last.

    python -m benchmarks.sharing
    python -m benchmarks.sharing --device cuda --teacher base --at-once 4 8
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.contenders import annotate_and_encode, open_annotated, patient_trainer, warm_up
from benchmarks.material import BATCH, SIZES, half_map, load_teacher, read_texts
from benchmarks.workers import ratios, spread, write_figures
from pkd.distillation.annotation import TeacherPass
from pkd.distillation.trainer import PatientTrainer
from pkd.recipe.settings import TrainingSettings
from pkd.training.hardware import autocast_dtype, describe_hardware, resolve_device


def main() -> None:
    cores = os.cpu_count() or 2
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="labelled examples; by default phrases cut from the demo's reviews")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=100, help="steps of each training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, nargs="*", default=[cores], help="how many trainings")
    parser.add_argument("--teacher", choices=["demo", *SIZES], default="demo", help="a size: with random weights")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="also write the figures here, as they come")
    given = parser.parse_args()
    device = resolve_device(given.device)
    figures: dict[str, Any] = {"hardware": describe_hardware(device), "teacher": given.teacher, "steps": given.steps}
    values: dict[int, list[float]] = {count: [] for count in (1, *given.at_once)}
    with tempfile.TemporaryDirectory() as folder:
        teacher = load_teacher(given.teacher)
        answering = TeacherPass(
            teacher.model.to(device), teacher.tokenizer, half_map(teacher).teacher, 128,  # type: ignore[arg-type]
            autocast_dtype=autocast_dtype("auto", device),
        )  # fmt: skip
        annotate_and_encode(read_texts(given.train, given.rows), answering, Path(folder))
        del answering
        del teacher
        trainings = [_Training(folder, given) for _ in range(max(values))]
        for training in trainings:
            training.told()  # it is ready
        for number in range(given.rounds):
            for count, speeds in values.items():
                speeds.append(_examples_per_second(trainings[:count], given.steps, max(1, cores // count)))
                told = "one after another" if count == 1 else f"{count} at once"
                print(f"  round {number + 1}: {told} {speeds[-1]:,.0f} examples/s", flush=True)
                _keep(given.json, figures, values)
        for training in trainings:
            training.stop()
    for count, gain in figures["gain"].items():
        print(
            f"{count} at once / one after another: {gain['median']:.2f} (from {gain['lowest']:.2f} to "
            f"{gain['highest']:.2f})"
        )


def _keep(path: Path | None, figures: dict[str, Any], values: dict[int, list[float]]) -> None:
    measured = {count: speeds for count, speeds in values.items() if speeds}
    rounds = min(map(len, measured.values()))
    figures["examples_per_second"] = {str(count): spread(speeds) for count, speeds in measured.items()}
    figures["gain"] = {
        str(count): ratios(speeds[:rounds], measured[1][:rounds]) for count, speeds in measured.items() if count > 1
    }
    write_figures(path, figures)


def _examples_per_second(trainings: Sequence[_Training], steps: int, threads: int) -> float:
    """Examples a second of all trainings together, from the first step of the first to the last of the last."""
    for training in trainings:
        training.tell(threads)
    for training in trainings:
        training.told()  # it waits for its first step
    for training in trainings:
        training.tell("go")
    times = [training.told() for training in trainings]
    return len(trainings) * steps * BATCH / (max(end for _, end in times) - min(begin for begin, _ in times))


class _Training:
    """A process that trains a student whenever it is told to."""

    def __init__(self, folder: str, given: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_train, args=(folder, given, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends with the process
        self.tell, self.told = self._pipe.send, self._pipe.recv

    def stop(self) -> None:
        self.tell(None)
        self._process.join()


def _train(folder: str, given: argparse.Namespace, pipe: Connection) -> None:
    import torch

    teacher, rows = load_teacher(given.teacher), open_annotated(folder)

    def make(steps: int) -> PatientTrainer:
        return patient_trainer(teacher, rows, TrainingSettings(), device=given.device, max_steps=steps)

    make(warm_up(resolve_device(given.device))).train()
    pipe.send("ready")
    while (threads := pipe.recv()) is not None:
        torch.set_num_threads(threads)
        trainer = make(given.steps)
        pipe.send("waiting")
        pipe.recv()
        began = time.perf_counter()  # of the whole machine: the same clock in every process
        trainer.train()  # its last step's loss is read before it returns, so nothing is left to wait for
        pipe.send((began, time.perf_counter()))


if __name__ == "__main__":
    main()
