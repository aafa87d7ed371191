"""The ways to train one and the same student on the same rows, each prepared in a process of its own.

Each measures examples a second over steps in full swing: what it takes to start, and the first steps, are left out of
all alike (the whole jobs have them in). All take 32 rows a step and clip gradients where their own defaults do. A
`Setup` says with which teacher and on which device.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.material import BATCH, Setup, half_map, load_teacher, student_depth
from benchmarks.workers import stopwatch
from pkd.data.arrays import column_array
from pkd.data.batches_by_length import gpu_length, round_up
from pkd.data.batching import Collator, LengthGroupedBatches, TokenRows
from pkd.data.encodings import Reader, write_encoding
from pkd.data.shards import open_shards
from pkd.data.tokenize import joined, occurring_pieces
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.distillation.plan import PUBLISHED_BETA
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.encoder.inference import cls_states_of, model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import occurring_only
from pkd.losses import ce_loss, kd_loss, pkd_loss, pt_loss
from pkd.recipe.settings import LossSettings, TrainingSettings
from pkd.training.arguments import trainer_arguments
from pkd.training.hardware import autocast_dtype, keep_freed_memory, resolve_device
from pkd.training.schedule import student_schedule

_LONGEST = 128
_ENCODING = "encoding"  # of annotated rows, the folder of their word pieces


def warm_up(device: torch.device) -> int:
    """How many steps are not timed: on a GPU every new length of a batch brings kernels that are loaded first."""
    return 20 if device.type == "cuda" else 3


def pkd_training(
    annotated: str,
    steps: int,
    setup: Setup,
    settings: dict[str, Any] | None = None,
    arguments: dict[str, Any] | None = None,
) -> Callable[[], float]:
    """`pkd` as a user gets it by default, or with other training settings or arguments of the Trainer."""
    teacher, rows = load_teacher(setup.teacher), open_annotated(annotated)
    chosen = TrainingSettings(**(settings or {}))

    def measure() -> float:
        clock = Clock(setup, steps)
        trainer = patient_trainer(teacher, rows, chosen, device=setup.device, max_steps=clock.last, **(arguments or {}))
        trainer.add_callback(clock)
        trainer.train()
        return clock.examples_per_second()

    return measure


def patient_trainer(
    teacher: Any,
    rows: datasets.Dataset,
    settings: TrainingSettings,
    layer_map: LayerMap | None = None,
    device: str = "auto",
    **arguments: Any,
) -> PatientTrainer:
    """The trainer as the jobs of `pkd` make it, by default of a student of half the teacher's layers."""
    layer_map = layer_map or half_map(teacher)
    output = Path(tempfile.mkdtemp())
    given = (
        trainer_arguments(student_schedule(settings), output, seed=0, metric=None, device=device)
        | {"save_strategy": "no"}
        | arguments
    )
    return PatientTrainer(
        student_from(teacher.model, student_depth(layer_map)),
        PatientTrainingArguments(**given),
        layer_map=layer_map,
        train_dataset=rows,
        processing_class=teacher.tokenizer,
    )


def teacher_in_the_loop(annotated: str, steps: int, setup: Setup) -> Callable[[], float]:
    """A plain `transformers.Trainer` with its own defaults, whose loss asks the teacher at every step."""
    teacher, rows = load_teacher(setup.teacher), _plain_rows(annotated)

    def measure() -> float:
        clock = Clock(setup, steps)
        trainer = loop_trainer(teacher, rows, setup, max_steps=clock.last)
        trainer.add_callback(clock)
        trainer.train()
        return clock.examples_per_second()

    return measure


def loop_trainer(teacher: Any, rows: datasets.Dataset, setup: Setup, **arguments: Any) -> Trainer:
    """What one writes without `pkd`."""
    layer_map = half_map(teacher)
    return _TeacherInTheLoop(
        student_from(teacher.model, student_depth(layer_map)),
        TrainingArguments(
            tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH,
            use_cpu=resolve_device(setup.device).type == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **arguments,
        ),
        teacher=teacher.model,
        layer_map=layer_map,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(teacher.tokenizer),
    )


