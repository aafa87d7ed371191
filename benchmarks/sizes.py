"""Models of BERT's sizes with random weights: rows a second, and the share of the device's own peak of matrix products.

The teacher's pass, in batches of its own, and the training of a student with half of its layers, in batches of 32; all
rows of one length, in the precision that "auto" takes here. The peak is measured too, by the product of two large
matrices in that precision.

    python -m benchmarks.sizes                                   # on a GPU
    python -m benchmarks.sizes --sizes base --lengths 32 128 --batches 3   # on two cores, some five minutes
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contenders import WARM_UP, Clock, patient_trainer
from benchmarks.material import BATCH, random_teacher, rows_of_length
from benchmarks.workers import stopwatch
from pkd.data.batching import Collator, TokenRows
from pkd.distillation.annotation import annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.encoder.contract import LoadedClassifier
from pkd.encoder.inference import model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.recipe.settings import TrainingSettings
from pkd.training.precision import autocast_dtype, describe_hardware, resolve_device

_SIZES = {"base": (12, 768, 12), "large": (24, 1024, 16)}  # layers, units, heads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", choices=list(_SIZES), default=list(_SIZES))
    parser.add_argument("--lengths", type=int, nargs="*", default=[32, 128, 512])
    parser.add_argument("--batches", type=int, default=50, help="timed batches of 32 rows")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    device = resolve_device("auto")
    dtype = autocast_dtype("auto", device) or torch.float32
    peak = _peak(device, dtype)
    figures: dict[str, Any] = {"hardware": describe_hardware(device), "precision": str(dtype), "peak_teraflops": peak}
    print(f"{figures['hardware']}, {dtype}, peak of a matrix product: {peak:.2f} TFLOP/s", flush=True)
    for size in given.sizes:
        teacher = _teacher(size, max(given.lengths), device)
        for length in given.lengths:
            figures[f"{size}, {length}"] = told = _measure(teacher, length, given.batches, device, dtype, peak)
            words = "; ".join(
                f"{what} {each['rows_per_second']:,.1f} rows/s, {each['share_of_peak']:.0%} of the peak"
                for what, each in told.items()
            )
            print(f"BERT-{size}, {length} word pieces: {words}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _peak(device: torch.device, dtype: torch.dtype) -> float:
    """Tera floating-point operations a second of a large matrix product; the best of ten."""
    side = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best, now = float("inf"), stopwatch(alone=False)
    for _ in range(10):
        began = now()
        one @ other
        best = min(best, now() - began)
    return 2 * side**3 / best / 1e12


def _teacher(size: str, positions: int, device: torch.device) -> LoadedClassifier:
    layers, units, heads = _SIZES[size]
    teacher = random_teacher(
        size, num_hidden_layers=layers, hidden_size=units, num_attention_heads=heads, intermediate_size=4 * units,
        max_position_embeddings=positions,
    )  # fmt: skip
    teacher.model.to(device)  # type: ignore[arg-type]
    return teacher


def _measure(
    teacher: LoadedClassifier, length: int, batches: int, device: torch.device, dtype: torch.dtype, peak: float
) -> dict[str, dict[str, float]]:
    """Rows a second and share of the peak, of the teacher's pass and of a student's training."""
    depth = teacher.model.config.num_hidden_layers
    layer_map = LayerMap.skip(teacher_layers=depth, student_layers=depth // 2)
    count = (batches + WARM_UP) * BATCH
    rows = rows_of_length(length, count)
    with tempfile.TemporaryDirectory() as folder:

        def annotate(some: datasets.Dataset, name: str) -> datasets.Dataset:
            (Path(folder) / name).mkdir()
            return annotate_rows(
                some, teacher.model, teacher.tokenizer, Path(folder) / name, teacher_layers=layer_map.teacher,
                max_length=length, autocast_dtype=autocast_dtype("auto", device),
            )  # fmt: skip

        now = stopwatch(alone=False)
        annotate(rows.select(range(BATCH)), "warm-up")
        began = now()
        annotated = annotate(rows, "rows")
        annotating = count / (now() - began)
        clock = Clock(alone=False)
        trainer = patient_trainer(teacher, annotated, TrainingSettings(), layer_map, max_steps=batches + WARM_UP)
        student = trainer.model
        trainer.add_callback(clock)
        trainer.train()
        training = clock.examples_per_second()
        batch = model_inputs(Collator(0)(TokenRows(annotated).__getitems__(list(range(BATCH)))), teacher.model, device)
        return {
            name: {"rows_per_second": speed, "share_of_peak": speed * _operations(model, batch, learns) / peak / 1e12}
            for name, speed, model, learns in (
                ("teacher pass", annotating, teacher.model, False),
                ("training", training, student, True),
            )
        }


def _operations(model: Any, batch: dict[str, torch.Tensor], learns: bool) -> float:
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
