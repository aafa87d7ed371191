"""The stages of a job: the name of each, what it computes and what it writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pkd import ranks
from pkd.data.encodings import bytes_per_encoded_row
from pkd.distillation.annotation import bytes_per_row
from pkd.distillation.dropping import ROWS
from pkd.distillation.ledger import BATCHES
from pkd.distillation.narrowing import BATCH_SIZE as ROWS_RANKED
from pkd.distillation.narrowing import BATCHES as BATCHES_RANKED
from pkd.distillation.plan import StudentPlan
from pkd.distillation.terms import objective_of
from pkd.evaluation.word_counts import MOST_ROWS
from pkd.jobs.pilot import Shape, Work
from pkd.jobs.workload import MEASURING, Job, Split
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings
from pkd.serving import speed
from pkd.training.checkpoints import checkpoint_bytes
from pkd.training.schedule import epochs_of, patience_of

_FOLDER_BYTES = 1 << 20  # a saved model without its weights: tokenizer, configuration, manifest
_PAGE_BYTES = 1 << 20  # records and report
_TRAINING_SECONDS = 1.0  # a training without its steps: building, saving, the first batch
_MODEL_SECONDS = 0.3  # to load a model that is measured
_PAGE_SECONDS = 4.0  # to compare, and to draw the report
_ROW_SECONDS = 6e-5  # to read and tokenise a row
_COUNTED_ROW_SECONDS = 2e-4  # to fit word counts to it
_TIMED_ROUNDS, _TIMED_ROWS = 3, 256  # approximate, for timing the models side by side

FINETUNING = "fine-tune the teacher"
SWEEP = "sweep"
WORD_COUNTS = "measure the word-count baseline"
RANKING = "rank the teacher's neurons"
DROPPING = "drop layers one by one"
REPORTING = "compare and report"

Part = Literal["teacher", "pass", "ranking", "points", "race", "heats", "students", "measuring"]


@dataclass(frozen=True)
class Ahead:
    """One stage of a job that is about to run.

    Attributes:
        name: as in the progress display.
        part: the part of the job it belongs to.
        works: what its models compute.
        seconds: everything else.
        bytes: what it leaves on the disk.
        meanwhile: the most bytes it uses besides, until it is finished.
        written: bytes written in all.
        trainings: their number, of points for a sweep.
        left: the share that is not done yet.
        least: the share of what is left that may suffice if training ends early.
        model: the name of the trained model.
        at_once: how many processes share its work.
    """

    name: str
    part: Part
    works: tuple[Work, ...] = ()
    seconds: float = 0.0
    bytes: float = 0.0
    meanwhile: float = 0.0
    written: float = 0.0
    trainings: float = 0.0
    left: float = 1.0
    least: float = 1.0
    model: str = ""  # that is trained
    at_once: float = 1.0


def finetuning_name(number: int) -> str:
    """The name of the fine-tuning of the teacher of a number in the progress."""
    return FINETUNING if number == 1 else f"fine-tune teacher {number}"


def finetuning(job: Job, settings: TrainingSettings, *, left: float = 1.0, number: int = 1) -> list[Ahead]:
    """Fine-tuning the teacher of a number, and the baseline that it is compared with."""
    works, name = _works(job, job.shape, settings), finetuning_name(number)
    trained = _training_stage(job, name, "teacher", job.shape, settings, works, model="teacher", left=left)
    return [trained, *counting_words(job, left)]


def encoding_name(split: str, number: int) -> str:
    """The name of encoding a split for the reader of a number in the progress."""
    return f"encode {split}" if number == 1 else f"encode {split}, tokenizer {number}"


def encoding(job: Job, name: str, split: str, *, left: float = 1.0) -> Ahead:
    """The word pieces of a split as the job's reader makes them."""
    rows = job.splits[split]
    size = rows.rows * bytes_per_encoded_row(
        rows.tokens,
        choices=job.choices if job.choices > 1 else 0,
        token_types="token_type_ids" in job.sample.column_names,
    )
    return Ahead(name, "pass", seconds=rows.rows * _ROW_SECONDS, bytes=size, written=size, left=left)


