"""The ways to train one and the same student on the same rows, each prepared in a process of its own.

Each measures examples a second over steps in full swing: what it takes to start, and the first steps, are left out of
all alike (the whole jobs have them in). All take 32 rows a step and clip gradients where their own defaults do. With
`alone` a contender runs on one thread and its processor time is counted, for a machine that others use meanwhile.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.material import BATCH, LAYER_MAP, load_demo_teacher
from benchmarks.workers import stopwatch
from pkd.data.arrays import column_array
from pkd.data.batching import Collator, LengthGroupedBatches, TokenRows
from pkd.data.encoding import occurring_pieces
from pkd.data.lengths import round_up
from pkd.distillation.annotation import open_shards
from pkd.distillation.layers import LayerMap
from pkd.distillation.losses import ce_loss, kd_loss, pkd_loss, pt_loss
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.encoder.inference import cls_states_of, model_inputs
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import occurring_only
from pkd.recipe.settings import LossSettings, TrainingSettings
from pkd.training.arguments import trainer_arguments
from pkd.training.precision import autocast_dtype, keep_freed_memory, resolve_device

WARM_UP = 3  # steps that are not timed
_LONGEST = 128


def pkd_training(
    annotated: str, steps: int, alone: bool = False, settings: dict[str, Any] | None = None
) -> Callable[[], float]:
    """`pkd` as a user gets it by default, or with other training settings."""
    teacher, rows = load_demo_teacher(), open_shards(Path(annotated))

    def measure() -> float:
        clock = Clock(alone)
        trainer = patient_trainer(teacher, rows, TrainingSettings(**(settings or {})), max_steps=WARM_UP + steps)
        trainer.add_callback(clock)
        trainer.train()
        return clock.examples_per_second()

    return measure


def patient_trainer(
    teacher: Any, rows: datasets.Dataset, settings: TrainingSettings, layer_map: LayerMap = LAYER_MAP, **arguments: Any
) -> PatientTrainer:
    """The trainer as the jobs of `pkd` make it, of a student with one layer more than it has patient ones."""
    output = Path(tempfile.mkdtemp())
    given = (
        trainer_arguments(settings, output, seed=0, metric=None, device="auto") | {"save_strategy": "no"} | arguments
    )
    return PatientTrainer(
        student_from(teacher.model, len(layer_map.pairs) + 1),
        PatientTrainingArguments(**given),
        layer_map=layer_map,
        train_dataset=rows,
        processing_class=teacher.tokenizer,
    )


def teacher_in_the_loop(annotated: str, steps: int, alone: bool = False) -> Callable[[], float]:
    """A plain `transformers.Trainer` with its own defaults, whose loss asks the teacher at every step."""
    teacher, rows = load_demo_teacher(), _plain_rows(annotated)

    def measure() -> float:
        clock = Clock(alone)
        trainer = loop_trainer(teacher, rows, max_steps=WARM_UP + steps)
        trainer.add_callback(clock)
        trainer.train()
        return clock.examples_per_second()

    return measure


def loop_trainer(teacher: Any, rows: datasets.Dataset, **arguments: Any) -> Trainer:
    """What one writes without `pkd`."""
    return _TeacherInTheLoop(
        student_from(teacher.model, 3),
        TrainingArguments(
            tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **arguments,
        ),
        teacher=teacher.model,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(teacher.tokenizer),
    )


class _TeacherInTheLoop(Trainer):
    def __init__(self, *args: Any, teacher: torch.nn.Module, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
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
        teacher_states = cls_states_of(teacher.hidden_states, LAYER_MAP.teacher, len(labels))
        return _patient_loss(student, labels, teacher.logits, teacher_states)


def textbrewer_distiller(annotated: str, steps: int, alone: bool = False) -> Callable[[], float]:
    """TextBrewer's `GeneralDistiller` with hidden-state matches and its own defaults; batches padded as they come.

    Its own examples pad every text to one length, which would be slower.
    """
    import textbrewer

    logging.getLogger("Distillation").setLevel(logging.ERROR)
    teacher, rows = load_demo_teacher(), _plain_rows(annotated)
    folder = tempfile.mkdtemp()
    student = student_from(teacher.model, 3)

    def adapt(batch: Any, output: Any) -> dict[str, Any]:
        return {"logits": output.logits, "hidden": output.hidden_states, "inputs_mask": batch["attention_mask"]}

    distiller = textbrewer.GeneralDistiller(
        train_config=textbrewer.TrainingConfig(
            log_dir=folder, output_dir=folder, device=str(resolve_device("auto")), ckpt_steps=10**9
        ),
        distill_config=textbrewer.DistillationConfig(
            intermediate_matches=[
                {"layer_T": above, "layer_S": below, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
                for below, above in LAYER_MAP.pairs
            ]
        ),
        model_T=teacher.model.eval(),
        model_S=student,
        adaptor_T=adapt,
        adaptor_S=adapt,
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5)
    pad = DataCollatorWithPadding(teacher.tokenizer)
    loader = _shuffled(rows.remove_columns("labels"), lambda some: dict(pad(some)))  # it asks for a dict

    def measure() -> float:
        clock = Clock(alone)
        with distiller, contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            distiller.train(
                optimizer,
                clock.watch(loader, WARM_UP + steps),
                num_steps=WARM_UP + steps,
                output_hidden_states=True,
            )
        return clock.examples_per_second()

    return measure


def reference_style(annotated: str, steps: int, alone: bool = False) -> Callable[[], float]:
    """As the paper's own code works: annotated teacher, all padded to 128, float32, every layer whole, plain Adam."""
    teacher, rows = load_demo_teacher(), open_shards(Path(annotated))
    collate = Collator(0, LAYER_MAP.teacher, partial(round_up, multiple=_LONGEST))
    student = student_from(teacher.model, 3)
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5, weight_decay=0.01, foreach=False, fused=False)
    loader = _shuffled(TokenRows(rows), collate)

    def measure() -> float:
        clock = Clock(alone)
        student.train()
        for batch in clock.watch(loader, WARM_UP + steps):
            output = student(**model_inputs(batch, student), output_hidden_states=True)
            _patient_loss(output, batch["labels"], batch["teacher_logits"], batch["teacher_cls_states"]).backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return clock.examples_per_second()

    return measure


