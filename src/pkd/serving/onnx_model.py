"""Load an exported folder with ONNX Runtime, `tokenizers` and numpy alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.data.batches_by_length import LEAST_LENGTH
from pkd.data.class_names import names_by_id
from pkd.errors import RecipeError, TeacherError
from pkd.recipe.devices import check_device
from pkd.recipe.spelling import named
from pkd.serving.formats import GRAPH_FORMATS
from pkd.serving.loaded import LoadedModel
from pkd.serving.texts import Batch, TextEncoder
from pkd.serving.windowed import WindowEncoder
from pkd.tasks import (
    MULTIPLE_CHOICE,
    SINGLE_LABEL,
    TOKEN_CLASSIFICATION,
    TaskKind,
    is_multiple_choice,
    is_token_classification,
    kind_of_head,
    names_in_config,
)

_GRAPHS = [each.graph for each in GRAPH_FORMATS.values()]
TOKENIZER_FILE = "tokenizer.json"
_TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
_EXPORTED = b'"transformers.js_config"'  # every export's config.json has this key
_UNLIMITED = 1 << 30
_AGAIN = "Export the classifier again with `pkd export`."
_CUDA = "CUDAExecutionProvider"


def graph_of(folder: str | Path) -> Path | None:
    """The graph of an exported folder; None if it holds weights for PyTorch, or was never exported.

    Raises:
        TeacherError: if it was exported and its graph is missing.
    """
    place = Path(folder)
    if any(place.glob("*.safetensors")):
        return None
    graph = next((place / name for name in _GRAPHS if (place / name).is_file()), None)
    config = place / "config.json"
    if graph is None and config.is_file() and _EXPORTED in config.read_bytes() and not any(place.glob("*.bin")):
        raise TeacherError(
            f"{place.absolute()} was exported, but its graph ({' or '.join(_GRAPHS)}) is missing. {_AGAIN}"
        )
    return graph


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
        raise TeacherError(f"{place.absolute()} holds no ONNX graph ({' or '.join(_GRAPHS)}).")
    path = place / "config.json"
    config = _read_json(path)
    several = is_multiple_choice(config.get("architectures"))
    kind, names = (MULTIPLE_CHOICE, ()) if several else _outputs(path, config)
    encoder = _encoder(place, config, WindowEncoder if kind.has_tokens else TextEncoder)
    session, provider = open_session(graph, device, threads)
    inputs, outputs = [given.name for given in session.get_inputs()], session.get_outputs()[0].shape[-1]
    shapes = [len(given.shape) for given in (session.get_inputs()[0], session.get_outputs()[0])]
    if shapes != ([3, 2] if several else [2, 3] if kind.has_tokens else [2, 2]):
        raise TeacherError(
            f"{path}: architectures is {config.get('architectures')}, but {graph.name} is no graph of that kind. "
            f"{_AGAIN}"
        )
    if not several and isinstance(outputs, int) and outputs != len(names):
        raise TeacherError(
            f"{place / 'config.json'}: id2label names {len(names)} outputs, but {graph.name} has {outputs}. {_AGAIN}"
        )

    def forward(batch: Batch) -> NDArray[np.float32]:
        given = {name: batch[name][:, None] if several else batch[name] for name in inputs}  # [B, 1, L] or [B, L]
        logits: NDArray[np.float32] = session.run(None, given)[0]
        return logits

    return LoadedModel(
        name=str(folder),
        runtime="onnx",
        device=provider,
        encoder=encoder,
        forward=forward,
        label_names=names,
        kind=kind,
        longest=encoder.max_length,
        tokens_per_batch=_TOKENS_PER_BATCH[provider],
    )


def form_read(folder: str) -> TaskKind | None:
    """A kind of problem whose texts have the form that a folder's model reads: questions, sentences or any other texts.

    By its config.json; None if there is none.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        return None
    architectures = _read_json(path).get("architectures")
    if is_multiple_choice(architectures):
        return MULTIPLE_CHOICE
    return TOKEN_CLASSIFICATION if is_token_classification(architectures) else SINGLE_LABEL


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
        raise TeacherError(f"{graph} cannot be loaded by ONNX Runtime: {error} Export it again.") from error
    return session, "cuda" if on_gpu else "cpu"


def _outputs(path: Path, config: Mapping[str, Any]) -> tuple[TaskKind, tuple[str, ...]]:
    """The kind of problem of a graph that reads texts, and the names of its outputs."""
    if is_token_classification(config.get("architectures")):
        names = names_by_id(config.get("id2label"), str(path), _AGAIN)
        return TOKEN_CLASSIFICATION.of_names(names), names
    said = _read(path, config, "problem_type", None, names_in_config().__contains__)
    names = names_by_id(config.get("id2label"), str(path), _AGAIN)
    return kind_of_head(said, len(names)), names


def _encoder(place: Path, config: Mapping[str, Any], kind: type[TextEncoder]) -> TextEncoder:
    from tokenizers import Tokenizer

    settings = _read_json(place / "tokenizer_config.json")
    try:
        tokenizer = Tokenizer.from_file(str(place / TOKENIZER_FILE))
    except Exception as error:  # it raises Exception itself
        raise TeacherError(f"{place / TOKENIZER_FILE} cannot be read: {error}. Export it again.") from error
    of_model, of_tokenizer = place / "config.json", place / "tokenizer_config.json"
    return kind(
        tokenizer,
        min(
            _read(of_tokenizer, settings, "model_max_length", _UNLIMITED, _is_length),
            _read(of_model, config, "max_position_embeddings", _UNLIMITED, _is_length),
        ),
        pad_token_id=_read(of_model, config, "pad_token_id", 0, _is_piece) or 0,
        truncation_side=_read(
            of_tokenizer, settings, "truncation_side", "right", lambda value: value in ("left", "right")
        ),
    )


def _read(path: Path, settings: Mapping[str, Any], key: str, default: Any, holds: Callable[[Any], bool]) -> Any:
    """A checked value of a file that somebody may have edited; `default` if it is missing."""
    value = settings.get(key, default)
    if not holds(value):
        raise TeacherError(f"{path.absolute()}: {key} is {value!r}, which no export writes. {_AGAIN}")
    return value


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and value >= LEAST_LENGTH


def _is_piece(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value >= 0)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TeacherError(f"{path.absolute()} is missing. {_AGAIN}") from None
    except ValueError as error:
        raise TeacherError(f"{path.absolute()} is damaged ({error}). {_AGAIN}") from error
    if not isinstance(values, dict):
        raise TeacherError(f"{path.absolute()} holds no settings (it must be a JSON object). {_AGAIN}")
    return values
