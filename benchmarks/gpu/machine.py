"""The machine, its card and its libraries, as they stand beside every figure that was measured on it."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.workers import write_figures
from pkd.training.hardware import describe_hardware, resolve_device

_LIBRARIES = (
    "torch", "triton", "transformers", "tokenizers", "accelerate", "datasets", "safetensors", "numpy", "pyarrow",
    "onnxruntime", "textbrewer",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", type=Path, help="also write it here")
    given = parser.parse_args()
    told = describe_machine(resolve_device(given.device))
    write_figures(given.json, told)
    for name, value in told.items():
        print(f"{name}: {value}", flush=True)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Card with memory, driver and CUDA; processor; versions."""
    told: dict[str, Any] = {**describe_hardware(device), "processor": _processor(), "cores": os.cpu_count()}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        told |= {
            "memory_gb": round(card.total_memory / 1e9, 1), "multiprocessors": card.multi_processor_count,
            "driver": _driver(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
        }  # fmt: skip
    told["versions"] = {"python": platform.python_version()}
    for library in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            told["versions"][library] = version(library)
    told["versions"]["torch"] = torch.__version__  # with its build
    return told


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _driver() -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    return "unknown"


if __name__ == "__main__":
    main()
