"""Load an exported folder with its runtime, `tokenizers` and numpy alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.data.batches_by_length import LEAST_LENGTH
from pkd.data.class_names import names_by_id
from pkd.errors import TeacherError
from pkd.reporting.runtimes import Runtime
from pkd.serving.formats import GRAPH_FORMATS, Format, files_of
from pkd.serving.loaded import Graph, LoadedModel
from pkd.serving.onnx_model import open_onnx
from pkd.serving.openvino_model import open_openvino
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

TOKENIZER_FILE = "tokenizer.json"
_TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
_UNLIMITED = 1 << 30
_AGAIN = "Export the classifier again with `pkd export`."
_OPENERS: dict[Runtime, Callable[[Path, str, int | None, int], Graph]] = {"onnx": open_onnx, "openvino": open_openvino}


def format_of(folder: str | Path) -> Format | None:
    """The format of an exported folder; None if it holds weights for PyTorch, or was never exported.

    Raises:
        TeacherError: if it was exported and its graph is missing.
    """
    place = Path(folder)
    if any(place.glob("*.safetensors")):
        return None
    found = next((each for each in GRAPH_FORMATS.values() if (place / each.graph).is_file()), None)
    config = place / "config.json"
    if found is None and config.is_file() and not any(place.glob("*.bin")):
        written = config.read_bytes()
        graphs = [each.graph for each in GRAPH_FORMATS.values() if f'"{each.config_key}"'.encode() in written]
        if graphs:
            raise TeacherError(
                f"{place.absolute()} was exported, but its graph ({' or '.join(graphs)}) is missing. {_AGAIN}"
            )
    return found


def open_graph(folder: Path, form: Format, device: str = "auto", threads: int | None = None, callers: int = 1) -> Graph:
    """Open the graph of a folder with its runtime.

    Args:
        folder: of an export.
        form: its format.
        device: "auto", "cpu" or "cuda".
        threads: cores a call may use; None leaves it to the runtime.
        callers: threads that will run it at the same time.

    Raises:
        RecipeError: if the runtime is not installed, or cannot use the device.
        TeacherError: if it cannot read the graph.
    """
    if missing := [path for path in files_of(folder, form) if not path.is_file()]:
        raise TeacherError(f"{missing[0].absolute()} is missing. {_AGAIN}")
    return _OPENERS[form.runtime](folder / form.graph, device, threads, callers)


def load_exported(
    folder: str | Path, device: str = "auto", threads: int | None = None, callers: int = 1
) -> LoadedModel:
    """Load an exported folder.

    Args:
        folder: what `pkd export` wrote.
        device: "auto", "cpu" or "cuda", which needs ONNX Runtime's build for GPUs.
        threads: cores a call may use; None leaves it to the runtime.
        callers: threads that will call it at the same time.

    Raises:
        TeacherError: if something is missing in the folder, or is not what `pkd export` writes.
        RecipeError: if the runtime is not installed, or cannot use the device.
    """
    place = Path(folder)
    form = format_of(place)
    if form is None:
        graphs = " or ".join(each.graph for each in GRAPH_FORMATS.values())
        raise TeacherError(f"{place.absolute()} holds no exported graph ({graphs}).")
    return model_of(str(folder), form, open_graph(place, form, device, threads, callers))


def model_of(folder: str, form: Format, graph: Graph) -> LoadedModel:
    """A graph with what its folder says of it: how texts are encoded, and what the logits mean.

    Raises:
        TeacherError: if something is missing in the folder, or is not what `pkd export` writes.
    """
    place = Path(folder)
    path = place / "config.json"
    config = _read_json(path)
    several = is_multiple_choice(config.get("architectures"))
    kind, names = (MULTIPLE_CHOICE, ()) if several else _outputs(path, config)
    encoder = _encoder(place, config, WindowEncoder if kind.has_tokens else TextEncoder)
    file, outputs = Path(form.graph).name, graph.output_shape[-1]
    if (graph.input_rank, len(graph.output_shape)) != ((3, 2) if several else (2, 3) if kind.has_tokens else (2, 2)):
        raise TeacherError(
            f"{path}: architectures is {config.get('architectures')}, but {file} is no graph of that kind. {_AGAIN}"
        )
    if not several and outputs is not None and outputs != len(names):
        raise TeacherError(f"{path}: id2label names {len(names)} outputs, but {file} has {outputs}. {_AGAIN}")

    def forward(batch: Batch) -> NDArray[np.float32]:
        given = {name: batch[name][:, None] if several else batch[name] for name in graph.inputs}  # [B, 1, L] or [B, L]
        return graph.run(given)

    return LoadedModel(
        name=folder,
        runtime=form.runtime,
        device=graph.device,
        encoder=encoder,
        forward=forward,
        label_names=names,
        kind=kind,
        longest=encoder.max_length,
        tokens_per_batch=_TOKENS_PER_BATCH[graph.device],
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
