"""A student's step where launching kernels takes longer than running them: as it is, as a CUDA graph, compiled.

Each variant makes the same whole steps (L_PKD, backward, clipping, fused AdamW; batch 32) on the same batches, in a
process of its own, in turns. A CUDA graph is captured for each padded length before anything is timed.
`torch.compile(mode="reduce-overhead")` compiles for each length too, which takes long: it is measured on rows of one
length alone, short ones and such of 128 word pieces, beside the other two on the same rows. And where the precision is
float32: with and without TF32, and in bfloat16, through the Trainer, on rows of 128 word pieces.

    python -m benchmarks.launches --device cuda --train SST-2/train.tsv --teacher base
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import torch

from benchmarks.contenders import (
    Clock,
    annotate_and_encode,
    grouped_batches,
    open_annotated,
    patient_trainer,
    pkd_training,
    warm_up,
)
from benchmarks.material import BATCH, SIZES, Setup, half_map, load_teacher, read_texts, rows_of_length
from benchmarks.workers import measure_in_turns, ratios, spread, write_figures
from pkd.data.tokenize import occurring_pieces
from pkd.distillation.annotation import TeacherPass
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import occurring_only
from pkd.recipe.settings import TrainingSettings
from pkd.training.hardware import autocast_dtype, describe_hardware, resolve_device

Batch = dict[str, torch.Tensor]
Step = Callable[[Batch], torch.Tensor]

_ONE_LENGTH = 16  # word pieces, of the rows that `compiled` is measured on
_PARTS = ("graphs", "tf32", "long", "compile")
_LONG = 128  # word pieces: here products take longer than launches, which TF32 is about


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="labelled examples; by default phrases cut from the demo's reviews")
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="*", choices=_PARTS, default=_PARTS)
    parser.add_argument("--teacher", choices=["demo", *SIZES], default="demo", help="a size: with random weights")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures here, as they come")
    given = parser.parse_args()
    setup, device = Setup(given.teacher, given.device), resolve_device(given.device)
    figures: dict[str, Any] = {"hardware": describe_hardware(device), "teacher": given.teacher, "batch": BATCH}
    with tempfile.TemporaryDirectory() as place:
        short, long = _annotate(given, Path(place), setup)

        def compare(part: str, against: str, contenders: Mapping[str, tuple[Any, ...]]) -> None:
            def keep(values: dict[str, list[float]]) -> None:
                figures[part] = {
                    name: {"examples_per_second": spread(each)}
                    | ({"gain": ratios(each, values[against])} if against in values else {})
                    for name, each in values.items()
                }
                write_figures(given.json, figures)

            print(f"{part}: examples a second", flush=True)
            measure_in_turns(contenders, given.rounds, "examples/s", keep)

        if "graphs" in given.parts:
            ways: dict[str, tuple[Any, ...]] = {
                name: (prepare_steps, short, given.steps, setup, name) for name in ("as it is", "CUDA graphs")
            }
            ways["pkd"] = (pkd_training, short, given.steps, setup)
            compare("all lengths", "as it is", ways)
        if "tf32" in given.parts:
            tf32 = {"tf32": True} if device.type == "cuda" else {}
            float32 = {"precision": "float32"}
            compare(
                f"{_LONG} word pieces",
                "float32",
                {
                    "float32": (pkd_training, long, given.steps // 4, setup, float32),
                    "float32 with TF32": (pkd_training, long, given.steps // 4, setup, float32, tf32),
                    "bfloat16": (pkd_training, long, given.steps // 4, setup, {"precision": "bfloat16"}),
                },
            )
        if "long" in given.parts:
            ways = {way: (prepare_steps, long, given.steps // 4, setup, way) for way in WAYS}
            compare(f"{_LONG} word pieces, whole steps", "as it is", ways)
        if "compile" in given.parts:
            ways = {name: (prepare_steps, short, given.steps, setup, name, _ONE_LENGTH) for name in WAYS}
            compare(f"padded to {_ONE_LENGTH}", "as it is", ways)
    for part, told in figures.items():
        for name, figure in told.items() if isinstance(told, dict) and part != "hardware" else ():
            gain = f"  {figure['gain']['median']:.2f} times" if "gain" in figure else ""
            print(f"{part}: {name:<20} {figure['examples_per_second']['median']:10,.1f} examples/s{gain}")


def _annotate(given: argparse.Namespace, place: Path, setup: Setup) -> tuple[str, str]:
    """The folders of short rows, of SST-2's lengths, and of rows of `_LONG` word pieces."""
    teacher, device = load_teacher(setup.teacher), resolve_device(setup.device)
    sources: dict[str, datasets.Dataset] = {"short": read_texts(given.train, given.rows)}
    if {"tf32", "long"} & set(given.parts):
        sources["long"] = rows_of_length(_LONG, min(given.rows, 2048))
    for name, rows in sources.items():
        (place / name).mkdir()
        answering = TeacherPass(
            teacher.model.to(device), teacher.tokenizer, half_map(teacher).teacher, _LONG,  # type: ignore[arg-type]
            autocast_dtype=autocast_dtype("auto", device),
        )  # fmt: skip
        annotate_and_encode(rows, answering, place / name)
    return str(place / "short"), str(place / "long")


