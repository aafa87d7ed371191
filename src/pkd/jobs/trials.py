"""Points and their scores: the student of each point is trained once, on Ray or in this process, and recorded.

A point is a recipe with other values for some keys. Its training is a sealed stage in the run folder's `trials/`, named
by the hash of everything that it depends on, so that the same call again trains only what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import torch
from transformers import TrainerCallback

from pkd import progress
from pkd.data.encodings import Reader
from pkd.data.outputs import Outputs
from pkd.data.shards import open_shards
from pkd.distillation.ledger import Sizes
from pkd.distillation.plan import StudentPlan, plan_students, training_of
from pkd.encoder.families import depth_of
from pkd.encoder.load import LoadedClassifier, load_teacher, with_outputs
from pkd.errors import DivergedError, ResourceError
from pkd.evaluation.by_class import BlindSpots
from pkd.jobs.cluster import Outcome, Report, ray_started, resources_of, train_on_ray
from pkd.jobs.importance import read_importance
from pkd.jobs.plan import RunPlan, depths_of, encoders_of, student_reader
from pkd.jobs.sizes import size_inputs, sized
from pkd.jobs.stages import SWEEP
from pkd.jobs.train import TRIAL, Teaching, TrainingRows, training_inputs, trial_stage
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import SweepSettings
from pkd.recipe.sweeping import Point, point_text
from pkd.reporting.trials import TrialRecord, read_trials, write_trials
from pkd.runs.fingerprint import fingerprint
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.seal import find_damage, partial_of, read_manifest
from pkd.training.schedule import epochs_of

_WAIT_FOR_LOCK = 60.0  # seconds; a process may outlive its dead node a little


@dataclass(frozen=True)
class Trial:
    """The training of a point.

    Attributes:
        point: the values that differ.
        recipe: with these values.
        folder: of its stage.
        fingerprint: of everything that it depends on; points that differ in nothing that matters share it, as kd with
            any β.
        sizes: of its loss terms, if β follows from them.
    """

    point: Point
    recipe: Recipe
    folder: Path
    fingerprint: str
    sizes: Sizes | None = None

    @property
    def in_records(self) -> str:
        """The folder as records name it."""
        return RunFolder(Path()).trial(self.fingerprint).as_posix()


@dataclass(frozen=True)
class Shared:
    """What all trials share, light enough to send to any process."""

    cwd: Path  # relative names in the recipe start here
    teacher: str
    run: Path
    annotated: Path
    fingerprints: Mapping[str, Any]  # of the rows
    answers: Mapping[str, Mapping[str, str]]  # their fingerprints
    outputs: Outputs  # of the teacher, as the examples settled them
    importance: Path | None = None  # of the teacher's neurons, if a point is narrow


Engine: TypeAlias = Callable[[Sequence[Trial], Callable[[Outcome], None]], None]  # trains, and tells of each end


def train_points(
    points: Sequence[Point],
    plans: Sequence[RunPlan],
    teaching: Teaching,
    engine: Engine,
    *,
    kept: Collection[str] = ("diverged",),
) -> list[TrialRecord]:
    """Bring every point up to date; the table of trials always holds the finished ones.

    Args:
        points: the values of each.
        plans: of each point, of one student.
        teaching: what all of them learn from.
        engine: `on_ray` or `here`, which trains those that are missing.
        kept: how a trial may have ended, besides whole, so that it is not tried again.

    Returns:
        A record for each point, in order, less those that a stop, or the engine, kept from running.

    Raises:
        Stopped: if a stop was requested; the checkpoints of unfinished trials are kept.
    """
    run, rows = plans[0].folder, len(plans[0].examples.splits["eval"])
    trials = [_trial_of(point, plan, teaching) for point, plan in zip(points, plans, strict=True)]
    before = {record.fingerprint: record for record in read_trials(run.path)}
    ended: dict[int, TrialRecord] = {}
    for number, trial in enumerate(trials):
        known = before.get(trial.fingerprint)
        if (sealed := _sealed(trial, rows)) is not None:
            ended[number] = sealed.model_copy(update={"retries": known.retries if known else 0})
        elif known is not None and known.status in kept:
            ended[number] = known.model_copy(update={"point": trial.point})
    write_trials((ended[number] for number in sorted(ended)), run.path)
    twins: dict[str, list[int]] = {}
    for number, trial in enumerate(trials):
        if number not in ended:
            twins.setdefault(trial.fingerprint, []).append(number)
    missing = [trials[numbers[0]] for numbers in twins.values()]
    if ended:
        progress.note(f"{len(ended)} of {len(points)} points are trained already")
        progress.saved()

    def on_end(outcome: Outcome) -> None:
        trial = missing[outcome.number]
        record = _sealed(trial, rows) or _unfinished(trial, outcome)
        for twin in twins[trial.fingerprint]:
            ended[twin] = record.model_copy(update={"point": points[twin], "retries": outcome.retries})
        write_trials((ended[number] for number in sorted(ended)), run.path)
        if record.status in ("stopped", "diverged"):
            shutil.rmtree(partial_of(trial.folder), ignore_errors=True)  # checkpoints that nothing resumes from
        if record.status in ("diverged", "failed"):
            progress.warn(f"the point {point_text(trial.point)} {record.status}: {record.why}")

    if missing:
        engine(missing, on_end)
    return [ended[number] for number in sorted(ended)]


def _trial_of(point: Point, of_point: RunPlan, teaching: Teaching) -> Trial:
    run, recipe = of_point.folder, of_point.recipe
    teaching = dataclasses.replace(teaching, recipe=recipe)
    plan = _sized(of_point.candidates[0], run, teaching)
    print_ = fingerprint(training_inputs(plan, recipe.seed, teaching))
    return Trial(point, recipe, run.trial(print_).absolute(), print_, plan.sizes)


def _sized(plan: StudentPlan, run: RunFolder, teaching: Teaching) -> StudentPlan:
    """The plan of a point whose patience is a share, with its β; points of one start and loss share it."""
    if not plan.loss.patience_share:
        return plan
    place = run.sizes(fingerprint(size_inputs(plan, teaching))[:16])
    return sized(plan, place, teaching, overwrite=True)


def _sealed(trial: Trial, rows: int) -> TrialRecord | None:
    """The record of a trial that ran to its end; None if its folder is not sealed and whole."""
    manifest = read_manifest(trial.folder)
    if manifest is None or manifest.kind != TRIAL or manifest.fingerprint != trial.fingerprint:
        return None
    if find_damage(trial.folder, manifest, deep=True):
        return None
    facts: dict[str, Any] = manifest.facts
    metric = trial.recipe.evaluation.metric
    return TrialRecord(
        point=trial.point,
        folder=trial.in_records,
        status="done",
        metric=metric,
        score=float(facts["selection"]["score"]),
        epochs=[entry[f"eval_{metric}"] for entry in facts["history"] if f"eval_{metric}" in entry],
        seconds=float(facts["train_seconds"]),
        device=facts["device"],
        rows=rows,
        blind_spots=BlindSpots(**facts["blind_spots"]),
        fingerprint=trial.fingerprint,
    )


def _unfinished(trial: Trial, outcome: Outcome) -> TrialRecord:
    return TrialRecord(
        point=trial.point,
        folder=trial.in_records,
        status=outcome.status if outcome.status in ("stopped", "diverged") else "failed",  # type: ignore[arg-type]
        metric=trial.recipe.evaluation.metric,
        score=max(outcome.scores, default=None),
        epochs=outcome.scores,
        why=outcome.why,
        fingerprint=trial.fingerprint,
    )


def on_ray(shared: Shared, settings: SweepSettings) -> Engine:
    """The engine that trains as many trials at once as Ray has room for.

    A trial whose process or node dies resumes from its last checkpoint.

    Args:
        shared: what all trials share, for other processes.
        settings: how trials share the machine, and whether the worst end early.
    """

    def train(trials: Sequence[Trial], on_end: Callable[[Outcome], None]) -> None:
        with ray_started():
            _run_trials(trials, shared, settings, on_end)

    return train


def here(
    teaching: Teaching,
    plan: RunPlan,
    goes_on: Callable[[Trial], bool],
    around: Callable[[Trial, StudentPlan], AbstractContextManager[None]],
) -> Engine:
    """The engine that trains one trial after the other in this process.

    Args:
        teaching: what all of them learn from.
        plan: of the run.
        goes_on: asked before each trial; once it says no, the rest is left.
        around: the context that each training runs in.
    """

    def train(trials: Sequence[Trial], on_end: Callable[[Outcome], None]) -> None:
        for number, trial in enumerate(trials):
            if not goes_on(trial):
                return
            student = plan_students(trial.recipe, plan.teacher_layers, depths=depths_of(plan.encoders))[0][0]
            student = dataclasses.replace(student, sizes=trial.sizes)
            status, why = "done", None
            try:
                with around(trial, student):
                    trial_stage(trial.folder, student, dataclasses.replace(teaching, recipe=trial.recipe))
            except DivergedError as error:
                status, why = "diverged", str(error)
            on_end(Outcome(number, [], status, why, 0))

    return train


def shared_of(plan: RunPlan, teaching: Teaching) -> Shared:
    """What the trials of a run share, for other processes."""
    recipe, run = plan.recipe, plan.folder
    return Shared(
        cwd=Path.cwd(),
        teacher=plan.teacher_name
        if recipe.teacher.finetune is None
        else str(run.teacher_of(recipe.teacher.lead + 1).absolute()),
        run=run.path.absolute(),
        annotated=plan.answers("train").parent.absolute(),
        fingerprints=teaching.rows.fingerprints,
        answers=teaching.rows.answers,
        outputs=plan.examples.outputs,
        importance=run.importance.absolute() if teaching.importance is not None else None,
    )


def _run_trials(
    trials: Sequence[Trial], shared: Shared, settings: SweepSettings, on_end: Callable[[Outcome], None]
) -> None:
    resources, slots = resources_of(settings, trials[0].recipe.device)
    progress.note(f"{len(trials)} points to train, {min(slots, len(trials))} at a time")
    with progress.stage(SWEEP, len(trials), "points") as stage, progress.saves_on_stop():
        train_on_ray(
            functools.partial(_score_of, trials=list(trials), shared=shared),
            [_epochs(trial.recipe) for trial in trials],
            resources,
            RunFolder(shared.run).trials_scratch,
            stage,
            on_end,
            early_stopping=settings.early_stopping == "asha",
        )
        progress.stop_if_requested(f"{stage.done} of {len(trials)} points, and the checkpoints of those under way, are")


def _score_of(number: int, report: Report, trials: Sequence[Trial], shared: Shared) -> float:
    """Train a trial unless it is sealed already; return the development score of its best epoch."""
    trial = trials[number]
    if not shared.annotated.is_dir():
        raise ResourceError(
            f"{shared.annotated} does not exist on this node. A sweep over several machines needs its run folder on a "
            "disk that all of them share."
        )
    os.chdir(shared.cwd)
    torch.set_num_threads(max(1, int(float(os.environ.get("OMP_NUM_THREADS") or 1))))
    teacher, splits = _loaded(shared.teacher, shared.annotated, shared.outputs, tuple(shared.answers))
    encoders = encoders_of([trial.recipe])
    plan = plan_students(trial.recipe, depth_of(teacher.model.config), depths=depths_of(encoders))[0][0]
    reader = Reader(teacher.tokenizer, trial.recipe.data.max_length, teacher.name)
    rows = TrainingRows(
        train=splits["train"],
        transfer={split: rows for split, rows in splits.items() if split not in ("train", "eval")},
        eval=splits["eval"],
        fingerprints=shared.fingerprints,
        answers=shared.answers,
        readers={None: reader} | {name: student_reader(encoder, reader) for name, encoder in encoders.items()},
        folder=RunFolder(shared.run),
    )
    plan = dataclasses.replace(plan, sizes=trial.sizes)
    importance = read_importance(shared.importance) if shared.importance else None
    reporter = _ReportEpochs(trial.recipe.evaluation.metric, report)
    with one_writer(trial.folder, wait_seconds=_WAIT_FOR_LOCK):
        done = trial_stage(trial.folder, plan, Teaching(trial.recipe, teacher, rows, importance), [reporter])
    return float(done.manifest.facts["selection"]["score"])


@functools.cache
def _loaded(
    teacher: str, annotated: Path, outputs: Outputs, teaching: tuple[str, ...]
) -> tuple[LoadedClassifier, dict[str, datasets.Dataset]]:
    """Load the teacher and the annotated training rows once per process."""
    splits = {split: open_shards(annotated / split) for split in (*teaching, "eval")}
    return with_outputs(load_teacher(teacher), outputs), splits


class _ReportEpochs(TrainerCallback):
    """Reports the development score after each epoch, after which Ray may end the trial."""

    def __init__(self, metric: str, report: Report) -> None:
        self._metric = f"eval_{metric}"
        self._report = report

    def on_save(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Report once the epoch's checkpoint is sealed, so that a trial ended there loses no work."""
        if state.global_step >= state.max_steps:
            return  # the end is reported once the trial is sealed, so that it cannot be ended early any more
        last = state.log_history[-1] if state.log_history else {}
        if self._metric in last and last["step"] == state.global_step:
            self._report(last[self._metric], last["epoch"])


def _epochs(recipe: Recipe) -> int:
    return max(1, round(epochs_of(training_of(recipe, recipe.students[0]))))
