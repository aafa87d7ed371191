"""Rows one behind the other with attention of variable length, against rows padded: the same mathematics, no padding.

The teacher's forward passes in batches of as many word pieces as `pkd` takes, and a student's steps in batches of 32,
padded to a multiple of 8 as `pkd` does on a GPU, padded to their longest row, and packed. Packed attention is the
flash-attention kernel that torch ships, dropout included; on a CPU, where there is none, the same is computed row by
row, which proves the rest and measures nothing. The logits of the first batch are held to those of the padded one.

    python -m benchmarks.packing --device cuda --train SST-2/train.tsv --teacher base
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from transformers import AttentionInterface

from benchmarks.contenders import Clock, warm_up
from benchmarks.material import BATCH, SIZES, Setup, half_map, load_teacher, read_texts, student_depth
from benchmarks.workers import measure_in_turns, ratios, spread, stopwatch, write_figures
from pkd.data.arrays import column_array
from pkd.data.batches_by_length import batches_by_length, gpu_length
from pkd.data.batching import Collator, LengthGroupedBatches, TokenRows
from pkd.data.tokenize import encode, occurring_pieces
from pkd.distillation.student import student_from
from pkd.encoder.families import layers_of
from pkd.encoder.inference import TOKENS_PER_BATCH, model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import occurring_only
from pkd.training.hardware import autocast_dtype, describe_hardware, resolve_device

Batch = dict[str, Any]

_LONGEST = 128
_CLOSE = {"cpu": 1e-4, "cuda": 0.03}  # logits of random heads lie within 1; on a GPU both ways are in bfloat16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="labelled examples; by default phrases cut from the demo's reviews")
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--teacher", choices=["demo", *SIZES], default="demo", help="a size: with random weights")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures here, as they come")
    given = parser.parse_args()
    setup, device = Setup(given.teacher, given.device), resolve_device(given.device)
    figures: dict[str, Any] = {"hardware": describe_hardware(device), "teacher": given.teacher, "rows": given.rows}
    with tempfile.TemporaryDirectory() as place:
        encode(read_texts(given.train, given.rows), load_teacher(given.teacher).tokenizer, _LONGEST).save_to_disk(place)
        for part, prepare, more in (("forward", forward_passes, ()), ("training", training_steps, (given.steps,))):

            def keep(values: dict[str, list[float]], part: str = part) -> None:
                padded = values.get(_AS_PKD)
                figures[part] = {
                    way: {"rows_per_second": spread(each)} | ({"gain": ratios(each, padded)} if padded else {})
                    for way, each in values.items()
                }
                write_figures(given.json, figures)

            print(f"{part}: rows a second", flush=True)
            measure_in_turns({way: (prepare, place, setup, way, *more) for way in _WAYS}, given.rounds, "rows/s", keep)


def forward_passes(place: str, setup: Setup, way: str) -> Callable[[], float]:
    """Rows a second of the teacher's forward passes, the batches in memory."""
    teacher, device = load_teacher(setup.teacher), resolve_device(setup.device)
    model: Any = teacher.model.to(device).eval()  # type: ignore[arg-type]
    rows = datasets.load_from_disk(place)
    tokens = column_array(rows, "length")
    order = [indices.tolist() for indices in batches_by_length(tokens, TOKENS_PER_BATCH[device.type])]
    batches = _batches(rows, order, way, device)
    answer = _WAYS[way]
    _check_same(model, rows, order[-1], way, device)

    def measure() -> float:
        now = stopwatch(alone=False)
        with torch.inference_mode(), _ready(model, way), _autocast(device):
            began = now()
            for batch in batches:
                answer(model, batch)
            return len(rows) / (now() - began)

    return measure


def training_steps(place: str, setup: Setup, way: str, steps: int) -> Callable[[], float]:
    """Rows a second of a student's steps on the labels, in batches of 32."""
    teacher, device = load_teacher(setup.teacher), resolve_device(setup.device)
    student: Any = student_from(teacher.model, student_depth(half_map(teacher))).to(device)  # type: ignore[arg-type]
    rows = datasets.load_from_disk(place)
    grouped = LengthGroupedBatches(column_array(rows, "length"), BATCH, seed=0, drop_last=True)
    batches = _batches(rows, list(grouped)[: warm_up(device) + steps], way, device)
    occurs = occurring_pieces(rows, student.config.vocab_size)
    answer = _WAYS[way]

    def measure() -> float:
        student.train()
        with _ready(student, way), occurring_only(student, occurs):
            optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
            clock = Clock(setup, steps)
            for batch in clock.watch(batches):
                with _autocast(device):
                    logits = answer(student, batch)
                F.cross_entropy(logits.float(), batch["labels"]).backward()
                optimizer.step()
                optimizer.zero_grad()
            return clock.examples_per_second()

    return measure


def _batches(rows: datasets.Dataset, order: list[list[int]], way: str, device: torch.device) -> list[Batch]:
    table = TokenRows(rows)
    multiple_of_8 = way == _AS_PKD
    collate = Collator(0, (), lambda longest: gpu_length(longest, _LONGEST) if multiple_of_8 else longest)
    made = []
    for indices in order:
        batch: Batch = collate(table.__getitems__(indices))
        if way == _PACKED:
            batch = _pack(batch)
        made.append({name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()})
    return made


