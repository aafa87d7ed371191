"""A folder that `pkd export` wrote, loaded with ONNX Runtime, `tokenizers` and numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.errors import RecipeError, TeacherError
from pkd.serving.loaded import LoadedModel
from pkd.serving.texts import Batch, TextEncoder

GRAPHS = {"int8": "onnx/model_quantized.onnx", "float32": "onnx/model.onnx"}  # the names transformers.js looks for
TOKENIZER_FILE = "tokenizer.json"
_TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
_CUDA = "CUDAExecutionProvider"


def graph_of(folder: str | Path) -> Path | None:
    """The graph that a folder is served from; None where it holds weights for PyTorch, or no graph."""
    place = Path(folder)
    if any(place.glob("*.safetensors")):
        return None
    return next((place / name for name in GRAPHS.values() if (place / name).is_file()), None)


def load_onnx(folder: str | Path, device: str = "auto", threads: int | None = None) -> LoadedModel:
    """Load an exported folder.

    Args:
        folder: what `pkd export` wrote.
        device: "auto", "cpu" or "cuda", which needs ONNX Runtime's build for GPUs.
        threads: cores a call may use; None leaves it to ONNX Runtime.

    Raises:
        TeacherError: if something is missing in the folder, or is not what `pkd export` writes.
        RecipeError: if ONNX Runtime is not installed, or cannot use the device.
    """
    place = Path(folder)
    graph = graph_of(place)
    if graph is None:
        raise TeacherError(f"{place.absolute()} holds no ONNX graph ({' or '.join(GRAPHS.values())}).")
    config = _read_json(place / "config.json")
    names, problem_type = config.get("id2label"), config.get("problem_type")
    if not names or not problem_type:
        raise TeacherError(
            f"{place / 'config.json'} does not name the classes (id2label) and the problem_type. Export the classifier "
            "with `pkd export`."
        )
    session, provider = open_session(graph, device, threads)
    inputs = [given.name for given in session.get_inputs()]

    def forward(batch: Batch) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(None, {name: batch[name] for name in inputs})[0]
        return logits

    return LoadedModel(
        name=str(folder),
        runtime="onnx",
        device=provider,
        encoder=_encoder(place, config),
        forward=forward,
        label_names=tuple(str(names[str(index)]) for index in range(len(names))),
        problem_type=problem_type,
        tokens_per_batch=_TOKENS_PER_BATCH[provider],
    )


def open_session(graph: Path, device: str = "auto", threads: int | None = None) -> tuple[Any, str]:
    """An `onnxruntime.InferenceSession` and the device it runs on, "cpu" or "cuda".

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
    has_gpu = _CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not has_gpu:
        raise RecipeError("device is cuda, but this ONNX Runtime sees no GPU. Install onnxruntime-gpu, or use cpu.")
    on_gpu = has_gpu and device != "cpu"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(
            str(graph), options, providers=[_CUDA] if on_gpu else ["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no family of their own
        raise TeacherError(f"{graph} cannot be loaded by ONNX Runtime: {error} Export it again.") from error
    return session, "cuda" if on_gpu else "cpu"


def _encoder(place: Path, config: Mapping[str, Any]) -> TextEncoder:
    from tokenizers import Tokenizer

    settings = _read_json(place / "tokenizer_config.json")
    try:
        tokenizer = Tokenizer.from_file(str(place / TOKENIZER_FILE))
    except Exception as error:  # it raises Exception itself
        raise TeacherError(f"{place / TOKENIZER_FILE} cannot be read: {error}. Export it again.") from error
    longest = min(int(settings.get("model_max_length", 1 << 30)), int(config.get("max_position_embeddings", 1 << 30)))
    return TextEncoder(
        tokenizer,
        longest,
        pad_token_id=config.get("pad_token_id") or 0,
        truncation_side=settings.get("truncation_side", "right"),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TeacherError(f"{path.absolute()} is missing. Export the classifier again with `pkd export`.") from None
    except ValueError as error:
        raise TeacherError(f"{path.absolute()} is damaged ({error}). Export the classifier again.") from error
    return values