def annotating_name(split: str, number: int) -> str:
    """The name of a teacher's pass over a split in the progress."""
    return f"annotate {split}" if number == 1 else f"annotate {split} by teacher {number}"


def averaging_name(split: str) -> str:
    """The name of averaging several teachers' answers to a split in the progress."""
    return f"average the answers to {split}"


def annotating(
    job: Job, name: str, split: str, layers: Sequence[int], *, left: float = 1.0, shape: Shape | None = None
) -> Ahead:
    """A teacher's pass over a split; for rows that only measure, logits alone, in float32.

    `shape` is the teacher's, by default the job's.
    """
    settings, rows, shape = job.recipe.annotation, job.splits[split], shape or job.shape
    teaches = split not in MEASURING
    a_row = rows.text_bytes + bytes_per_row(
        max(1, len(job.outputs.output_names)),
        shape.config.hidden_size,
        len(layers) if teaches else 0,
        settings,
        parts=rows.answers,
    )
    exact = not teaches or job.is_exact(settings.precision)
    return Ahead(
        name=name,
        part="pass",
        works=(Work(shape, "pass", rows.all_tokens, exact=exact),),
        seconds=rows.rows * _ROW_SECONDS,
        bytes=rows.rows * a_row,
        written=rows.rows * a_row,
        left=left,
    )


def ranking_neurons(job: Job) -> Ahead:
    """A forward pass of the teacher over some batches, and the backward pass through its activations alone."""
    learnt = [job.splits[split] for split in ("train", *job.transfer)]
    rows = sum(split.rows for split in learnt)
    tokens = sum(split.all_tokens for split in learnt) * min(1.0, BATCHES_RANKED * ROWS_RANKED / max(1, rows))
    return Ahead(RANKING, "ranking", (Work(job.shape, "train", 2 / 3 * tokens, exact=True),))


def dropping_layers(job: Job, layers: int) -> Ahead:
    """Greedy dropping: a forward pass of each model that lacks one more layer, over some rows."""
    rows = min(ROWS, job.splits["train"].rows)
    passes = sum(kept * (kept - 1) for kept in range(2, layers + 1)) / layers  # of the whole teacher
    models = layers * (layers + 1) / 2 - 1
    work = Work(job.shape, "pass", passes * rows * job.splits["train"].tokens, exact=True)
    return Ahead(DROPPING, "race", (work,), seconds=models * _MODEL_SECONDS)


def stage_name(plan: StudentPlan, seed: int) -> str:
    """The name of a student's training in the progress display."""
    return f"train {plan.name} seed {seed}"


def training_student(job: Job, plan: StudentPlan, seed: int) -> Ahead:
    """The training of a student with one seed."""
    job, shape = job.read_by(plan), job.shape_of(plan)
    works = _works(job, shape, plan.training, plan)
    return _training_stage(job, stage_name(plan, seed), "students", shape, plan.training, works, model=plan.name)


def sizing_name(plan: StudentPlan) -> str:
    """The name of measuring a student's loss terms in the progress display."""
    return f"measure the loss terms of {plan.name}"


def sizing_terms(job: Job, plan: StudentPlan) -> Ahead:
    """One forward pass of a student over the first batches, and one backward pass per loss term."""
    terms = len(objective_of(plan.loss, unlabelled=plan.unlabelled and bool(job.transfer)))
    rows = min(plan.learns_from(job.rows), BATCHES * plan.training.per_device_train_batch_size)
    tokens = rows * job.read_by(plan).splits["train"].tokens * (1 + 2 * terms) / 3
    exact = job.is_exact(plan.training.precision)
    return Ahead(sizing_name(plan), "students", (Work(job.shape_of(plan), "train", tokens, exact=exact),))


def measuring_student(job: Job, plan: StudentPlan, seed: int) -> Ahead:
    """A student's answers to the measured rows."""
    rows = _measured(job.read_by(plan))
    return Ahead(
        name=f"evaluate {plan.name}-seed{seed}",
        part="measuring",
        works=(Work(job.shape_of(plan), "pass", rows.all_tokens, exact=True),),
        seconds=_MODEL_SECONDS + rows.rows * _ROW_SECONDS,
        bytes=4 * rows.rows * len(job.outputs.output_names),
    )


