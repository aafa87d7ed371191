"""One job in several processes: this one's rank, and agreement between them.

`torchrun`, `accelerate launch` and the like start the same command once per rank, and every rank runs the whole job.
Rank 0 decides and writes, in `on_first`; the others wait for its result. They agree through the rendezvous key-value
store and not through collectives: a wait there may take as long as a stage, reacts to signals, and ends when another
rank fails. With one rank nothing here does anything.
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
_SECONDS_TO_TELL = 10.0  # how long other ranks wait for rank 0 to report the failure
_LONGEST_PAUSE = 0.05  # seconds between two polls of the store
_UNSET = "Launchers as torchrun set it; unset it to run in one process."

_store: Any = None
_turn = 0  # counts the agreements; the same on every rank, since all run the same job
_alone = False


def rank() -> int:
    """The rank of this process, from 0."""
    return _place()[0]


def world_size() -> int:
    """The number of processes of the job."""
    return _place()[1]


def is_first() -> bool:
    """Whether this is rank 0, which writes and logs."""
    return rank() == 0


def shard_weights() -> bool:
    """Whether the launcher asked for weights that are sharded over the ranks (accelerate's FSDP or DeepSpeed)."""
    return any(os.environ.get(f"ACCELERATE_USE_{name}", "").lower() in ("1", "true") for name in ("FSDP", "DEEPSPEED"))


def join() -> None:
    """Meet the other ranks and set up torch's process group, once; gloo for the CPU, nccl for GPUs.

    Each rank of a machine takes the GPU of its local number.

    Raises:
        RankError: if another rank failed before it joined.
    """
    import torch

    if world_size() == 1 or torch.distributed.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(_number("LOCAL_RANK", 0) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    number, of = rank(), world_size()
    with _asking() as store:  # torch's own rendezvous would wait half an hour for a rank that has failed
        store.set(f"here/{number}", "")
        _wait(store, [f"here/{each}" for each in range(of)])
    store = torch.distributed.distributed_c10d.PrefixStore("group", store)
    torch.distributed.init_process_group(backend, store=store, rank=number, world_size=of)


def meet() -> None:
    """Wait until every rank is here.

    Raises:
        RankError: if another rank failed or is gone.
    """
    gather(None)


def gather(value: Any) -> list[Any]:
    """Gather a JSON value from each rank, in rank order.

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
    """Run `do` on rank 0 alone; return its JSON value, or raise its error, on every rank.

    Inside, the job is one of a single process: rank 0 does all of what is split elsewhere.

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
    """End together: the message that this rank prints (None if another does) and the exit code of all ranks.

    Only the first failure is reported, not what it breaks on other ranks. Rank 0 prints it or, if it does not respond,
    the rank that failed.
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
    except (RuntimeError, RankError):  # the store's host is gone, or there never was a store
        return (message if is_first() else None), exit_code
    if int(told_by) != rank():
        return None, first["exit_code"]
    where = f"On rank {first['rank']}: " if first["message"] != message and first["rank"] != rank() else ""
    return where + first["message"], first["exit_code"]


def _place() -> tuple[int, int]:
    if _alone:
        return 0, 1
    torch = sys.modules.get("torch")  # a process group that was set up by hand counts; nothing is imported here
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
    """The rendezvous store: the launcher's, or one that rank 0 hosts."""
    global _store
    if _store is None:
        from torch.distributed import distributed_c10d
        from torch.distributed.rendezvous import rendezvous

        if distributed_c10d.is_initialized():
            store = distributed_c10d._get_default_store()  # there is no public API for it
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
    """Rank 0 exits last: it may host the rendezvous store."""
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
            gc.collect()  # a trainer's remains hold DDP, which holds the group: its threads would abort the process
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
