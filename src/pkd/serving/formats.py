"""The formats of an exported folder. A new one is an entry here and its conversion in `export`.

Importing this module imports neither torch nor ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format: an ONNX graph of a precision.

    Attributes:
        precision: what most of its products are computed in, as in records, cards and the manifest.
        graph: its file in the folder, by the name that transformers.js looks for.
        transformers_js: that library's name of the precision.
        is_converted: whether it is made from the float32 graph, and answers a little differently. The difference is
            measured, and the export refused if it is too large.
    """

    precision: str
    graph: str
    transformers_js: str
    is_converted: bool = True


FLOAT32 = Format(precision="float32", graph="onnx/model.onnx", transformers_js="fp32", is_converted=False)
INT8 = Format(precision="int8", graph="onnx/model_quantized.onnx", transformers_js="q8")
GRAPH_FORMATS = {"onnx": FLOAT32, "onnx-int8": INT8}  # by `pkd export --format`
BY_PRECISION = {each.precision: each for each in GRAPH_FORMATS.values()}
