"""The stage that ranks the teacher's feed-forward neurons, once for all narrow students, seeds and starts of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from pkd import progress, ranks
from pkd.distillation.narrowing import BATCH_SIZE, BATCHES, Importance, neuron_importance
from pkd.encoder.load import LoadedClassifier
from pkd.jobs.plan import RunPlan
from pkd.jobs.stages import RANKING
from pkd.jobs.train import Teaching
from pkd.recipe.device_names import Device
from pkd.runs.stage import library_versions, run_stage, standing
from pkd.training.hardware import computing_on, resolve_device

KIND = "importance"
_VALUES = "importance.npy"


def importance_stage(plan: RunPlan, teaching: Teaching, *, overwrite: bool) -> Importance | None:
    """The importance of the teacher's neurons, measured or kept from before; None if no student is narrow."""
    if plan.narrow is None:
        return None

    def build(partial: Path) -> Mapping[str, Any]:
        return ranks.on_first(lambda: _measure(partial, plan, teaching))

    folder = plan.folder.importance
    run_stage(folder, KIND, _importance_inputs(teaching), build, overwrite=overwrite, resumes=False)
    return read_importance(folder)


def stored_importance(plan: RunPlan, teaching: Teaching) -> Importance | None:
    """The importance that an earlier call measured; None without a narrow student, or if it is not measured yet."""
    if plan.narrow is None or standing(plan.folder.importance, _importance_inputs(teaching)) != "kept":
        return None
    return read_importance(plan.folder.importance)


def read_importance(folder: Path) -> Importance:
    """The importance of a finished stage, [layers, neurons]."""
    importance: Importance = np.load(folder / _VALUES, allow_pickle=False)
    return importance


def measured_importance(teacher: LoadedClassifier, rows: datasets.Dataset, device: Device) -> Importance:
    """Measure the importance of a teacher's neurons on annotated rows, encoded as it reads."""
    batches = min(BATCHES, -(-len(rows) // BATCH_SIZE))
    with computing_on(resolve_device(device), [teacher.model]), progress.stage(RANKING, batches, "batches") as stage:
        return neuron_importance(teacher.model, rows, on_batch=stage.advance)


def _measure(partial: Path, plan: RunPlan, teaching: Teaching) -> dict[str, Any]:
    assert plan.narrow is not None
    # a student that is cut from the teacher reads as it does
    learnt = dataclasses.replace(plan.narrow, unlabelled=True, rows_an_epoch=None)
    rows = teaching.rows.of(learnt, teaching.recipe.seed)
    importance = measured_importance(teaching.teacher, rows, teaching.recipe.device)
    np.save(partial / _VALUES, importance, allow_pickle=False)
    return {"layers": len(importance), "neurons": importance.shape[1], "rows": min(len(rows), BATCHES * BATCH_SIZE)}


def _importance_inputs(teaching: Teaching) -> dict[str, Any]:
    """Everything that it depends on; the rows are all that teach, and the seed that draws some of them is fixed."""
    rows = teaching.rows
    return {
        "teacher": teaching.teacher.fingerprints,
        "rows": {split: rows.fingerprints[split] for split in rows.answers},
        "answers": {split: answers["logits"] for split, answers in rows.answers.items()},
        "batches": BATCHES,
        "batch_size": BATCH_SIZE,
        "versions": library_versions(),
    }