def counting_words(job: Job, left: float) -> list[Ahead]:
    """Fitting the word-count baseline; none without development rows, or for outputs that have no such baseline."""
    if "eval" not in job.splits or job.outputs.kind.fit_word_counts is None:
        return []
    seconds = 1.0 + _COUNTED_ROW_SECONDS * min(MOST_ROWS, job.splits["train"].rows)
    return [Ahead(WORD_COUNTS, "measuring", seconds=seconds, left=left)]


def timing_models(job: Job, plans: Sequence[StudentPlan], recipe: Recipe) -> list[Ahead]:
    """Teacher and students take turns on some of the measured rows."""
    if not recipe.evaluation.measure_speed:
        return []
    split = _measured(job)
    tokens = min(_TIMED_ROWS, split.rows) * split.tokens
    shapes = dict.fromkeys([job.shape, *map(job.shape_of, plans)])
    works = tuple(Work(shape, "pass", (_TIMED_ROUNDS + 0.25) * tokens, exact=True) for shape in shapes)
    return [Ahead(speed.STAGE, "measuring", works)]


def reporting(job: Job, plan: StudentPlan, copies: int) -> Ahead:
    """The comparisons and the page, and copies of the best student, which is as large as that of `plan`."""
    written = _PAGE_BYTES + copies * (job.weights_of(job.shape_of(plan)) + _FOLDER_BYTES)
    return Ahead(REPORTING, "measuring", (), _PAGE_SECONDS, bytes=written, written=written)


def steps_of(rows: int, settings: TrainingSettings) -> int:
    """The optimiser steps of a training."""
    batches = math.ceil(rows / (settings.per_device_train_batch_size * ranks.world_size()))
    return math.ceil(math.ceil(batches / settings.gradient_accumulation_steps) * epochs_of(settings))


def _training_stage(
    job: Job,
    name: str,
    part: Part,
    shape: Shape,
    settings: TrainingSettings,
    works: tuple[Work, ...],
    *,
    model: str,
    left: float = 1.0,
) -> Ahead:
    size = job.weights_of(shape)
    return Ahead(
        name=name,
        part=part,
        works=works,
        seconds=_TRAINING_SECONDS + (_tokenising(job, "train", "eval") if part == "teacher" else 0.0),
        bytes=size + _FOLDER_BYTES,
        meanwhile=checkpoint_bytes(int(size) // 4, settings),
        written=size + epochs_of(settings) * 3 * size,
        trainings=1.0,
        left=left,
        least=_patient_share(settings),
        model=model,
    )


def _works(job: Job, shape: Shape, settings: TrainingSettings, plan: StudentPlan | None = None) -> tuple[Work, ...]:
    """A training's passes and steps, and its evaluation on the development rows after each epoch."""
    splits = ["train", *(job.transfer if plan is not None and plan.unlabelled else [])]
    tokens = sum(job.splits[split].all_tokens for split in splits)
    rows = sum(job.splits[split].rows for split in splits)
    if plan is not None and plan.rows_an_epoch is not None:
        rows, tokens = plan.rows_an_epoch, plan.rows_an_epoch * job.splits["train"].tokens
    epochs, exact = epochs_of(settings), job.is_exact(settings.precision)
    works = [Work(shape, "train", epochs * tokens, steps_of(rows, settings), exact=exact)]
    if "eval" in job.splits:
        works.append(Work(shape, "pass", math.ceil(epochs) * job.splits["eval"].all_tokens, exact=exact))
    return tuple(works)


def _measured(job: Job) -> Split:
    """The rows that results are measured on; a recipe that is only checked may have none."""
    return job.splits.get("test") or job.splits.get("eval") or Split(0, 0.0, 0.0)


def _tokenising(job: Job, *splits: str) -> float:
    return sum(job.splits[split].rows * _ROW_SECONDS for split in splits if split in job.splits)


def _patient_share(settings: TrainingSettings) -> float:
    """The least share of its epochs that a training with early stopping runs."""
    patience = patience_of(settings)
    return 1.0 if patience is None else min(1.0, (1 + patience) / epochs_of(settings))