def limit(annotated: str, steps: int, alone: bool = False) -> Callable[[], float]:
    """Forward, backward and fused step of the same student, as exactly and as narrowly as `pkd` computes them.

    The batches lie in memory and there are no terms of a loss to feed: the model's own cross-entropy is learned.
    """
    teacher, rows = load_demo_teacher(), open_shards(Path(annotated))
    keep_freed_memory()
    batches = _grouped_batches(rows, WARM_UP + steps)
    student = student_from(teacher.model, 3)
    device = resolve_device("auto")
    student.to(device)
    dtype = autocast_dtype("auto", device)
    occurs = occurring_pieces(rows, teacher.model.config.vocab_size)

    def measure() -> float:
        clock = Clock(alone)
        student.train()
        with cls_only(student), occurring_only(student, occurs):
            optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
            for batch in clock.watch(batches, WARM_UP + steps):
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
    """Times the steps after the first few, in a Trainer or in a loop over batches."""

    def __init__(self, alone: bool) -> None:
        self.times: list[float] = []
        self.now = stopwatch(alone)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.times.append(self.now())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(self.now())

    def watch(self, batches: Iterable[Any], steps: int) -> Iterator[Any]:
        for batch in itertools.islice(itertools.cycle(batches), steps):
            self.times.append(self.now())
            yield batch
        self.times.append(self.now())

    def examples_per_second(self) -> float:
        timed = len(self.times) - 1 - WARM_UP
        return timed * BATCH / (self.times[-1] - self.times[WARM_UP])


def _patient_loss(student: Any, labels: Any, teacher_logits: Any, teacher_states: Any) -> torch.Tensor:
    loss = LossSettings()
    return pkd_loss(
        ce_loss(student.logits, labels),
        kd_loss(student.logits, teacher_logits, loss.temperature),
        pt_loss(cls_states_of(student.hidden_states, LAYER_MAP.student, len(labels)), teacher_states),
        loss.alpha,
        loss.beta,
    ).mean()


def _plain_rows(annotated: str) -> datasets.Dataset:
    return open_shards(Path(annotated)).select_columns(["input_ids", "label"]).rename_column("label", "labels")


def _shuffled(rows: Any, collate: Any) -> torch.utils.data.DataLoader[Any]:
    random = torch.Generator().manual_seed(0)
    return torch.utils.data.DataLoader(
        rows, batch_size=BATCH, shuffle=True, generator=random, collate_fn=collate, drop_last=True
    )


def _grouped_batches(rows: datasets.Dataset, count: int) -> list[dict[str, torch.Tensor]]:
    """The first batches of an epoch as `pkd` makes them."""
    table, collate = TokenRows(rows), Collator(0)
    order = LengthGroupedBatches(column_array(rows, "length"), BATCH, seed=0)
    return [collate(table.__getitems__(batch)) for batch in itertools.islice(order, count)]
