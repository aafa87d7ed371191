"""Open OpenVINO's graphs (IR) with its runtime for processors.

Its products are computed in float32, or in int8 where the graph says so: by itself OpenVINO takes bfloat16 where the
processor has it, and then answers differently from machine to machine.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.errors import RecipeError, TeacherError, refuse_for_memory
from pkd.recipe.devices import check_device
from pkd.recipe.spelling import named
from pkd.serving.loaded import Graph

_TELEMETRY = "openvino_telemetry"


def open_openvino(graph: Path, device: str = "auto", threads: int | None = None, callers: int = 1) -> Graph:
    """Open a graph.

    Args:
        graph: its .xml; the .bin with the weights is beside it.
        device: "auto" or "cpu".
        threads: cores a call may use; None leaves it to OpenVINO.
        callers: threads that run it at the same time. Each gets a stream of its own: calls on one stream wait for each
            other.

    Raises:
        RecipeError: if OpenVINO is not installed, or another device is asked for.
        TeacherError: if it cannot read the graph.
    """
    try:
        with without_telemetry():
            import openvino
    except ImportError:
        raise RecipeError(
            f"{graph.parent.parent} is served by OpenVINO, which is not installed: pip install 'pkd[openvino]'."
        ) from None
    check_device(device)
    if device == "cuda":
        raise RecipeError(
            f"{named('device')} is cuda, but OpenVINO runs {graph.parent.parent} on processors. Use cpu, or export the "
            "classifier to onnx."
        )
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": callers,
        "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads * callers
    try:
        compiled = openvino.Core().compile_model(str(graph), "CPU", options)
    except RuntimeError as error:
        refuse_for_memory(error, str(graph))
        raise TeacherError(f"{graph} cannot be loaded by OpenVINO: {error} Export it again.") from error
    output, of_thread = compiled.output(0), threading.local()

    def run(given: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        if not hasattr(of_thread, "request"):
            of_thread.request = compiled.create_infer_request()
        logits: NDArray[np.float32] = of_thread.request.infer(dict(given), share_inputs=True)[output]
        return logits

    return Graph(
        inputs=tuple(given.any_name for given in compiled.inputs),
        input_rank=len(compiled.input(0).partial_shape),
        output_shape=tuple(size.get_length() if size.is_static else None for size in output.partial_shape),
        run=run,
        device="cpu",
    )


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO or NNCF without their telemetry.

    Unless the user has opted out, it would write an identifier into the home folder and report uses to its maker.
    Both do without where its package cannot be imported.
    """
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before
