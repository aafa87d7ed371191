"""One job in several processes: which of them this one is, and how they agree.

`torchrun`, `accelerate launch` and the like start the same command once a rank, and every rank runs the whole job. What
is decided or written once is done by the first rank, in `on_first`; the others wait for its answer. They agree through
the key-value store at which the ranks meet, and not through collectives: a wait there may take as long as a stage does,
hears signals, and ends when another rank fails. Without several ranks nothing here does anything.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from pkd import errors
from pkd.errors import PKDError, RankError, RecipeError, first_line

Answer = TypeVar("Answer")

_FAILED, _TOLD = "failed", "told"
_SECONDS_TO_TELL = 10.0  # so long other ranks wait for the first one to tell what went wrong
_LONGEST_PAUSE = 0.05  # seconds between two looks at the store
_UNSET = "Launchers as torchrun set it; unset it to run in one process."

_store: Any = None
_turn = 0  # counts the agreements; the same on every rank, since all run the same job
_alone = False


def rank() -> int:
    """The number of this process among those of the job, from 0."""
    return _place()[0]


def world_size() -> int:
    """How many processes the job runs in."""
    return _place()[1]


def is_first() -> bool:
    """Whether this process is the one that writes and talks."""
    return rank() == 0


def join() -> None:
    """Meet the other ranks and set up torch's process group, once; gloo for the CPU, nccl for GPUs.

    Each rank of a machine takes the GPU of its local number.

    Raises:
        RankError: if another rank failed before it came here.
    """
    import torch

    if world_size() == 1 or torch.distributed.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(_number("LOCAL_RANK", 0) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    number, of = rank(), world_size()
    with _asking() as store:  # torch's own meeting would wait half an hour for a rank that has failed
        store.set(f"here/{number}", "")
        _wait(store, [f"here/{each}" for each in range(of)])
    store = torch.distributed.distributed_c10d.PrefixStore("group", store)
    torch.distributed.init_process_group(backend, store=store, rank=number, world_size=of)


def meet() -> None:
    """Wait until every rank has come here.

    Raises:
        RankError: if another rank failed or is gone.
    """
    gather(None)


def gather(value: Any) -> list[Any]:
    """What each rank brings, in the order of the ranks; values of JSON.

    Raises:
        RankError: if another rank failed or is gone.
    """
    if world_size() == 1:
        return [value]
    join()
    turn = _next_turn()
    keys = [f"{turn}/{number}" for number in range(world_size())]
    with _asking() as store:
        store.set(keys[rank()], json.dumps(value))
        _wait(store, keys)
        return [json.loads(store.get(key)) for key in keys]


def on_first(do: Callable[[], Answer]) -> Answer:
    """Let the first rank alone do something, and give every rank its answer, a value of JSON, or its error.

    Inside, the job is one of a single process: what is shared out elsewhere, the first rank does whole.

    Raises:
        PKDError: what `do` raised, on every rank.
        RankError: on the others, if `do` failed otherwise or another rank is gone.
    """
    global _alone
    if world_size() == 1:
        return do()
    join()
    key = f"{_next_turn()}/answer"
    if not is_first():
        with _asking() as store:
            _wait(store, [key])
            told = json.loads(store.get(key))
        if "error" in told:
            raise _error_of(**told["error"])
        answer: Answer = told["answer"]
        return answer
    try:
        _alone = True
        answer = do()
    except BaseException as error:
        code = error.exit_code if isinstance(error, PKDError | errors.Stopped) else 1
        told = {"kind": type(error).__name__, "message": str(error), "exit_code": code}
        with contextlib.suppress(RankError), _asking() as store:
            store.set(key, json.dumps({"error": told}))
        raise
    finally:
        _alone = False
    with _asking() as store:
        store.set(key, json.dumps({"answer": answer}))
    return answer


def agree_on_failure(message: str, exit_code: int) -> tuple[str | None, int]:
    """End together: what this rank should say (None where another says it) and the code that all ranks exit with.

    The first failure counts; what it breaks on other ranks is not worth telling. The first rank tells it, or, where
    that one does not answer, the rank that failed.
    """
    if world_size() == 1:
        return message, exit_code
    try:
        store = _connect()
        mine = {"rank": rank(), "message": message, "exit_code": exit_code}
        first = json.loads(store.compare_set(_FAILED, "", json.dumps(mine)))
        if not is_first():
            _wait_for_the_first_rank(store)
        told_by = store.compare_set(_TOLD, "", str(rank()))
    except (RuntimeError, RankError):  # whoever kept the store is gone, or there never was one
        return (message if is_first() else None), exit_code
    if int(told_by) != rank():
        return None, first["exit_code"]
    where = f"On rank {first['rank']}: " if first["message"] != message and first["rank"] != rank() else ""
    return where + first["message"], first["exit_code"]


def _place() -> tuple[int, int]:
    if _alone:
        return 0, 1
    torch = sys.modules.get("torch")  # a process group that somebody set up by hand counts; nothing is imported here
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    number, of = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if not 0 <= number < of:
        raise RecipeError(f"RANK is {number} and WORLD_SIZE {of}; ranks count from 0 to WORLD_SIZE − 1. {_UNSET}")
    return number, of


def _number(variable: str, default: int) -> int:
    """A launcher's variable."""
    text = os.environ.get(variable, str(default))
    try:
        return int(text)
    except ValueError:
        raise RecipeError(f"The environment variable {variable} is {text!r}, which is no number. {_UNSET}") from None


