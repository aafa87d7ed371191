"""What surrounds a command: signals that let it save, progress, errors as sentences and exit codes."""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import gc
import inspect
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

import pkd
from pkd import progress, ranks
from pkd.cli.options import Debug, Quiet, declare, parameters_of, spelling_of
from pkd.errors import (
    MORE_MEMORY,
    PKDError,
    RankError,
    RecipeError,
    ResourceError,
    Stopped,
    first_line,
    tells_of_little_memory,
)
from pkd.recipe.spelling import named, offers, spelled_as
from pkd.runs.space import is_full

_QUIET_LIBRARIES = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",  # it logs each of its retries
    "TORCH_CPP_LOG_LEVEL": "ERROR",  # DDP warns once per rank about parameters without gradient
    # TOKENIZERS_PARALLELISM stays unset: tokenizers then works in parallel, and stops doing so in forked workers
}

_DISK_FULL = (
    "The disk is full, or files may not grow so large (ulimit -f). Free some space; the same command again goes on "
    "from what was finished."
)
_SIGNS_OF_A_FULL_DISK = ("No space left on device", "File too large", "Disk quota exceeded")
_PLACE_IS_WRONG = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def silence_libraries() -> None:
    """Turn off the bars and logs of the libraries below, which read these variables when they are imported."""
    for name, value in _QUIET_LIBRARIES.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import what a command needs without garbage collection.

    Torch and transformers make a million permanent objects. Python would search them for garbage repeatedly during the
    import, and once more at exit: a second and a half of a short command.
    """
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # once per process: later objects may become garbage
            gc.freeze()
        gc.enable()


def start(job: str, *arguments: Any, **given: Any) -> Any:
    """Run a job; report the faults of its input before importing torch."""
    ask(job, *arguments, **given)
    with loading():
        run = getattr(pkd, job)
    return run(*arguments, **given)


def ask(job: str, *arguments: Any, **given: Any) -> Any:
    """Check a job's input without heavy imports; return the recipe of its keys.

    Raises:
        PKDError: with all faults.
    """
    from pkd.jobs import asking, asking_without_keys
    from pkd.search import asking as asking_of_search

    asks = next(getattr(room, job) for room in (asking, asking_without_keys, asking_of_search) if hasattr(room, job))
    with asks(*arguments, **given) as recipe:
        return recipe


@contextlib.contextmanager
def drawing(*, quiet: bool = False) -> Iterator[None]:
    """Draw the progress of the job inside the block on standard error; only rank 0 draws."""
    from pkd.cli.display import PlainDisplay, QuietDisplay, RichDisplay

    if not ranks.is_first():
        yield
        return
    console = Console(stderr=True)
    display: progress.Watcher
    if quiet:
        display = QuietDisplay(console)
    else:
        display = (
            RichDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(console)
        )
    with progress.watch(display):
        yield


def with_progress(command: Callable[..., None]) -> Callable[..., None]:
    """Draw a command's progress, and add the flags of all long commands: --quiet and --debug.

    Messages name keys and parameters by the command's flags.
    """
    parameters = parameters_of(command)

    @functools.wraps(command)
    def wrapped(*, quiet: bool, debug: bool, **given: Any) -> None:  # --debug is read before anything is imported
        with drawing(quiet=quiet), spelled_as(spelling_of(parameters, given.get("set") or ())):
            try:
                command(**given)
            except BaseException as error:
                if _is_out_of_memory(error):  # reported here, where the command's flags are known
                    raise ResourceError(_memory_sentence(error)) from error
                raise

    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("quiet", Quiet), ("debug", Debug))
    ]
    declare(wrapped, [*parameters, *flags])
    return wrapped


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """On SIGINT and SIGTERM request the job to save and stop; a second one ends it at once."""
    before = {number: signal.signal(number, _on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        progress.clear_stop()
        atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    """Ignore signals while the process exits, so that its exit code is the command's."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if progress.stop_requested():
        _end_at_once(number)
    progress.request_stop(130 if number == signal.SIGINT else 75)  # raises where there is nothing to save first
    if ranks.is_first():
        os.write(2, b"\npkd: stopping; what is done is being saved. Once more ends it at once.\n")


def _end_at_once(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(143)


def explain(error: BaseException) -> tuple[str, int] | None:
    """The sentence and exit code of an expected error; None for a bug."""
    if isinstance(error, PKDError | Stopped):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return f"Interrupted; {progress.what_is_saved()}", 130
    if _is_out_of_memory(error):
        return _memory_sentence(error), ResourceError.exit_code
    if _has_lost_a_rank(error):
        return (
            "Another process of this job ended, perhaps killed for want of memory; the launcher's lines say which. "
            "The same command again goes on from what was finished.",
            RankError.exit_code,
        )
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if any(sign in str(error) for sign in _SIGNS_OF_A_FULL_DISK):  # safetensors has an error class of its own
        return _DISK_FULL, 7
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch raises a class of its own on a GPU, and a RuntimeError elsewhere; a mapped file fails without a number.

    A library that is first imported when little memory is left cannot be mapped either.
    """
    kinds = (RuntimeError, OSError, ImportError)
    told = isinstance(error, kinds) and tells_of_little_memory(error)
    return told or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _memory_sentence(error: BaseException) -> str:
    """What helps, among the flags of the command."""
    size, steps, length = "per_device_train_batch_size", "gradient_accumulation_steps", "max_length"
    ways = []
    if offers(size):
        ways.append(f"a smaller {named(size)} with as many more {named(steps)} (the result is the same)")
    if offers(length):
        ways.append(f"a smaller {named(length)}")
    advice = f"Take {', or '.join(ways)}." if ways else MORE_MEMORY
    return f"The memory does not suffice. {advice} ({first_line(error)})"


def _has_lost_a_rank(error: BaseException) -> bool:
    """NCCL's error is a class of torch, gloo's a RuntimeError."""
    if ranks.world_size() == 1 or not isinstance(error, RuntimeError):
        return False
    return type(error).__name__ in ("DistBackendError", "DistNetworkError") or "gloo" in str(error)


def _explain_os_error(error: OSError) -> tuple[str, int] | None:
    name = f"{error.filename}: " if error.filename else ""
    if is_full(error):
        return f"{name}{_DISK_FULL}", 7
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{name}{error.strerror}. Close other programs, or raise the limit (ulimit -n).", 7
    if error.errno in _PLACE_IS_WRONG:
        return f"{name}{error.strerror}. Name a place that can be read, and written where it is an output.", 2
    return None


def complain(message: str, exit_code: int) -> int:
    """Print an error's message on standard error, once for all ranks; return their common exit code."""
    said: str | None = message
    with contextlib.suppress(RecipeError):  # invalid variables of a launcher, which are then the message
        if ranks.world_size() > 1:  # the launcher signals the others as soon as one has ended
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
        said, exit_code = ranks.agree_on_failure(message, exit_code)
    if said is not None:
        print(f"pkd: {said}", file=sys.stderr, flush=True)
    return exit_code
