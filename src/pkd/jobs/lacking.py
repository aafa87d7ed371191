"""What this machine lacks for a job, as known without importing torch: libraries, trackers, a GPU.

Only certain faults are reported here. What is present but does not work fails where it is used.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any

from pkd.recipe.faults import Fault
from pkd.recipe.naming import Path
from pkd.recipe.schema import Recipe
from pkd.training.trackers import is_missing, refusal

_LIBRARIES = {  # of the extra with the command's name
    "export": ("onnx", "onnx_ir", "onnxruntime", "onnxscript"),
    "serve": ("fastapi", "fastapi_offline", "prometheus_client", "uvicorn"),
    "sweep": ("ray",),
}
_DRIVERS = {"win32": "nvcuda.dll"}


def missing_libraries(command: str) -> Iterator[Fault]:
    """Check for the optional libraries of a command."""
    if missing := [name for name in _LIBRARIES[command] if not is_installed(name)]:
        yield Fault(
            (),
            f"`pkd {command}` needs more libraries ({', '.join(missing)}), which are not installed: "
            f"pip install 'pkd[{command}]'",
        )


def missing_gpu(device: str) -> Iterator[Fault]:
    """Check for the GPU of a job.

    There is none if torch was built without, no driver is installed, or all are hidden. Else torch checks later.
    """
    if device == "cuda" and _sees_no_gpu():
        yield Fault(("device",), "is cuda, but torch sees no GPU here. Use auto or cpu")


def missing_trackers(recipe: Recipe) -> Iterator[Fault]:
    """Check for the trackers of a recipe's trainings."""
    places: list[tuple[Path, Any]] = [(("training",), recipe.training.report_to)]
    if recipe.teacher.finetune is not None:
        places.append((("teacher", "finetune"), recipe.teacher.finetune.report_to))
    for index, student in enumerate(recipe.students):
        places.append((("students", index, "training"), student.training.get("report_to", [])))
    for at, trackers in places:
        for tracker in trackers if isinstance(trackers, list) else ():
            if not isinstance(tracker, str) or is_missing(tracker):
                yield Fault((*at, "report_to"), refusal(tracker))


def is_installed(name: str) -> bool:
    """Whether a module of this name is installed, without importing it."""
    return name.isidentifier() and find_spec(name) is not None


def _sees_no_gpu() -> bool:
    torch = find_spec("torch")
    file = FilePath(torch.origin).with_name("version.py") if torch is not None and torch.origin is not None else None
    if file is None or not file.is_file():
        return False  # whoever imports it says more
    text = file.read_text(encoding="utf-8")  # a line for each kind of GPU, `= None` where torch was built without
    cuda, hip = (not re.search(rf"^{kind}\b.*= None$", text, re.MULTILINE) for kind in ("cuda", "hip"))
    if not (cuda or hip) or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return True
    return cuda and not hip and not _has_driver()


def _has_driver() -> bool:
    try:
        ctypes.CDLL(_DRIVERS.get(sys.platform, "libcuda.so.1"))
    except OSError:
        return False
    return True
