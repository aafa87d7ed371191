"""What an exported folder is known to be without running it: from the manifest that `pkd export` sealed it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pkd.encoder.parameters import Parameters
from pkd.errors import TeacherError
from pkd.serving.onnx_model import GRAPHS, graph_of
from pkd.storage.seal import read_manifest


@dataclass(frozen=True)
class ExportFacts:
    """The classifier's layers and parameters, the bytes of its graph, and what its weights are stored in."""

    layers: int
    parameters: Parameters
    bytes: int
    precision: Literal["float32", "int8"]


def facts_of(folder: str) -> ExportFacts:
    """Read what a folder's manifest says of its graph; one that an earlier version wrote says as much.

    Raises:
        TeacherError: if it has no graph, or a manifest that does not tell its parameters.
    """
    graph, manifest = graph_of(folder), read_manifest(Path(folder), any_schema=True)
    if graph is None or manifest is None or "parameters" not in manifest.facts:
        raise TeacherError(f"{folder} has no manifest that tells its parameters. Export it with `pkd export`.")
    return ExportFacts(
        layers=int(manifest.facts["layers"]),
        parameters=Parameters(**manifest.facts["parameters"]),
        bytes=graph.stat().st_size,
        precision="int8" if graph == Path(folder) / GRAPHS["int8"] else "float32",
    )
