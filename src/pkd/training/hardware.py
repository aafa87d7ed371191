"""What this hardware does well: where to compute, and in which type; models are moved here and nowhere else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from pkd.errors import RecipeError, first_line
from pkd.recipe.devices import check_device
from pkd.recipe.spelling import named

Model = TypeVar("Model", bound=torch.nn.Module)

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")  # the two with which torch calls cuBLAS deterministic
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of malloc.h


def resolve_device(device: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" means here.

    Raises:
        RecipeError: if a GPU is asked for and there is none, or the name is no device's.
    """
    check_device(device)
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise RecipeError(f"{named('device')} is cuda, but torch sees no GPU here. Use auto or cpu.")
    return torch.device("cuda" if has_gpu and device != "cpu" else "cpu")


def move_model(model: Model, device: torch.device) -> Model:
    """Bring a model to where it is to compute. Whatever computes comes through here, also to stay where it is."""
    model.to(device)
    return model


@contextlib.contextmanager
def computing_on(device: torch.device, models: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Inside the block the models are on `device`; afterwards each is back where it was."""
    before = [next(model.parameters()).device for model in models]
    try:
        for model in models:
            move_model(model, device)
        yield
    finally:
        for model, place in zip(models, before, strict=True):
            move_model(model, place)


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type that matrix products are computed in under "auto", "float32" or "bfloat16"; None for the weights' own.

    "auto" takes bfloat16 where the hardware multiplies it natively: on a CPU with AVX512-BF16 or AMX, where it was
    measured 1.5 times as fast as float32, and on a GPU from Ampere on.

    Raises:
        RecipeError: if bfloat16 is asked of a GPU that does not have it.
    """
    if precision == "float32":
        return None
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "bfloat16" and not native:
            raise RecipeError(
                f"{named('training.precision')} is bfloat16, but {torch.cuda.get_device_name()} does not have it. Use "
                "auto or float32."
            )
    else:
        # torch names no public test of its own for the CPU's instruction sets
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native or precision == "bfloat16" else None


@contextlib.contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Inside the block torch computes the same bits each time, on a GPU too, if that is wanted; then all is as it was.

    Raises:
        RecipeError: if the block needs an operation that torch has no such algorithm for.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_WORKSPACE)
    if workspace not in _DETERMINISTIC_WORKSPACES:  # torch looks at it at every product
        os.environ[_WORKSPACE] = _DETERMINISTIC_WORKSPACES[0]
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "use_deterministic_algorithms" not in str(error):
            raise
        raise RecipeError(
            f"{named('training.deterministic')} is true, but torch cannot train this model so here: "
            f"{first_line(error)} Leave it out, or train on the CPU."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if workspace is None:
            del os.environ[_WORKSPACE]
        else:
            os.environ[_WORKSPACE] = workspace


def keep_freed_memory() -> None:
    """Let the C library keep what is freed instead of giving it back to the system at every step.

    Each step frees and allocates the same large tensors (the embedding's gradient is 45 MB for 30,000 word pieces of
    384 units), and each time the system would hand out zeroed pages. Measured on two cores, students of 3 layers:
    steps take 13 to 20 % less time. Only glibc has the switch; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        c_library = ctypes.CDLL(None)
        if hasattr(c_library, "mallopt"):
            c_library.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            c_library.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def device_text(device: torch.device) -> str:
    """A device as it stands beside a figure: "cpu", or "cuda" with the card's name."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def describe_hardware(device: torch.device) -> dict[str, str]:
    """The device in words, for the record of a run."""
    if device.type == "cuda":
        return {"device": device_text(device), "gpus": str(torch.cuda.device_count())}
    return {"device": "cpu", "cpu": torch.backends.cpu.get_cpu_capability(), "threads": str(torch.get_num_threads())}
