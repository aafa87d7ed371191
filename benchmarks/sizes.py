"""Models of BERT's sizes with random weights: rows a second, and the share of the device's own peak of matrix products.

The teacher's pass, in batches of its own, beside the bare forward passes without reading and writing; and the training
of a student with half of its layers, in batches of 32. All rows are of one length, in the precision that "auto" takes
here. The peak is measured too, by the product of two large matrices in that precision.

    python -m benchmarks.sizes                                   # on a GPU
    python -m benchmarks.sizes --sizes base --lengths 32 128 --batches 3   # on two cores, some five minutes
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contenders import Clock, annotate_and_encode, patient_trainer, warm_up
from benchmarks.material import BATCH, SIZES, Setup, half_map, load_teacher, rows_of_length
from benchmarks.passes import bare_forward
from benchmarks.workers import stopwatch, write_figures
from pkd.data.batching import Collator, TokenRows
from pkd.distillation.annotation import TeacherPass
from pkd.encoder.inference import model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.recipe.settings import TrainingSettings
from pkd.training.hardware import autocast_dtype, describe_hardware, resolve_device

_PRODUCTS = 10  # timed together: looking at the clock has its price on a GPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=["base", "large"])
    parser.add_argument("--lengths", type=int, nargs="*", default=[32, 128, 512])
    parser.add_argument("--batches", type=int, default=50, help="timed batches of 32 rows")
    parser.add_argument("--pass-tokens", type=int, help="word pieces of the timed pass (default: of the batches)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures here, as they come")
    given = parser.parse_args()
    device = resolve_device(given.device)
    dtype = autocast_dtype("auto", device) or torch.float32
    peak = measure_peak(device, dtype)
    figures: dict[str, Any] = {"hardware": describe_hardware(device), "precision": str(dtype), "peak_teraflops": peak}
    write_figures(given.json, figures)
    print(f"{figures['hardware']}, {dtype}, peak of a matrix product: {peak:.2f} TFLOP/s", flush=True)
    for size in given.sizes:
        for length in given.lengths:
            count = (given.batches + warm_up(device)) * BATCH
            if given.pass_tokens is not None:
                count = max(count, given.pass_tokens // length)
            figures[f"{size}, {length}"] = told = _measure(
                Setup(size, given.device), length, count, given.batches, device, peak
            )
            write_figures(given.json, figures)
            words = "; ".join(
                f"{what} {each['rows_per_second']:,.1f} rows/s, {each['share_of_peak']:.0%} of the peak"
                for what, each in told.items()
            )
            print(f"BERT-{size}, {length} word pieces: {words}", flush=True)


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Tera floating-point operations a second of large matrix products on random data; the best of five times ten."""
    side = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best, now = float("inf"), stopwatch(alone=False)
    for _ in range(5):
        began = now()
        for _ in range(_PRODUCTS):
            one @ other
        best = min(best, now() - began)
    return 2 * _PRODUCTS * side**3 / best / 1e12


def _measure(
    setup: Setup, length: int, count: int, batches: int, device: torch.device, peak: float
) -> dict[str, dict[str, float]]:
    """Rows a second and share of the peak, of the teacher's pass and of a student's training."""
    teacher = load_teacher(setup.teacher)
    teacher.model.to(device)  # type: ignore[arg-type]
    layer_map = half_map(teacher)
    rows = rows_of_length(length, count)
    with tempfile.TemporaryDirectory() as folder:

        def annotate(some: datasets.Dataset, name: str) -> datasets.Dataset:
            (Path(folder) / name).mkdir()
            dtype = autocast_dtype("auto", device)
            answering = TeacherPass(teacher.model, teacher.tokenizer, layer_map.teacher, length, autocast_dtype=dtype)
            return annotate_and_encode(some, answering, Path(folder) / name)

        now = stopwatch(alone=False)
        annotate(rows.select(range(BATCH)), "warm-up")
        began = now()
        annotated = annotate(rows, "rows")
        annotating = count / (now() - began)
        rows.save_to_disk(f"{folder}/texts")
        forward = bare_forward(f"{folder}/texts", setup, max_length=length)
        forward()
        bare = forward()
        clock = Clock(setup, batches)
        trainer = patient_trainer(teacher, annotated, TrainingSettings(), device=setup.device, max_steps=clock.last)
        student = trainer.model
        trainer.add_callback(clock)
        trainer.train()
        training = clock.examples_per_second()
        batch = model_inputs(Collator(0)(TokenRows(annotated).__getitems__(list(range(BATCH)))), teacher.model, device)
        return {
            name: {
                "rows_per_second": speed,
                "share_of_peak": speed * count_operations(model, batch, learns=learns) / peak / 1e12,
            }
            for name, speed, model, learns in (
                ("teacher pass", annotating, teacher.model, False),
                ("bare forward", bare, teacher.model, False),
                ("training", training, student, True),
            )
        }


def count_operations(model: Any, batch: dict[str, torch.Tensor], *, learns: bool) -> float:
    """Floating-point operations a row of the matrix products that are needed: the last layer's for [CLS] alone."""
    model.train(learns)
    plain = sdpa_kernel(SDPBackend.MATH)  # the counter does not know the CPU's fused attention
    with FlopCounterMode(display=False) as counter, cls_only(model), torch.set_grad_enabled(learns), plain:
        logits = model(**batch).logits
        if learns:
            logits.sum().backward()
    return float(counter.get_total_flops()) / BATCH


if __name__ == "__main__":
    main()
