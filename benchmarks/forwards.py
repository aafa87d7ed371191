"""The teacher's forward passes in several ways, on rows of one length: what would bring them nearer to the peak?

In the order of the table: as `pkd` computes them; in smaller and in larger batches; with weights in bfloat16 instead of
autocast; compiled. Beside the rows a second and the share of the device's peak stands how far the logits of 64 rows are
from those in float32.

    python -m benchmarks.forwards --device cuda --teacher base
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch

from benchmarks.material import SIZES, Setup, load_teacher, rows_of_length
from benchmarks.sizes import count_operations, measure_peak
from benchmarks.workers import measure_in_turns, ratios, spread, stopwatch, write_figures
from pkd.data.batching import Collator, TokenRows
from pkd.data.tokenize import encode
from pkd.encoder.inference import TOKENS_PER_BATCH, model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.training.hardware import autocast_dtype, describe_hardware, resolve_device

_COMPARED = 64  # rows
_AS_IT_IS = "as it is"
WAYS: dict[str, dict[str, Any]] = {
    _AS_IT_IS: {},
    "batches a quarter as large": {"factor": 0.25},
    "batches four times as large": {"factor": 4},
    "weights in bfloat16": {"bfloat16": True},
    "compiled": {"compiled": True},
    "weights in bfloat16, compiled": {"bfloat16": True, "compiled": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=128, help="word pieces a row")
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--teacher", choices=list(SIZES), default="base")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures here, as they come")
    given = parser.parse_args()
    setup, device = Setup(given.teacher, given.device), resolve_device(given.device)
    peak = measure_peak(device, autocast_dtype("auto", device) or torch.float32)
    figures: dict[str, Any] = {"hardware": describe_hardware(device), "teacher": given.teacher, "peak_teraflops": peak}
    with tempfile.TemporaryDirectory() as place:
        teacher = load_teacher(given.teacher)
        rows = encode(rows_of_length(given.length, given.rows), teacher.tokenizer, given.length)
        rows.save_to_disk(place)
        model: Any = teacher.model.to(device)  # type: ignore[arg-type]
        table = TokenRows(rows)
        batch = model_inputs(Collator(0)(table.__getitems__(list(range(32)))), model, device)
        a_row = count_operations(model, batch, learns=False)
        del model, teacher

        def keep(values: dict[str, list[float]]) -> None:
            figures[f"{given.length} word pieces"] = {
                way: {"rows_per_second": spread(each), "share_of_peak": spread(each)["median"] * a_row / peak / 1e12}
                | ({"gain": ratios(each, values[_AS_IT_IS])} if _AS_IT_IS in values else {})
                for way, each in values.items()
            }
            write_figures(given.json, figures)

        print("Forward passes, rows a second", flush=True)
        measure_in_turns({way: (forward_passes, place, setup, way) for way in WAYS}, given.rounds, "rows/s", keep)
        print("Largest difference of a logit from float32, in thousandths", flush=True)
        compared = {way: (difference, place, setup, way) for way in (_AS_IT_IS, "weights in bfloat16")}
        apart = measure_in_turns(compared, 1, "")
    figures["largest difference of a logit from float32"] = {way: each[0] / 1000 for way, each in apart.items()}
    write_figures(given.json, figures)


def forward_passes(place: str, setup: Setup, way: str) -> Callable[[], float]:
    """Rows a second of all forward passes in one of the `WAYS`, the batches in memory."""
    device, changed = resolve_device(setup.device), WAYS[way]
    model, rows = _model(setup, device, way), datasets.load_from_disk(place)
    a_batch = max(1, int(TOKENS_PER_BATCH[device.type] * changed.get("factor", 1)) // int(rows[0]["length"]))
    table, collate = TokenRows(rows), Collator(0)
    whole = len(rows) // a_batch * a_batch or len(rows)  # of one shape, for which is compiled
    batches = [
        model_inputs(collate(table.__getitems__(list(range(begin, min(begin + a_batch, whole))))), model, device)
        for begin in range(0, whole, a_batch)
    ]
    with _answering(model, device, way):
        compute = torch.compile(model, dynamic=False) if changed.get("compiled") else model
        compute(**batches[0])

    def measure() -> float:
        now = stopwatch(alone=False)
        with _answering(model, device, way):
            began = now()
            for batch in batches:
                compute(**batch)
            return whole / (now() - began)

    return measure


def difference(place: str, setup: Setup, way: str) -> Callable[[], float]:
    """A thousand times the largest difference of a logit of 64 rows from float32's."""
    device = resolve_device(setup.device)
    model, exact = _model(setup, device, way), _model(setup, device, _AS_IT_IS)
    rows = datasets.load_from_disk(place).select(range(_COMPARED))
    batch = model_inputs(Collator(0)(TokenRows(rows).__getitems__(list(range(_COMPARED)))), model, device)

    def measure() -> float:
        with _answering(model, device, way):
            logits = model(**batch).logits.float()
        with torch.inference_mode(), cls_only(exact):
            return float((logits - exact(**batch).logits).abs().max()) * 1000

    return measure


def _model(setup: Setup, device: torch.device, way: str) -> Any:
    torch.manual_seed(0)
    model: Any = load_teacher(setup.teacher).model.to(device).eval()  # type: ignore[arg-type]
    return model.to(torch.bfloat16) if WAYS[way].get("bfloat16") else model


@contextmanager
def _answering(model: Any, device: torch.device, way: str) -> Iterator[None]:
    dtype = None if WAYS[way].get("bfloat16") else autocast_dtype("auto", device)
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
    with torch.inference_mode(), autocast, cls_only(model):
        yield


if __name__ == "__main__":
    main()
