"""The trials of a sweep on Ray Tune: which process trains which point, when one is stopped early, and who dies.

Ray places, stops and repeats; what a trial makes is a sealed stage in the run folder, as everywhere. So Ray's own
records are scratch: nothing is ever restored from them, and they are removed at the end.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
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
from pkd.encoder.load import LoadedClassifier, load_teacher, saying
from pkd.errors import DivergedError, PKDError, ResourceError, first_line
from pkd.jobs.cluster import resources_of
from pkd.jobs.train import TrainingRows, trial_stage
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import SweepSettings
from pkd.storage.lock import one_writer
from pkd.storage.run_folder import RunFolder
from pkd.storage.seal import partial_of
from pkd.training.schedule import epochs_of

STAGE = "sweep"
_DEATHS = 3  # of nodes or processes that a trial survives
_WAIT_FOR_LOCK = 60.0  # seconds; the process of a node that died may live a little longer than its node


@dataclass(frozen=True)
class Trial:
    """A point to train: the recipe with its values, its folder, and its terms' sizes where β follows from them."""

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


@dataclass(frozen=True)
class Outcome:
    """How a trial ended for Ray; what it measured lies in its folder."""

    number: int
    scores: list[float]  # after each epoch that this attempt trained
    status: str  # "done", "stopped", "diverged" or "failed"
    why: str | None
    retries: int


