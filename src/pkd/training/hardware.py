"""Choose the device and the floating-point type; all models are moved here."""

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
_DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")  # the two that torch accepts as deterministic for cuBLAS
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # constants of malloc.h


def resolve_device(device: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" means on this machine.

    Raises:
        RecipeError: if there is no GPU for "cuda", or the name is unknown.
    """
    check_device(device)
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise RecipeError(f"{named('device')} is cuda, but torch sees no GPU here. Use auto or cpu.")
    return torch.device("cuda" if has_gpu and device != "cpu" else "cpu")


def move_model(model: Model, device: torch.device) -> Model:
    """Move a model to the device that it computes on. Every model that computes passes through here."""
    model.to(device)
    return model


@contextlib.contextmanager
def computing_on(device: torch.device, models: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Inside the block the models are on `device`; afterwards each returns to its own."""
    before = [next(model.parameters()).device for model in models]
    try:
        for model in models:
            move_model(model, device)
        yield
    finally:
        for model, device_before in zip(models, before, strict=True):
            move_model(model, device_before)


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of matrix products for "auto", "float32" or "bfloat16"; None for the weights' own.

    "auto" is bfloat16 if the hardware multiplies it natively: a CPU with AVX512-BF16 or AMX, measured 1.5 times as fast
    as float32, or a GPU from Ampere on.

    Raises:
        RecipeError: if the GPU does not support bfloat16.
    """
    if precision == "float32":
        return None
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "bfloat16" and not native:
            raise RecipeError(
                f"{named('training.precision')} is bfloat16, which {torch.cuda.get_device_name()} does not support. "
                "Use auto or float32."
            )
    else:
        # torch has no public test for the CPU's instruction sets
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native or precision == "bfloat16" else None


@contextlib.contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """If `wanted`, torch uses deterministic algorithms inside the block, on a GPU too.

    Raises:
        RecipeError: if torch has no deterministic algorithm for an operation.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_WORKSPACE)
    if workspace not in _DETERMINISTIC_WORKSPACES:  # torch reads it at every product
        os.environ[_WORKSPACE] = _DETERMINISTIC_WORKSPACES[0]
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "use_deterministic_algorithms" not in str(error):
            raise
        raise RecipeError(
            f"{named('training.deterministic')} is true, but torch cannot train this model deterministically here: "
            f"{first_line(error)} Leave it out, or train on the CPU."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if workspace is None:
            del os.environ[_WORKSPACE]
        else:
            os.environ[_WORKSPACE] = workspace


def keep_freed_memory() -> None:
    """Let the C library keep freed memory instead of returning it to the system at every step.

    Each step frees and allocates the same large tensors (the embedding's gradient is 45 MB for 30,000 word pieces of
    384 units), and each time the system would zero the pages. Measured on two cores with students of 3 layers, steps
    take 13 to 20 % less time. Does nothing without glibc.
    """
    if sys.platform == "linux":
        c_library = ctypes.CDLL(None)
        if hasattr(c_library, "mallopt"):
            c_library.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            c_library.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def device_text(device: torch.device) -> str:
    """A device in words, for tables: "cpu", or "cuda" with the card's name."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def describe_hardware(device: torch.device) -> dict[str, str]:
    """The device in words, for the record of a run."""
    if device.type == "cuda":
        return {"device": device_text(device), "gpus": str(torch.cuda.device_count())}
    return {"device": "cpu", "cpu": torch.backends.cpu.get_cpu_capability(), "threads": str(torch.get_num_threads())}