def _pack(batch: Batch) -> Batch:
    """The rows of a padded batch one behind the other: [1, T] for all their T word pieces."""
    filled = batch["attention_mask"].bool()
    lengths = filled.sum(1)
    ends = F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)  # [B + 1], 0 first
    positions = torch.arange(filled.shape[1]).expand_as(filled)
    return {
        "input_ids": batch["input_ids"][filled][None],
        "position_ids": positions[filled][None],
        "ends": ends,
        "longest": int(lengths.max()),
        "labels": batch["labels"],
    }


def _answer_padded(model: Any, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(**model_inputs(batch, model)).logits
    return logits


def _answer_packed(model: Any, batch: Batch) -> torch.Tensor:
    """The logits [B, C] of packed rows; the last layer answers for their [CLS] alone."""
    ends, bert = batch["ends"], model.bert
    states = bert.embeddings(input_ids=batch["input_ids"], position_ids=batch["position_ids"])
    packed = {"ends": ends, "longest": batch["longest"]}
    states = bert.encoder(states, attention_mask=None, **packed).last_hidden_state  # [1, B, H]
    logits: torch.Tensor = model.classifier(model.dropout(bert.pooler(states[0][:, None])))
    return logits


def _packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    ends: torch.Tensor,
    longest: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each row; queries, keys and values are [1, heads, T, D], or of one query a row [1, heads, B, D].

    Returns:
        [1, T, heads, D].
    """
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))  # [T, heads, D]
    rows = len(ends) - 1
    for_cls = len(q) == rows and len(k) != rows
    q_ends = torch.arange(rows + 1, dtype=torch.int32, device=ends.device) if for_cls else ends
    if q.is_cuda:
        mixed, *_ = torch.ops.aten._flash_attention_forward(
            q, k, v, q_ends, ends, 1 if for_cls else longest, longest, dropout, False, False, scale=scaling
        )
        return mixed[None], None
    parts = []
    for row in range(rows):
        asks, reads = slice(q_ends[row], q_ends[row + 1]), slice(ends[row], ends[row + 1])
        mine = (states.transpose(0, 1)[None] for states in (q[asks], k[reads], v[reads]))  # [1, heads, L, D]
        mixed = F.scaled_dot_product_attention(*mine, dropout_p=dropout, scale=scaling)
        parts.append(mixed[0].transpose(0, 1))
    return torch.cat(parts)[None], None


def _packed_last_layer(
    layer: Any, hidden_states: torch.Tensor, attention_mask: None = None, *args: Any, **packed: Any
) -> torch.Tensor:
    """As `pkd.encoder.shortcut`, over packed rows: [1, T, H] -> [1, B, H]."""
    attention = layer.attention.self
    cls_states = hidden_states[:, packed["ends"][:-1].long()]  # [1, B, H]

    def split_heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

    context, _ = _packed_attention(
        attention,
        split_heads(attention.query(cls_states)),
        split_heads(attention.key(hidden_states)),
        split_heads(attention.value(hidden_states)),
        None,
        dropout=attention.dropout.p if attention.training else 0.0,
        scaling=attention.scaling,
        ends=packed["ends"],
        longest=packed["longest"],
    )
    context = context.reshape(*cls_states.shape[:2], -1)
    output: torch.Tensor = layer.feed_forward_chunk(layer.attention.output(context, cls_states))
    return output


@contextlib.contextmanager
def _ready(model: Any, way: str) -> Iterator[None]:
    """Inside the block the model answers batches that were made this way."""
    if way != _PACKED:
        with cls_only(model):
            yield
        return
    before, last = model.config._attn_implementation, layers_of(model)[-1]
    AttentionInterface.register("packed", _packed_attention)
    model.config._attn_implementation = "packed"
    last.forward = types.MethodType(_packed_last_layer, last)
    try:
        yield
    finally:
        del last.forward
        model.config._attn_implementation = before


def _autocast(device: torch.device) -> torch.autocast:
    # on a CPU what is proven is proven in float32
    return torch.autocast(device.type, dtype=autocast_dtype("auto", device), enabled=device.type == "cuda")


def _check_same(model: Any, rows: datasets.Dataset, indices: list[int], way: str, device: torch.device) -> None:
    """The logits of a batch must be those of the padded batch.

    Raises:
        RuntimeError: if they differ by more than the precision tells.
    """
    logits = []
    for each in (_AS_PKD, way):
        with torch.inference_mode(), _ready(model, each), _autocast(device):
            logits.append(_WAYS[each](model, _batches(rows, [indices], each, device)[0]).float().cpu())
    apart = float(np.abs((logits[0] - logits[1]).numpy()).max())
    if not apart <= _CLOSE[device.type]:
        raise RuntimeError(f"{way} answers otherwise than {_AS_PKD}: logits differ by {apart:.3g}")


_AS_PKD, _PACKED = "padded to multiples of 8", "packed"
_WAYS: dict[str, Callable[[Any, Batch], torch.Tensor]] = {
    _AS_PKD: _answer_padded,
    "padded to the longest": _answer_padded,
    _PACKED: _answer_packed,
}


if __name__ == "__main__":
    main()
