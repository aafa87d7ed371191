"""How many examples a second a student trains on: `pkd` beside a Trainer that asks the teacher at every step.

Both train the same three-layer student of the demo's encoder by the same loss (PKD-Skip, batch 32) on the same rows, in
turns, so that a noisy machine hurts both alike. `pkd` trains on annotated rows as a user gets it by default; the other
is a plain `transformers.Trainer` with its own default settings, whose loss runs the frozen teacher.

    python -m benchmarks.throughput                                   # the demo's reviews
    python -m benchmarks.throughput --train SST-2/train.tsv --rows 8000
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import torch
from transformers import DataCollatorWithPadding, PrinterCallback, ProgressCallback, Trainer, TrainingArguments

from pkd.data.demo import demo_encoder_folder, demo_reviews
from pkd.data.encoding import encode
from pkd.data.examples import load_examples
from pkd.distillation.annotation import annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.distillation.losses import ce_loss, kd_loss, pkd_loss, pt_loss
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.encoder.contract import LoadedClassifier, load_pretrained
from pkd.encoder.inference import cls_states_of
from pkd.recipe.settings import DataSettings, LossSettings, TrainingSettings
from pkd.training.arguments import trainer_arguments
from pkd.training.precision import autocast_dtype, describe_hardware, keep_freed_memory, resolve_device

LAYER_MAP = LayerMap.skip(teacher_layers=6, student_layers=3)
BATCH = 32


class TeacherInTheLoop(Trainer):
    """What one writes without `pkd`: the teacher answers every batch anew."""

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
        loss = LossSettings()
        return pkd_loss(
            ce_loss(student.logits, labels),
            kd_loss(student.logits, teacher.logits, loss.temperature),
            pt_loss(
                cls_states_of(student.hidden_states, LAYER_MAP.student),
                cls_states_of(teacher.hidden_states, LAYER_MAP.teacher),
            ),
            loss.alpha,
            loss.beta,
        ).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="labelled examples; by default the demo's reviews")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=50, help="optimiser steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()

    rows = _rows(given.train).shuffle(seed=0)
    rows = rows.select(range(min(given.rows, len(rows))))
    teacher = load_pretrained(str(demo_encoder_folder()), ("0", "1"))
    device = resolve_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        annotated = annotate_rows(
            rows,
            teacher.model.to(device),
            teacher.tokenizer,
            Path(folder),
            teacher_layers=LAYER_MAP.teacher,
            max_length=128,
            autocast_dtype=autocast_dtype("auto", device),
        )
        annotate_seconds = time.perf_counter() - began
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(given.rounds):
            ours.append(_examples_per_second(_patient(teacher, annotated, given.steps), given.steps))
            theirs.append(_examples_per_second(_in_the_loop(teacher, rows, given.steps), given.steps))
            print(
                f"round {number + 1}: pkd {ours[-1]:,.0f}, teacher in the loop {theirs[-1]:,.0f} examples/s", flush=True
            )
    figures = {
        "rows": len(rows),
        "mean_length": sum(annotated["length"]) / len(rows),
        "annotate_examples_per_second": len(rows) / annotate_seconds,
        "pkd": _spread(ours),
        "teacher_in_the_loop": _spread(theirs),
        "ratio": median(ours) / median(theirs),
        "hardware": describe_hardware(device),
    }
    print(
        f"\n{len(rows):,} rows of {figures['mean_length']:.1f} word pieces, batch {BATCH}, {given.rounds} rounds of "
        f"{given.steps} steps\npkd                  {_told(ours)}\nteacher in the loop  {_told(theirs)}\n"
        f"ratio                {figures['ratio']:.2f}\nannotation           "
        f"{figures['annotate_examples_per_second']:,.0f} examples/s, once"
    )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _rows(train: str | None) -> datasets.Dataset:
    if train is None:
        reviews = demo_reviews()["train"]
        ids = [int(label == "positive") for label in reviews["label"]]
        return reviews.remove_columns("label").add_column("label", ids)
    return load_examples(DataSettings(train=train), splits=("train",)).splits["train"]


def _patient(teacher: LoadedClassifier, annotated: datasets.Dataset, steps: int) -> PatientTrainer:
    keep_freed_memory()  # the stock run profits from it too, being in the same process
    arguments = trainer_arguments(TrainingSettings(), Path(tempfile.mkdtemp()), seed=0, metric=None)
    arguments |= {"max_steps": steps, "save_strategy": "no"}
    return PatientTrainer(
        student_from(teacher.model, 3),
        PatientTrainingArguments(**arguments),
        layer_map=LAYER_MAP,
        train_dataset=annotated,
        processing_class=teacher.tokenizer,
    )


def _in_the_loop(teacher: LoadedClassifier, rows: datasets.Dataset, steps: int) -> Trainer:
    encoded = encode(rows, teacher.tokenizer, 128).select_columns(["input_ids", "label"])
    return TeacherInTheLoop(
        student_from(teacher.model, 3),
        TrainingArguments(
            tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        teacher=copy.deepcopy(teacher.model),
        train_dataset=encoded.rename_column("label", "labels"),
        data_collator=DataCollatorWithPadding(teacher.tokenizer),
    )


def _examples_per_second(trainer: Trainer, steps: int) -> float:
    began = time.perf_counter()
    trainer.train()
    return steps * BATCH / (time.perf_counter() - began)


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def _told(values: list[float]) -> str:
    return f"{median(values):6,.0f} examples/s (from {min(values):,.0f} to {max(values):,.0f})"


if __name__ == "__main__":
    main()