def run_trials(
    trials: Sequence[Trial],
    shared: Shared,
    folder: Path,
    sweep: SweepSettings,
    on_end: Callable[[Outcome], None],
) -> None:
    """Train all `trials` as Ray has room; `on_end` is told of each, in this thread, as soon as it ends.

    The best third of the trials goes on after each epoch under ASHA (Li et al. 2020). A trial whose process or node
    dies goes on from its last sealed checkpoint, on whichever node has room.

    Raises:
        Stopped: if a stop was asked for; the checkpoints of the trials under way are kept.
    """
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    resources, slots = resources_of(sweep, trials[0].recipe.device)
    progress.note(f"{len(trials)} points to train, {min(slots, len(trials))} at a time")
    scheduler = None
    if sweep.early_stopping == "asha":
        longest = max(_epochs(trial.recipe) for trial in trials)
        scheduler = ASHAScheduler(time_attr="epoch", max_t=max(2, longest), grace_period=1, reduction_factor=3)
    scratch = RunFolder(folder).trials_scratch
    shutil.rmtree(scratch, ignore_errors=True)
    with progress.stage(STAGE, len(trials), "points") as stage, progress.saves_on_stop():
        teller = _teller(stage, on_end)
        tuner = tune.Tuner(
            tune.with_resources(functools.partial(_train_point, trials=list(trials), shared=shared), resources),
            param_space={"number": tune.grid_search(list(range(len(trials))))},
            tune_config=tune.TuneConfig(metric="score", mode="max", scheduler=scheduler, reuse_actors=True),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(scratch.absolute()),
                verbose=0,
                callbacks=[teller],
                stop=_stopper(),
                failure_config=tune.FailureConfig(max_failures=_DEATHS),
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        progress.stop_if_requested(f"{stage.done} of {len(trials)} points, and the checkpoints of those under way, are")


def _train_point(config: dict[str, Any], trials: Sequence[Trial], shared: Shared) -> None:
    """Train one point in a process of Ray's, and report the development score after each epoch."""
    from ray import tune

    trial = trials[config["number"]]
    last: dict[str, Any] = {"score": 0.0, "epoch": 0.0, "status": "failed", "why": None}
    try:
        score = _score_of(trial, shared)
        last = {"score": score, "epoch": float(_epochs(trial.recipe)), "status": "done", "why": None}
    except PKDError as error:
        last |= {"status": "diverged" if isinstance(error, DivergedError) else "failed", "why": str(error)}
    except Exception as error:  # told in the record; only the death of a process is for Ray to repeat
        last["why"] = f"{type(error).__name__}: {first_line(error)}"
        logging.getLogger(__name__).exception("a trial failed")
    tune.report(last)


def _score_of(trial: Trial, shared: Shared) -> float:
    """Train the trial, or find it trained, and give the development score of its best epoch."""
    if not shared.annotated.is_dir():
        raise ResourceError(
            f"{shared.annotated} is not seen on this node. A sweep over several machines needs its run folder on a "
            "disk that all of them share."
        )
    os.chdir(shared.cwd)
    torch.set_num_threads(max(1, int(float(os.environ.get("OMP_NUM_THREADS") or 1))))
    teacher, rows = _loaded(shared.teacher, shared.annotated, shared.outputs)
    rows = dataclasses.replace(rows, fingerprints=shared.fingerprints, answers=shared.answers)
    plan = plan_students(trial.recipe, depth_of(teacher.model.config))[0][0]
    plan = dataclasses.replace(plan, sizes=trial.sizes)
    teller = _TellEpochs(trial.recipe.evaluation.metric)
    with one_writer(trial.folder, wait_seconds=_WAIT_FOR_LOCK):
        done = trial_stage(trial.folder, plan, trial.recipe.seed, trial.recipe, teacher, rows, [teller])
    return float(done.manifest.facts["selection"]["score"])


@functools.cache
def _loaded(teacher: str, annotated: Path, outputs: Outputs) -> tuple[LoadedClassifier, TrainingRows]:
    """The teacher and the annotated rows, once for all the trials of a process."""
    splits = {
        split: open_shards(annotated / split)
        for split in ("train", "unlabelled", "eval")
        if (annotated / split).is_dir()
    }
    rows = TrainingRows(splits["train"], splits.get("unlabelled"), splits["eval"], {}, {})
    return saying(load_teacher(teacher), outputs), rows


class _TellEpochs(TrainerCallback):
    """Reports the development score after each epoch to Ray, which may end the trial there."""

    def __init__(self, metric: str) -> None:
        self._metric = f"eval_{metric}"

    def on_save(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Report when the epoch's checkpoint is sealed, so that a trial that is ended there has lost nothing."""
        from ray import tune

        if state.global_step >= state.max_steps:
            return  # the end is reported when the trial is sealed: a trial that got so far is not ended early
        last = state.log_history[-1] if state.log_history else {}
        if self._metric in last and last["step"] == state.global_step:
            tune.report({"score": last[self._metric], "epoch": last["epoch"], "status": "trains", "why": None})


def _teller(stage: progress.Stage, on_end: Callable[[Outcome], None]) -> Any:
    from ray import tune

    class Teller(tune.Callback):
        """Hears of every report and every end, in the driver's own thread."""

        def __init__(self) -> None:
            self._scores: dict[int, list[float]] = {}
            self._best = 0.0

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            if result.get("status") == "trains":
                self._scores.setdefault(trial.config["number"], []).append(float(result["score"]))
                self._best = max(self._best, float(result["score"]))
                stage.reach(stage.done, f"best {self._best:.4f}")

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            status = str(trial.last_result.get("status"))
            if progress.stop_requested() and status == "trains":
                return  # stopped with the whole sweep, not for its score
            self._end(trial, "stopped" if status == "trains" else status, trial.last_result.get("why"))

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            why = f"its process or node died {trial.num_failures} times"
            self._end(trial, "failed", why)

        def _end(self, trial: Any, status: str, why: str | None) -> None:
            number = trial.config["number"]
            on_end(Outcome(number, self._scores.get(number, []), status, why, int(trial.num_failures)))
            stage.advance()

    return Teller()


def _stopper() -> Any:
    from ray import tune

    class OnRequest(tune.Stopper):
        """Ends all trials when a signal asked for it."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return progress.stop_requested()

    return OnRequest()


def forget_unfinished(folder: Path) -> None:
    """Remove the checkpoints of a trial that is not to go on."""
    shutil.rmtree(partial_of(folder), ignore_errors=True)


def _epochs(recipe: Recipe) -> int:
    return max(1, round(epochs_of(training_of(recipe, recipe.students[0]))))
