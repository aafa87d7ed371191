"""Start Ray or join the cluster at RAY_ADDRESS, and run as many trainings at once as fit.

Ray places trainings, ends them early and restarts them; each training seals its own output. So Ray's own records are
scratch: nothing is restored from them, and they are removed at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pkd import progress
from pkd.errors import DivergedError, PKDError, RecipeError, ResourceError, first_line
from pkd.recipe.settings import SweepSettings
from pkd.recipe.spelling import named, set_to

Report: TypeAlias = Callable[[float, float], None]  # takes the score after an epoch, and the number of epochs
Train: TypeAlias = Callable[[int, Report], float]  # takes the number of a training, returns its score

_DEATHS = 3  # of its node or process, after which a training is given up
_WAIT_FOR_CLUSTER = 10.0  # seconds
_STARTS = 3  # of Ray on this machine, before it is given up
_BETWEEN_NODES = 10.0  # seconds from one look at Ray's nodes to the next
_BETWEEN_LOOKS = 0.01  # seconds
_ROOM_FOR_AN_ACTION = 1024  # bytes; a `struct sigaction` is smaller on every platform

_QUIET = {  # read by Ray on import; values that the user set are kept
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

_ONE_MACHINE = {  # read by Ray's processes as they start on this machine alone; values that the user set are kept
    "RAY_health_check_failure_threshold": "20",  # of some 10 s each: no other node could go on in place of this one
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_worker_niceness": "0",  # with Ray's 15, other programs on a busy machine leave a training almost nothing
}


@dataclass(frozen=True)
class Outcome:
    """How Ray saw a training end; its measurements are in its folder."""

    number: int
    scores: list[float]  # after each epoch of this attempt
    status: str  # "done", "stopped", "diverged" or "failed"
    why: str | None
    retries: int


def names_cluster() -> bool:
    """Whether RAY_ADDRESS names a cluster."""
    return bool(os.environ.get("RAY_ADDRESS"))


def require_ray() -> None:
    """Check that Ray is installed.

    Raises:
        RecipeError: if it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        from ray import tune  # noqa: F401
    except ImportError as error:
        raise RecipeError(
            f"pkd sweep needs Ray Tune, which is not installed: pip install 'pkd[sweep]'. ({error})"
        ) from error


@contextlib.contextmanager
def ray_started() -> Iterator[None]:
    """Start Ray in this process, or join the cluster at RAY_ADDRESS; reuse a running Ray."""
    import ray

    if ray.is_initialized():
        yield
        return
    with _own_signals():
        try:
            _start_ray()
        except BaseException:  # its processes may be running already
            _end_ray()
            raise
    try:
        yield
    finally:
        with progress.saves_on_stop(), _own_signals():  # a stop here would leave processes behind
            _end_ray()


def _start_ray() -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            host, _, port = address.rpartition(":")
            if host and port.isdecimal() and "/" not in host:  # without a cluster Ray itself retries for minutes
                socket.create_connection((host.strip("[]"), int(port)), timeout=_WAIT_FOR_CLUSTER).close()
            ray.init(address=address, **quiet)
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            raise ResourceError(
                f"RAY_ADDRESS is {address}, but no Ray cluster answers there: {first_line(error)}. Start one with "
                "`ray start --head`, or unset RAY_ADDRESS to use this machine alone."
            ) from error
    else:
        progress.note("starting Ray on this machine")
        _start_here(quiet)


def _start_here(quiet: Mapping[str, Any]) -> None:
    """Start Ray on this machine, where its processes may be too slow for one another while others are busy."""
    import ray

    for attempt in range(1, _STARTS + 1):
        try:
            with _one_machine():
                # "local": without an address it joins whatever cluster another program has started here
                ray.init(address="local", include_dashboard=False, object_store_memory=100 << 20, **quiet)
        except Exception as error:  # Ray raises bare ones
            if attempt == _STARTS:
                raise ResourceError(
                    f"Ray did not start on this machine, in {_STARTS} attempts: {first_line(error).rstrip('.')}. "
                    "End other programs if the machine is busy, or start Ray yourself with `ray start --head` and set "
                    "RAY_ADDRESS."
                ) from error
            _end_ray()
            progress.note(f"Ray did not start ({first_line(error).rstrip('.')}); again")
        else:
            return


