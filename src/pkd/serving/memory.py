"""How much memory a model takes to serve, in a process of its own: what else a process holds would count with it.

python -m pkd.serving.memory student/ cpu 2 32 128
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from pkd.errors import ResourceError
from pkd.serving.classifier import Classifier
from pkd.serving.texts import Batch

_SECONDS = 600


def measure_memory(folder: str, device: str, threads: int, shape: tuple[int, int]) -> int:
    """Peak resident bytes of a fresh process that loads a classifier and answers one batch.

    Args:
        folder: of the classifier, exported or not.
        device: "cpu" or "cuda"; memory of a GPU is not counted.
        threads: cores to use.
        shape: (rows, word pieces) of the batch.

    Raises:
        ResourceError: if the process fails.
    """
    given = [folder, device, str(threads), *map(str, shape)]
    done = subprocess.run(
        [sys.executable, "-m", "pkd.serving.memory", *given],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ResourceError(f"The process that measures the memory of {folder} failed ({done.returncode}): {told}")
    peak: int = json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    return peak


def random_batch(rows: int, length: int, vocabulary: int, seed: int = 0) -> Batch:
    """Random word pieces [rows, length] without padding."""
    ids = np.random.default_rng(seed).integers(0, vocabulary, size=(rows, length), dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def _peak_bytes() -> int:
    """The most this process ever held; the kernel's count of its own, for getrusage's includes the parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _main(folder: str, device: str, threads: str, rows: str, length: str) -> None:
    model = Classifier.load(folder, device, int(threads)).model
    model.forward(random_batch(int(rows), int(length), model.encoder.vocabulary))
    sys.stdout.write(json.dumps({"peak_bytes": _peak_bytes()}) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