class _TeacherInTheLoop(Trainer):
    def __init__(self, *args: Any, teacher: torch.nn.Module, layer_map: LayerMap, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.layer_map = layer_map
        self.teacher = teacher.to(self.args.device).eval()
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs.pop("labels")
        student = model(**inputs, output_hidden_states=True)
        with torch.no_grad():
            teacher = self.teacher(**inputs, output_hidden_states=True)
        teacher_states = cls_states_of(teacher.hidden_states, self.layer_map.teacher, len(labels))
        return _patient_loss(student, labels, teacher.logits, teacher_states, self.layer_map)


def textbrewer_distiller(annotated: str, steps: int, setup: Setup) -> Callable[[], float]:
    """TextBrewer's `GeneralDistiller` with hidden-state matches and its own defaults; batches padded as they come.

    Its own examples pad every text to one length, which would be slower.
    """
    import textbrewer

    logging.getLogger("Distillation").setLevel(logging.ERROR)
    teacher, rows, device = load_teacher(setup.teacher), _plain_rows(annotated), resolve_device(setup.device)
    folder = tempfile.mkdtemp()
    layer_map = half_map(teacher)
    student = student_from(teacher.model, student_depth(layer_map)).to(device)  # type: ignore[arg-type]

    def adapt(batch: Any, output: Any) -> dict[str, Any]:
        return {"logits": output.logits, "hidden": output.hidden_states, "inputs_mask": batch["attention_mask"]}

    distiller = textbrewer.GeneralDistiller(
        train_config=textbrewer.TrainingConfig(log_dir=folder, output_dir=folder, device=str(device), ckpt_steps=10**9),
        distill_config=textbrewer.DistillationConfig(
            intermediate_matches=[
                {"layer_T": above, "layer_S": below, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
                for below, above in layer_map.pairs
            ]
        ),
        model_T=teacher.model.to(device).eval(),  # type: ignore[arg-type]
        model_S=student,
        adaptor_T=adapt,
        adaptor_S=adapt,
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5)
    pad = DataCollatorWithPadding(teacher.tokenizer)
    loader = _shuffled(rows.remove_columns("labels"), lambda some: dict(pad(some)))  # it asks for a dict

    def measure() -> float:
        clock = Clock(setup, steps)
        with distiller, contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            distiller.train(
                optimizer,
                clock.watch(loader),
                num_steps=clock.last + 1,
                output_hidden_states=True,
            )
        return clock.examples_per_second()

    return measure


def reference_style(annotated: str, steps: int, setup: Setup) -> Callable[[], float]:
    """As the paper's own code works: annotated teacher, all padded to 128, float32, every layer whole, plain Adam."""
    teacher, rows, device = load_teacher(setup.teacher), open_annotated(annotated), resolve_device(setup.device)
    layer_map = half_map(teacher)
    collate = Collator(0, layer_map.teacher, partial(round_up, multiple=_LONGEST))
    student = student_from(teacher.model, student_depth(layer_map)).to(device)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5, weight_decay=0.01, foreach=False, fused=False)
    loader = _shuffled(TokenRows(rows), collate)

    def measure() -> float:
        clock = Clock(setup, steps)
        student.train()
        for batch in clock.watch(loader):
            output = student(**model_inputs(batch, student, device), output_hidden_states=True)
            taught = (batch[name].to(device) for name in ("labels", "teacher_logits", "teacher_cls_states"))
            _patient_loss(output, *taught, layer_map).backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return clock.examples_per_second()

    return measure


def limit(annotated: str, steps: int, setup: Setup) -> Callable[[], float]:
    """Forward, backward and fused step of the same student, as exactly and as narrowly as `pkd` computes them.

    The batches lie in memory and there are no terms of a loss to feed: the model's own cross-entropy is learned.
    """
    teacher, rows, device = load_teacher(setup.teacher), open_annotated(annotated), resolve_device(setup.device)
    keep_freed_memory()
    batches = grouped_batches(rows, warm_up(device) + steps, device)
    student = student_from(teacher.model, student_depth(half_map(teacher))).to(device)  # type: ignore[arg-type]
    dtype = autocast_dtype("auto", device)
    occurs = occurring_pieces(rows, teacher.model.config.vocab_size)

    def measure() -> float:
        clock = Clock(setup, steps)
        student.train()
        with cls_only(student), occurring_only(student, occurs):
            optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
            for batch in clock.watch(batches):
                with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
                    loss = student(**model_inputs(batch, student, device), labels=batch["labels"].to(device)).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        return clock.examples_per_second()

    return measure


CONTENDERS = {
    "reference style": reference_style,
    "TextBrewer": textbrewer_distiller,
    "teacher in the loop": teacher_in_the_loop,
    "pkd": pkd_training,
    "limit": limit,
}


class Clock(TrainerCallback):
    """Times the steps after the first few, in a Trainer or in a loop over batches.

    It looks twice, before the first timed step and after the last: on a GPU a look waits for all that was asked of it,
    and a look at every step would keep a contender from asking ahead.
    """

    def __init__(self, setup: Setup, steps: int) -> None:
        self.first = warm_up(resolve_device(setup.device))
        self.last = self.first + steps
        self.now = stopwatch(setup.alone)
        self.times: list[float] = []
        self.step = 0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.step += 1
        self._look()

    def watch(self, batches: Iterable[Any]) -> Iterator[Any]:
        # one more than are timed: TextBrewer asks for nothing after its last, and saves a model then
        for batch in itertools.islice(itertools.cycle(batches), self.last + 1):
            self._look()
            yield batch
            self.step += 1

    def _look(self) -> None:
        if self.step in (self.first, self.last):
            self.times.append(self.now())

    def examples_per_second(self) -> float:
        began, ended = self.times
        return (self.last - self.first) * BATCH / (ended - began)


def _patient_loss(
    student: Any, labels: Any, teacher_logits: Any, teacher_states: Any, layer_map: LayerMap
) -> torch.Tensor:
    loss = LossSettings()
    return pkd_loss(
        ce_loss(student.logits, labels),
        kd_loss(student.logits, teacher_logits, loss.temperature),
        pt_loss(cls_states_of(student.hidden_states, layer_map.student, len(labels)), teacher_states),
        loss.alpha,
        PUBLISHED_BETA if loss.beta is None else loss.beta,
    ).mean()


def annotate_and_encode(rows: datasets.Dataset, teacher: TeacherPass, folder: Path) -> datasets.Dataset:
    """Rows with the teacher's answers and word pieces, both stored in a folder as `open_annotated` finds them."""
    place = folder / _ENCODING
    place.mkdir(parents=True, exist_ok=True)
    reader = Reader(teacher.tokenizer, teacher.max_length, "teacher")
    encoding = write_encoding(rows, reader, place, rows_per_shard=teacher.rows_per_shard)
    return joined(annotate_rows(rows, teacher, folder, encoding=encoding), encoding)


def open_annotated(folder: str) -> datasets.Dataset:
    """The rows that `annotate_and_encode` stored."""
    return joined(open_shards(Path(folder)), open_shards(Path(folder) / _ENCODING))


def _plain_rows(annotated: str) -> datasets.Dataset:
    return open_annotated(annotated).select_columns(["input_ids", "label"]).rename_column("label", "labels")


def _shuffled(rows: Any, collate: Any) -> torch.utils.data.DataLoader[Any]:
    random = torch.Generator().manual_seed(0)
    return torch.utils.data.DataLoader(
        rows, batch_size=BATCH, shuffle=True, generator=random, collate_fn=collate, drop_last=True
    )


def grouped_batches(
    rows: datasets.Dataset,
    count: int,
    device: torch.device,
    teacher_layers: Sequence[int] = (),
    length: int | None = None,
) -> list[dict[str, torch.Tensor]]:
    """The first full batches of an epoch as `pkd` makes them for a device.

    Args:
        rows: annotated.
        count: at most so many batches.
        device: on a GPU they are padded to a multiple of 8.
        teacher_layers: whose states they bring.
        length: only those of rows that are padded to this length, a multiple of 8; None takes all rows.
    """
    round_length = partial(gpu_length, positions=_LONGEST) if device.type == "cuda" or length else int
    lengths = column_array(rows, "length")
    if length is not None:
        rows = rows.select(np.flatnonzero((lengths > length - 8) & (lengths <= length)))
        lengths = column_array(rows, "length")
    table, collate = TokenRows(rows), Collator(0, teacher_layers, round_length)
    order = LengthGroupedBatches(lengths, BATCH, seed=0, drop_last=True)
    return [collate(table.__getitems__(batch)) for batch in itertools.islice(order, count)]
