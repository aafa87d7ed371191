"""The shapes that a run's students may have, and each one's graphs with random weights, as an export would be."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel

from pkd.data.encodings import Reader
from pkd.data.outputs import Outputs
from pkd.distillation.narrowing import count_kept
from pkd.encoder.families import cut_config, neurons_of
from pkd.encoder.load import LoadedClassifier, count_parameters, shape_of, untrained
from pkd.jobs.plan import RunPlan
from pkd.reporting.front import Precision, Shape
from pkd.runs.fingerprint import fingerprint
from pkd.runs.seal import partial_of
from pkd.serving.export import convert, trace, write_companions, write_graph
from pkd.serving.formats import ONNX_BY_PRECISION

PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
_BYTES_A_PARAMETER = 5  # of the graphs in both precisions
CARD_BYTES = 10_000  # the model card, which is written once the whole search is known
_MANIFEST_BYTES = 4_000  # which only a real export has


@dataclass(frozen=True)
class Body:
    """A shape as it is trained: one body gives a graph of each precision.

    Attributes:
        shape: in float32.
        config: of its model.
        reader: how it reads.
        outputs: of its head.
    """

    shape: Shape
    config: PretrainedConfig
    reader: Reader
    outputs: Outputs

    @cached_property
    def parameters(self) -> int:
        """The number of its parameters."""
        return count_parameters(self._model(weightless=True).model)

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that decides how fast and how large it is; of an encoder's path nothing does."""
        return fingerprint({"shape": shape_of(self._model(weightless=True)), "max_length": self.reader.max_length})

    def of(self, precision: Precision) -> Shape:
        """The shape of one of its graphs."""
        return self.shape.model_copy(update={"precision": precision})

    @property
    def bytes_built(self) -> int:
        """About what both of its graphs take."""
        return _BYTES_A_PARAMETER * self.parameters

    def least_bytes(self) -> int:
        """About what its int8 export takes: a byte for each parameter, and the tokenizer."""
        tokenizer = len(self.reader.tokenizer.backend_tokenizer.to_str().encode())
        return self.parameters + tokenizer + CARD_BYTES + _MANIFEST_BYTES

    def build(self, folder: Path) -> None:
        """Write both graphs with their companions, `folder/float32` and `folder/int8`; whole or not at all."""
        if folder.is_dir():
            return
        if (partial := partial_of(folder)).is_dir():
            shutil.rmtree(partial)
        loaded = self._model()
        program = trace(loaded)
        for precision in PRECISIONS:
            into, place = ONNX_BY_PRECISION[precision], partial / precision
            write_graph(convert(program, loaded, into), place / into.graph)
            write_companions(loaded, place, into)
        partial.rename(folder)

    def _model(self, *, weightless: bool = False) -> LoadedClassifier:
        """A classifier of this shape, as it would be saved."""
        tokenizer = copy.deepcopy(self.reader.tokenizer)
        tokenizer.model_max_length = self.reader.max_length
        model = untrained(self.config, self.outputs, weightless=weightless)
        if not weightless:
            _make_distinct(model)
        return LoadedClassifier(model, tokenizer, self.shape.name)


def _make_distinct(model: PreTrainedModel) -> None:
    """Give biases and norms values of their own: untrained ones are equal, and a graph stores equal tensors once."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=random))


def bodies_of(plan: RunPlan) -> list[Body]:
    """The shapes of a run's students, each once, the smallest first."""
    bodies: dict[Shape, Body] = {}
    for student, *_ in plan.students:
        shape = Shape(layers=student.layers, width=student.width, student=student.encoder)
        whole = plan.encoders[student.encoder].config if student.encoder else plan.config
        config = cut_config(whole, student.start_layers, count_kept(neurons_of(whole), student.width))
        bodies.setdefault(shape, Body(shape, config, plan.readers[student.encoder], plan.examples.outputs))
    return sorted(bodies.values(), key=lambda body: body.parameters)


def smallest_of_each_encoder(bodies: Sequence[Body]) -> list[Body]:
    """The bodies than which no other of their encoder can be faster."""
    firsts: dict[str | None, Body] = {}
    for body in bodies:
        firsts.setdefault(body.shape.student, body)
    return list(firsts.values())


def export_bytes(folder: Path) -> int:
    """What the export of such a graph takes on the disk, its card and manifest included."""
    return bytes_in(folder) + CARD_BYTES + _MANIFEST_BYTES


def bytes_in(folder: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