def prepare_steps(annotated: str, steps: int, setup: Setup, way: str, length: int | None = None) -> Callable[[], float]:
    """Examples a second of whole steps of a student, made in one of the `WAYS`.

    Args:
        annotated: folder of the rows.
        steps: that are timed.
        setup: teacher and device.
        way: one of the `WAYS`.
        length: only batches of this padded length; None takes all.
    """
    teacher, rows, device = load_teacher(setup.teacher), open_annotated(annotated), resolve_device(setup.device)
    trainer = patient_trainer(teacher, rows, TrainingSettings(), device=setup.device, max_steps=1)
    student: Any = trainer.model
    student.train()
    batches = [
        {name: value.pin_memory() if device.type == "cuda" else value for name, value in batch.items()}
        for batch in grouped_batches(rows, len(rows) // BATCH, device, half_map(teacher).teacher, length)
    ][: warm_up(device) + steps]
    dtype = autocast_dtype("auto", device)
    occurs = occurring_pieces(rows, teacher.model.config.vocab_size)

    def mean_loss(batch: Batch) -> torch.Tensor:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            return trainer.row_losses(student, batch)[0].sum() / BATCH

    def measure() -> float:
        with cls_only(student), occurring_only(student, occurs):
            trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
            # a graph reads the learning rate where a schedule would write it
            rate = torch.tensor(5e-5, device=device)
            optimizer = torch.optim.AdamW(
                trained, lr=rate, weight_decay=0.01, fused=True, capturable=device.type == "cuda"
            )

            def finish(loss: torch.Tensor) -> torch.Tensor:
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                optimizer.zero_grad()
                return loss.detach()

            step = WAYS[way](mean_loss, finish, device)
            for batch in {batch["input_ids"].shape[1]: batch for batch in batches}.values():
                step(batch)  # every length once, before the clock runs
            clock = Clock(setup, steps)
            for batch in clock.watch(batches):
                step(batch)
            return clock.examples_per_second()

    return measure


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def _as_it_is(mean_loss: Step, finish: Step, device: torch.device) -> Step:
    return lambda batch: finish(mean_loss(_to_device(batch, device)))


def _compiled(mean_loss: Step, finish: Step, device: torch.device) -> Step:
    compiled = torch.compile(mean_loss, mode="reduce-overhead", dynamic=False)

    def step(batch: Batch) -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        return finish(compiled(_to_device(batch, device)))

    return step


def _replayed(mean_loss: Step, finish: Step, device: torch.device) -> Step:
    """A whole step as a graph for each length; where there is no GPU the same step on the same fixed buffers."""
    captured: dict[int, tuple[Batch, Callable[[], None], torch.Tensor]] = {}
    pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def capture(batch: Batch) -> tuple[Batch, Callable[[], None], torch.Tensor]:
        inputs = {name: value.clone() for name, value in _to_device(batch, device).items()}
        if pool is None:
            loss = torch.zeros((), device=device)
            return inputs, lambda: loss.copy_(finish(mean_loss(inputs))), loss  # type: ignore[return-value, func-returns-value]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # what sets itself up at the first call must not be captured
            for _ in range(3):
                finish(mean_loss(inputs))
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            loss = finish(mean_loss(inputs))
        return inputs, graph.replay, loss

    def step(batch: Batch) -> torch.Tensor:
        length = batch["input_ids"].shape[1]
        if length not in captured:
            captured[length] = capture(batch)
        inputs, replay, loss = captured[length]
        for name, value in batch.items():
            inputs[name].copy_(value, non_blocking=True)
        replay()
        return loss

    return step


WAYS = {"as it is": _as_it_is, "CUDA graphs": _replayed, "compiled": _compiled}


if __name__ == "__main__":
    main()
