"""The trials of a sweep: the training of a point in a process of Ray's, and its reports.

A trial's output is a sealed stage in the run folder, as everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from pkd import progress
from pkd.data.outputs import Outputs
from pkd.distillation.annotation import open_shards
from pkd.distillation.ledger import Sizes
from pkd.distillation.plan import plan_students, training_of
from pkd.encoder.families import depth_of
from pkd.encoder.load import LoadedClassifier, load_teacher, with_outputs
from pkd.errors import ResourceError
from pkd.jobs.ahead import SWEEP
from pkd.jobs.cluster import Outcome, Tell, resources_of, train_on_ray
from pkd.jobs.train import Teaching, TrainingRows, trial_stage
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import SweepSettings
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.seal import partial_of
from pkd.training.schedule import epochs_of

_WAIT_FOR_LOCK = 60.0  # seconds; a process may outlive its dead node a little


@dataclass(frozen=True)
class Trial:
    """A point to train: the recipe with its values, its folder, and its terms' sizes if β follows from them."""

    recipe: Recipe
    folder: Path
    sizes: Sizes | None = None


@dataclass(frozen=True)
class Shared:
    """What all trials share, light enough to send to any process."""

    cwd: Path  # relative names in the recipe start here
    teacher: str
    annotated: Path
    fingerprints: Mapping[str, Any]  # of the rows
    answers: Mapping[str, Mapping[str, str]]  # their fingerprints
    outputs: Outputs  # of the teacher, as the examples settled them


def run_trials(
    trials: Sequence[Trial],
    shared: Shared,
    folder: Path,
    sweep: SweepSettings,
    on_end: Callable[[Outcome], None],
) -> None:
    """Train all `trials` as Ray has room; `on_end` is called for each, in this thread, as soon as it ends.

    Under ASHA (Li et al. 2020) the best third of the trials continues after each epoch. A trial whose process or node
    dies resumes from its last sealed checkpoint, on any node with room.

    Raises:
        Stopped: if a stop was requested; the checkpoints of unfinished trials are kept.
    """
    resources, slots = resources_of(sweep, trials[0].recipe.device)
    progress.note(f"{len(trials)} points to train, {min(slots, len(trials))} at a time")
    with progress.stage(SWEEP, len(trials), "points") as stage, progress.saves_on_stop():
        train_on_ray(
            functools.partial(_score_of, trials=list(trials), shared=shared),
            [_epochs(trial.recipe) for trial in trials],
            resources,
            RunFolder(folder).trials_scratch,
            stage,
            on_end,
            early_stopping=sweep.early_stopping == "asha",
        )
        progress.stop_if_requested(f"{stage.done} of {len(trials)} points, and the checkpoints of those under way, are")


def _score_of(number: int, tell: Tell, trials: Sequence[Trial], shared: Shared) -> float:
    """Train a trial unless it is trained; return the development score of its best epoch."""
    trial = trials[number]
    if not shared.annotated.is_dir():
        raise ResourceError(
            f"{shared.annotated} is not seen on this node. A sweep over several machines needs its run folder on a "
            "disk that all of them share."
        )
    os.chdir(shared.cwd)
    torch.set_num_threads(max(1, int(float(os.environ.get("OMP_NUM_THREADS") or 1))))
    teacher, rows = _loaded(shared.teacher, shared.annotated, shared.outputs, tuple(shared.answers))
    rows = dataclasses.replace(rows, fingerprints=shared.fingerprints, answers=shared.answers)
    plan = plan_students(trial.recipe, depth_of(teacher.model.config))[0][0]
    plan = dataclasses.replace(plan, sizes=trial.sizes)
    teller = _TellEpochs(trial.recipe.evaluation.metric, tell)
    with one_writer(trial.folder, wait_seconds=_WAIT_FOR_LOCK):
        done = trial_stage(trial.folder, plan, Teaching(trial.recipe, teacher, rows), [teller])
    return float(done.manifest.facts["selection"]["score"])


@functools.cache
def _loaded(
    teacher: str, annotated: Path, outputs: Outputs, teaching: tuple[str, ...]
) -> tuple[LoadedClassifier, TrainingRows]:
    """The teacher and the annotated rows of the splits that teach, once for all the trials of a process."""
    splits = {split: open_shards(annotated / split) for split in (*teaching, "eval")}
    train, development = splits.pop("train"), splits.pop("eval")
    rows = TrainingRows(train, splits, development, {}, {})
    return with_outputs(load_teacher(teacher), outputs), rows


class _TellEpochs(TrainerCallback):
    """Reports the development score after each epoch, where Ray may end the trial."""

    def __init__(self, metric: str, tell: Tell) -> None:
        self._metric = f"eval_{metric}"
        self._tell = tell

    def on_save(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Report once the epoch's checkpoint is sealed, so that a trial that is ended there loses nothing."""
        if state.global_step >= state.max_steps:
            return  # the end is reported when the trial is sealed: a finished trial is not ended early
        last = state.log_history[-1] if state.log_history else {}
        if self._metric in last and last["step"] == state.global_step:
            self._tell(last[self._metric], last["epoch"])


def forget_unfinished(folder: Path) -> None:
    """Remove the checkpoints of a trial that will not resume."""
    shutil.rmtree(partial_of(folder), ignore_errors=True)


def _epochs(recipe: Recipe) -> int:
    return max(1, round(epochs_of(training_of(recipe, recipe.students[0]))))
