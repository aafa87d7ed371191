"""Open an ONNX graph with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pkd.errors import RecipeError, TeacherError, refuse_for_memory
from pkd.recipe.devices import check_device
from pkd.recipe.spelling import named
from pkd.serving.loaded import Graph

_CUDA = "CUDAExecutionProvider"


def open_onnx(graph: Path, device: str = "auto", threads: int | None = None, callers: int = 1) -> Graph:
    """Open a graph.

    Args:
        graph: its file.
        device: "auto", "cpu" or "cuda".
        threads: cores a call may use; None leaves it to ONNX Runtime.
        callers: any number: a call of one thread runs in the thread that makes it.

    Raises:
        RecipeError: if ONNX Runtime is not installed, or cannot use the device.
        TeacherError: if it cannot read the graph.
    """
    try:
        import onnxruntime
    except ImportError:
        raise RecipeError(
            f"{graph.parent.parent} is served by ONNX Runtime, which is not installed: pip install 'pkd[serve]'."
        ) from None
    check_device(device)
    has_gpu = _CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not has_gpu:
        raise RecipeError(
            f"{named('device')} is cuda, but this ONNX Runtime sees no GPU. Install onnxruntime-gpu, or use cpu."
        )
    on_gpu = has_gpu and device != "cpu"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(
            str(graph), options, providers=[_CUDA] if on_gpu else ["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common class
        refuse_for_memory(error, str(graph))
        raise TeacherError(f"{graph} cannot be loaded by ONNX Runtime: {error} Export it again.") from error

    def run(given: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(None, given)[0]
        return logits

    inputs = session.get_inputs()
    return Graph(
        inputs=tuple(given.name for given in inputs),
        input_rank=len(inputs[0].shape),
        output_shape=tuple(size if isinstance(size, int) else None for size in session.get_outputs()[0].shape),
        run=run,
        device="cuda" if on_gpu else "cpu",
    )
