"""The stage that measures each loss term's share of the gradient, once per student and start, before training.

If patience is given as a share of the gradient, β follows from it, the same for every seed, process and resume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel

from pkd import progress, ranks
from pkd.data.arrays import column_array
from pkd.data.batching import TokenRows, first_batches
from pkd.distillation.ledger import BATCHES, PatientLoss, Sizes, TermEntry, measure_terms, without_patience
from pkd.distillation.plan import StudentPlan
from pkd.distillation.units import unit_deviations
from pkd.encoder.inference import collator_for
from pkd.jobs.stages import sizing_name
from pkd.jobs.train import Teaching, build_student, training_inputs
from pkd.recipe.settings import TrainingSettings
from pkd.reporting.results import TermShare
from pkd.runs.stage import run_stage
from pkd.training.hardware import autocast_dtype, move_model, resolve_device

KIND = "sizes"


def sized(plan: StudentPlan, folder: Path, teaching: Teaching, *, overwrite: bool) -> StudentPlan:
    """Return the plan with the sizes of its terms, measured or kept from before, and the β of its share.

    The recipe's first seed draws the order of the rows and a new head.

    Args:
        plan: of a student whose loss has a teacher's term.
        folder: of the stage.
        teaching: what the student learns from.
        overwrite: start an unfinished stage with other inputs afresh.
    """
    recipe, teacher, rows = teaching.recipe, teaching.teacher, teaching.rows

    def build(partial: Path) -> Mapping[str, Any]:
        device = resolve_device(recipe.device)
        return ranks.on_first(lambda: dataclasses.asdict(measured(device)))

    def measured(device: torch.device) -> Sizes:
        learnt = rows.of(plan, recipe.seed)
        lengths = column_array(learnt, "length")
        order = first_rows(step_rows, len(learnt), lambda picked: lengths[picked], recipe.seed)
        student = build_student(plan, recipe.seed, teacher, teaching.importance)
        return measure_student(plan, student, learnt, order, len(learnt), len(rows.train) / len(learnt), device)

    step_rows = rows_of_a_step(plan.training)  # over all ranks; inside `on_first` the world size is 1
    inputs = size_inputs(plan, teaching)
    done = run_stage(folder, KIND, inputs, build, overwrite=overwrite, resumes=False)
    return with_sizes(plan, done.manifest.facts)


def with_sizes(plan: StudentPlan, facts: Mapping[str, Any]) -> StudentPlan:
    """The plan with the sizes in the facts of the stage's manifest."""
    terms = tuple(TermEntry(**entry) for entry in facts["terms"])
    return dataclasses.replace(plan, sizes=Sizes(**{**facts, "terms": terms}))


def size_inputs(plan: StudentPlan, teaching: Teaching) -> dict[str, Any]:
    """Everything that the sizes depend on: the inputs of a training except its length and learning rate."""
    inputs = training_inputs(dataclasses.replace(plan, sizes=None), teaching.recipe.seed, teaching)
    training = inputs["student"]["training"]
    inputs["student"] = {
        **inputs["student"],
        "training": {"rows_of_a_step": rows_of_a_step(plan.training), "precision": training["precision"]},
    }
    del inputs["metric"]
    return inputs


def term_shares(entries: Sequence[TermEntry], patience_share: float | None) -> list[TermShare]:
    """The measured terms as records hold them; `patience_share` is the requested share."""
    return [
        TermShare(
            name=entry.name,
            weight=entry.weight,
            share=entry.share,
            asked=patience_share if entry.name == "pt" else None,
            needed=entry.needed,
        )
        for entry in entries
    ]


def first_rows(
    step_rows: int, rows: int, lengths_of: Callable[[np.ndarray], np.ndarray], seed: int
) -> list[np.ndarray]:
    """The rows of a training's first optimiser steps, the same for any number of processes."""
    return first_batches(rows, lengths_of, step_rows, seed, accumulation=1, most=BATCHES)


def rows_of_a_step(training: TrainingSettings) -> int:
    """The rows of an optimiser step, over accumulation and processes."""
    return training.per_device_train_batch_size * training.gradient_accumulation_steps * ranks.world_size()


def measure_student(
    plan: StudentPlan,
    student: PreTrainedModel,
    annotated: datasets.Dataset,
    order: Sequence[np.ndarray],
    rows: int,
    labelled: float,
    device: torch.device,
) -> Sizes:
    """Measure a student's terms on some batches of annotated rows.

    Args:
        plan: of the student.
        student: as it starts.
        annotated: annotated rows, encoded as the student reads, that include those of the batches.
        order: the indices of each batch's rows in `annotated`.
        rows: the number of rows the student learns from in all.
        labelled: the share of those with a label.
        device: where to compute.
    """
    layers = plan.layer_map.teacher if plan.layer_map else ()
    collate, table = collator_for(student.config, layers), TokenRows(annotated)
    batches = [collate(table.__getitems__(batch.tolist())) for batch in order]
    student = move_model(student, device)
    by_unit = bool(layers) and plan.loss.normalize == "units"
    deviations = unit_deviations(annotated, layers).to(device) if by_unit else None
    with progress.stage(sizing_name(plan), len(batches), "batches") as stage:
        terms = measure_terms(
            student,
            batches,
            PatientLoss(plan.loss, plan.layer_map, deviations),
            labelled=labelled,
            rows=rows,
            rows_at_once=plan.training.per_device_train_batch_size,
            autocast_dtype=autocast_dtype(plan.training.precision, device),
            on_batch=stage.advance,
        )
    if plan.starts_taught:
        terms = without_patience(terms)
    choices = batches[0]["input_ids"][0, ..., 0].numel() if "taught" not in batches[0] else 1
    return Sizes(terms=tuple(terms), rows=sum(map(len, order)), labelled=labelled, choices=choices)