@contextlib.contextmanager
def _one_machine() -> Iterator[None]:
    """Give Ray's processes that are started inside the block the settings of `_ONE_MACHINE`."""
    new = [name for name in _ONE_MACHINE if name not in os.environ]
    os.environ.update({name: _ONE_MACHINE[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def _end_ray() -> None:
    """End Ray while no garbage is collected in this process.

    Ray's C++ code exits the whole process, without a message, if a reference to one of Ray's objects is freed while
    that code ends. References in cycles are freed by whichever thread happens to allocate, so they are freed before.
    """
    import ray

    collects = gc.isenabled()
    gc.disable()
    try:
        gc.collect()
        ray.shutdown()
    finally:
        if collects:
            gc.enable()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of SIGINT and SIGTERM while Ray starts or ends.

    Ray's Python code installs a SIGTERM handler that exits at once. Its C++ code installs another, and at its end
    removes Python's with it, so that a SIGTERM in the last second would kill the process without a message.
    """
    import ray._private.utils as of_ray

    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    sets, over = of_ray.set_sigterm_handler, threading.Event()
    of_ray.set_sigterm_handler = lambda handler: None
    keeper = threading.Thread(target=_keep_actions, args=(_actions(numbers), over), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        of_ray.set_sigterm_handler = sets
        for number, handler in before.items():
            if handler is not None:  # None: not installed by Python, which cannot restore it
                signal.signal(number, handler)


def _actions(numbers: Sequence[int]) -> dict[int, Any]:
    """The C library's handlers of some signals, as raw `struct sigaction`."""
    actions = {number: ctypes.create_string_buffer(_ROOM_FOR_AN_ACTION) for number in numbers}
    for number, action in actions.items():
        ctypes.CDLL(None).sigaction(number, None, action)
    return actions


def _keep_actions(actions: Mapping[int, Any], over: threading.Event) -> None:
    """Restore the C library's handlers again and again until `over` is set."""
    library = ctypes.CDLL(None)
    while not over.wait(_BETWEEN_LOOKS):
        for number, action in actions.items():
            library.sigaction(number, action, None)


def resources_of(sweep: SweepSettings, device: str) -> tuple[dict[str, float], int]:
    """The resources of one training, and how many fit at once on Ray's current nodes.

    Raises:
        ResourceError: if none fits.
        RecipeError: if `device` is cuda and a training gets no GPU.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    gpus = sweep.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if device != "cpu" and any(node.get("GPU") for node in nodes) else 0.0
    if gpus == 0 and device == "cuda":
        raise RecipeError(
            f"{named('device')} is cuda, but {named('sweep.gpus_per_trial')} gives a trial no GPU, or Ray's nodes have "
            f"none. Give a share, as 0.5, or {set_to('device', 'auto')}."
        )
    wanted = {"CPU": sweep.cpus_per_trial, "GPU": gpus}
    slots = sum(
        int(min(node.get(name, 0.0) / share for name, share in wanted.items() if share) + 1e-9) for node in nodes
    )
    if not slots:
        has = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise ResourceError(
            f"A trial takes {wanted['CPU']:g} CPUs and {gpus:g} GPUs, but Ray's nodes have {has}. Lower "
            f"{named('sweep.cpus_per_trial')} or {named('sweep.gpus_per_trial')}."
        )
    return {"cpu": sweep.cpus_per_trial, "gpu": gpus}, slots


def train_on_ray(
    train: Train,
    epochs: Sequence[int],
    resources: Mapping[str, float],
    scratch: Path,
    stage: progress.Stage,
    on_end: Callable[[Outcome], None],
    *,
    early_stopping: bool,
) -> None:
    """Run all trainings, as many at once as fit, and call `on_end` in this thread as soon as each ends.

    With early stopping (ASHA, Li et al. 2020) the best third continues after each epoch. A training whose process or
    node dies is restarted on any node with room. All end when a stop is requested.

    Args:
        train: runs one training in a process of Ray's, reports the score after each epoch but the last, and returns the
            last one. It seals its output, and resumes from what was sealed before.
        epochs: number of epochs of each training.
        resources: of one training, from `resources_of`.
        scratch: a folder for Ray's records; removed at the end.
        stage: the progress stage; advanced by one as each training ends.
        on_end: called with the outcome of each training.
        early_stopping: whether to end the worst early.
    """
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    scheduler = None
    if early_stopping:
        scheduler = ASHAScheduler(time_attr="epoch", max_t=max(2, *epochs), grace_period=1, reduction_factor=3)
    shutil.rmtree(scratch, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(functools.partial(_train_one, train=train, epochs=list(epochs)), dict(resources)),
        param_space={"number": tune.grid_search(list(range(len(epochs))))},
        tune_config=tune.TuneConfig(metric="score", mode="max", scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch.absolute()),
            verbose=0,
            callbacks=[_listener(stage, on_end)],
            stop=_stopper(),
            failure_config=tune.FailureConfig(max_failures=_DEATHS),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _train_one(config: dict[str, Any], train: Train, epochs: Sequence[int]) -> None:
    """Run one training in a process of Ray's, and report its score after each epoch."""
    from ray import tune

    def report(score: float, epoch: float) -> None:
        tune.report({"score": score, "epoch": epoch, "status": "trains", "why": None})

    number = config["number"]
    last: dict[str, Any] = {"score": 0.0, "epoch": 0.0, "status": "failed", "why": None}
    try:
        last |= {"score": train(number, report), "epoch": float(epochs[number]), "status": "done"}
    except PKDError as error:
        last |= {"status": "diverged" if isinstance(error, DivergedError) else "failed", "why": str(error)}
    except Exception as error:  # recorded; Ray restarts a training only if its process died
        last["why"] = f"{type(error).__name__}: {first_line(error)}"
        logging.getLogger(__name__).exception("a trial failed")
    tune.report(last)


def _listener(stage: progress.Stage, on_end: Callable[[Outcome], None]) -> Any:
    from ray import tune

    class Listener(tune.Callback):
        """Receives reports and ends of trainings, in the driver's thread."""

        def __init__(self) -> None:
            self._scores: dict[int, list[float]] = {}
            self._best = 0.0
            self._looked = time.monotonic()

        def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
            if time.monotonic() - self._looked > _BETWEEN_NODES:
                _require_a_node()
                self._looked = time.monotonic()

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            if result.get("status") == "trains":
                self._scores.setdefault(trial.config["number"], []).append(float(result["score"]))
                self._best = max(self._best, float(result["score"]))
                stage.reach(stage.done, f"best {self._best:.4f}")

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            status = str(trial.last_result.get("status"))
            if progress.stop_requested() and status == "trains":
                return  # ended with the whole sweep, not for its score
            self._end(trial, "stopped" if status == "trains" else status, trial.last_result.get("why"))

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            why = f"its process or node died {trial.num_failures} times"
            self._end(trial, "failed", why)

        def _end(self, trial: Any, status: str, why: str | None) -> None:
            number = trial.config["number"]
            on_end(Outcome(number, self._scores.get(number, []), status, why, int(trial.num_failures)))
            stage.advance()

    return Listener()


def _require_a_node() -> None:
    """Check that one of Ray's nodes is alive: without any, Ray waits for one for ever.

    Raises:
        ResourceError: if none is.
    """
    import ray

    if not any(node["Alive"] for node in ray.nodes()):  # type: ignore[no-untyped-call]
        raise ResourceError(
            f"Ray's processes on this machine ended in the middle of the sweep; {progress.what_is_saved()}"
        )


def _stopper() -> Any:
    from ray import tune

    class OnRequest(tune.Stopper):
        """Ends all trials after a stop signal."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return progress.stop_requested()

    return OnRequest()
