"""Ray itself: started in this process or joined where RAY_ADDRESS says, and how many trials fit on its nodes."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pkd import progress
from pkd.errors import RecipeError, ResourceError, first_line
from pkd.recipe.settings import SweepSettings
from pkd.recipe.spelling import named, set_to

_WAIT_FOR_CLUSTER = 10.0  # seconds
_BETWEEN_LOOKS = 0.01
_ROOM_FOR_AN_ACTION = 1024  # bytes, more than a `struct sigaction` has anywhere

_QUIET = {  # read by Ray when it is imported; what the user set stays
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def require_ray() -> None:
    """Check that Ray is there.

    Raises:
        RecipeError: if it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        from ray import tune  # noqa: F401
    except ImportError as error:
        raise RecipeError(
            f"pkd sweep needs Ray Tune, which is not here: pip install 'pkd[sweep]'. ({error})"
        ) from error


@contextlib.contextmanager
def ray_started() -> Iterator[None]:
    """Start Ray in this process, or join the cluster that RAY_ADDRESS names; a Ray that runs already is used."""
    import ray

    if ray.is_initialized():
        yield
        return
    with _own_signals():
        try:
            _start_ray()
        except BaseException:  # stopped half-way: its processes are there already
            ray.shutdown()
            raise
    try:
        yield
    finally:
        with progress.saves_on_stop(), _own_signals():  # a stop meanwhile would leave processes behind
            ray.shutdown()


def _start_ray() -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            host, _, port = address.rpartition(":")
            if host and port.isdecimal() and "/" not in host:  # Ray itself tries for minutes where nobody answers
                socket.create_connection((host.strip("[]"), int(port)), timeout=_WAIT_FOR_CLUSTER).close()
            ray.init(address=address, **quiet)
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            raise ResourceError(
                f"RAY_ADDRESS is {address}, but no Ray cluster answers there: {first_line(error)}. Start one with "
                "`ray start --head`, or unset RAY_ADDRESS to use this machine alone."
            ) from error
    else:
        progress.note("starting Ray on this machine")
        ray.init(include_dashboard=False, object_store_memory=100 << 20, **quiet)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of SIGINT and SIGTERM while Ray starts or ends.

    Its Python sets a handler of SIGTERM that leaves at once, its C++ another, and takes that away again when it ends,
    with Python's own: for the second that the rest takes, SIGTERM would end the process without a word.
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
            if handler is not None:  # one that Python did not install cannot be put back
                signal.signal(number, handler)


def _actions(numbers: Sequence[int]) -> dict[int, Any]:
    """What the C library does on some signals: `struct sigaction` as it stands."""
    actions = {number: ctypes.create_string_buffer(_ROOM_FOR_AN_ACTION) for number in numbers}
    for number, action in actions.items():
        ctypes.CDLL(None).sigaction(number, None, action)
    return actions


def _keep_actions(actions: Mapping[int, Any], over: threading.Event) -> None:
    """Put back what the C library does on signals, whoever changes it, until it is over."""
    while not over.wait(_BETWEEN_LOOKS):
        for number, action in actions.items():
            ctypes.CDLL(None).sigaction(number, action, None)


def resources_of(sweep: SweepSettings, device: str) -> tuple[dict[str, float], int]:
    """What a trial takes, and how many trials fit at once on the nodes that Ray has now.

    Raises:
        ResourceError: if not one fits.
        RecipeError: if trials are to train on a GPU, of which they get nothing.
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
