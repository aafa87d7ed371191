"""What runs a classifier, by its name in records, manifests and the server's health."""

from __future__ import annotations

from typing import Literal

Runtime = Literal["torch", "onnx", "openvino"]
RUNTIME_TITLES: dict[Runtime, str] = {"torch": "PyTorch", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
