"""The formats of an exported folder. A new one is an entry here and its conversion in `export`.

Importing this module imports neither torch nor a runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pkd.reporting.runtimes import Runtime


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format: a graph of a precision, for a runtime.

    Attributes:
        name: by `pkd export --format`.
        runtime: what runs it.
        precision: what most of its products are computed in, as in records, cards and the manifest.
        graph: its file in the folder, by the name that others look for: transformers.js, sentence-transformers.
        weights: the file of its weights; None if the graph holds them.
        config_key: the key of config.json under which its readers look for the precision.
        dtype: their name of the precision.
        is_converted: whether it is made from the float32 graph, and answers a little differently. The difference is
            measured, and the export refused if it is too large.
        is_calibrated: whether the conversion needs texts, from which it takes the ranges of activations.
    """

    name: str
    runtime: Runtime
    precision: str
    graph: str
    weights: str | None = None
    config_key: str
    dtype: str
    is_converted: bool = True
    is_calibrated: bool = False


@dataclass(frozen=True)
class Needed:
    """What must be installed to run graphs, or to make them: modules, and the extra of `pkd` that has them."""

    modules: tuple[str, ...]
    extra: str


def _onnx(name: str, precision: str, graph: str, dtype: str, *, is_converted: bool = True) -> Format:
    return Format(
        name=name, runtime="onnx", precision=precision, graph=f"onnx/{graph}.onnx",
        config_key="transformers.js_config", dtype=dtype, is_converted=is_converted,
    )  # fmt: skip


def _openvino(name: str, precision: str, graph: str, *, is_converted: bool = True) -> Format:
    return Format(
        name=name, runtime="openvino", precision=precision, graph=f"openvino/{graph}.xml",
        weights=f"openvino/{graph}.bin", config_key="openvino_config", dtype=precision, is_converted=is_converted,
        is_calibrated=is_converted,
    )  # fmt: skip


_FORMATS = (
    _onnx("onnx", "float32", "model", "fp32", is_converted=False),
    _onnx("onnx-int8", "int8", "model_quantized", "q8"),
    _openvino("openvino", "float32", "openvino_model", is_converted=False),
    _openvino("openvino-int8", "int8", "openvino_model_qint8_quantized"),
)
GRAPH_FORMATS = {each.name: each for each in _FORMATS}
ONNX_BY_PRECISION = {each.precision: each for each in _FORMATS if each.runtime == "onnx"}
RUNS: dict[Runtime, Needed] = {
    "onnx": Needed(("onnxruntime",), "serve"),
    "openvino": Needed(("openvino",), "openvino"),
}
_MAKES = {"openvino": Needed(("openvino",), "openvino"), "openvino-int8": Needed(("openvino", "nncf"), "openvino")}


def format_asked(name: str, *, int8: bool = False) -> Format | None:
    """The format of this name, with `int8` that of the same runtime in int8; None if there is none."""
    form = GRAPH_FORMATS.get(name)
    if form is None or not int8:
        return form
    return next(each for each in _FORMATS if (each.runtime, each.precision) == (form.runtime, "int8"))


def exact(form: Format) -> Format:
    """The format of the same runtime that answers as PyTorch does."""
    return next(each for each in _FORMATS if each.runtime == form.runtime and not each.is_converted)


def needed_besides(form: Format) -> Needed | None:
    """What an export to a format needs besides the extra `export`."""
    return _MAKES.get(form.name)


def files_of(folder: Path, form: Format) -> list[Path]:
    """The files of a graph in its folder."""
    return [folder / name for name in (form.graph, form.weights) if name is not None]


def bytes_of(folder: Path, form: Format) -> int:
    """The bytes of a graph with its weights."""
    return sum(path.stat().st_size for path in files_of(folder, form))