def _connect() -> Any:
    """The store at which the ranks meet: the launcher's, or one that the first rank keeps."""
    global _store
    if _store is None:
        from torch.distributed import distributed_c10d
        from torch.distributed.rendezvous import rendezvous

        if distributed_c10d.is_initialized():
            store = distributed_c10d._get_default_store()  # there is no public way to it
        else:
            try:
                store = next(rendezvous("env://", timeout=timedelta(minutes=5)))[0]
            except ValueError as error:
                raise RankError(
                    f"WORLD_SIZE is {world_size()}, but the processes cannot meet: {first_line(error)}. Start them "
                    "with torchrun or accelerate launch, or unset WORLD_SIZE and RANK to run in one process."
                ) from error
        _store = distributed_c10d.PrefixStore("pkd", store)
        atexit.register(_leave)
    return _store


def _leave() -> None:
    """Part in order; the first rank goes last, for it may keep the store."""
    import torch

    with contextlib.suppress(RuntimeError):
        number, of = _place()
        failed = _store.check([_FAILED])
        _store.set(f"left/{number}", "")
        until = time.monotonic() + _SECONDS_TO_TELL
        everybody = [f"left/{each}" for each in range(of)]
        while number == 0 and not _store.check(everybody) and time.monotonic() < until:
            time.sleep(_LONGEST_PAUSE)
        if torch.distributed.is_initialized() and not failed:
            gc.collect()  # DDP holds the group, and what is left of a trainer DDP: its threads would abort the process
            torch.distributed.destroy_process_group()


def _next_turn() -> int:
    global _turn
    _turn += 1
    return _turn


@contextlib.contextmanager
def _asking() -> Iterator[Any]:
    try:
        yield _connect()
    except RuntimeError as error:
        raise RankError(f"The ranks of this job have lost one another ({first_line(error)}).") from error


def _wait(store: Any, keys: Sequence[str]) -> None:
    pause = 0.001
    while not store.check(list(keys)):
        if store.check([_FAILED]):
            first = json.loads(store.get(_FAILED))
            raise RankError(f"Rank {first['rank']} failed: {first['message']}")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _wait_for_the_first_rank(store: Any) -> None:
    until = time.monotonic() + _SECONDS_TO_TELL
    while not store.check([_TOLD]) and time.monotonic() < until:
        time.sleep(_LONGEST_PAUSE)


def _error_of(kind: str, message: str, exit_code: int) -> PKDError | errors.Stopped:
    found = getattr(errors, kind, None)
    if found is errors.Stopped:
        return errors.Stopped(message, exit_code)
    if isinstance(found, type) and issubclass(found, PKDError):
        return found(message)
    return RankError(f"The first rank failed: {kind}: {message}")
