"""The models that are measured side by side, whatever runs them: PyTorch from their weights, ONNX Runtime from a graph.

Each is named by its folder, looked at, and loaded when it is asked: one at a time is in memory, but for those that are
timed in turn.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import datasets
import numpy as np
import torch

from pkd import progress
from pkd.data.outputs import Outputs, outputs_of
from pkd.data.tokenize import encode, rows_as_texts
from pkd.encoder.families import depth_of, longest_input
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import LoadedClassifier, count_parameters, load_config, load_teacher, shape_of
from pkd.serving.classifier import Classifier
from pkd.serving.export_facts import facts_of
from pkd.serving.loaded import Runtime
from pkd.serving.onnx_model import graph_of, load_onnx
from pkd.serving.speed import ROWS, measure_speed, parts_of_rows, parts_of_texts
from pkd.training.hardware import computing_on, device_text

SPEED_STAGE = "time the models side by side"
_ROWS_AT_A_TIME = 512


@dataclass(frozen=True)
class Known:
    """What is known of a model that is not in memory."""

    outputs: Outputs
    layers: int
    parameters: int
    bytes: int  # of its weights: in PyTorch as float32, exported as its graph holds them
    runtime: Runtime
    precision: Literal["float32", "int8"]  # what it computes with, of int8 in most of its products
    shape: str  # models of one shape are equally fast


@dataclass(frozen=True)
class Answered:
    """A model's logits [N, C], its outputs in its own order, and the device that computed them."""

    logits: np.ndarray
    device: str


def look_at(model: str) -> Known:
    """Load a model and let go of it: that it cannot be used is told before the first one computes.

    Raises:
        TeacherError: if it is no classifier, exported or not.
    """
    if graph_of(model) is None:
        loaded = load_teacher(model)
        count = count_parameters(loaded.model)
        depth = depth_of(loaded.model.config)
        return Known(loaded.outputs, depth, count, 4 * count, "torch", "float32", shape_of(loaded))
    load_onnx(model, "cpu")
    facts, outputs = facts_of(model), outputs_of(load_config(model, "classifier"))
    shape = f"onnx {os.path.realpath(model)}"
    return Known(outputs, facts.layers, facts.parameters.total, facts.bytes, "onnx", facts.precision, shape)


def answer(name: str, model: str, rows: datasets.Dataset, max_length: int, device: torch.device) -> Answered:
    """Load a model, let it answer all rows in their order, and let go of it."""
    with progress.stage(f"evaluate {name}", len(rows), "rows") as stage:
        if graph_of(model) is None:
            loaded = load_teacher(model)
            with computing_on(device, [loaded.model]):
                encoded = as_read_by(loaded, rows, max_length)
                logits = answer_rows(loaded.model, encoded, on_batch=stage.advance).logits
            return Answered(logits, device_text(device))
        classifier, texts, parts = _exported(model, max_length, device), rows_as_texts(rows), []
        for begin in range(0, len(texts), _ROWS_AT_A_TIME):
            parts.append(classifier.logits(texts[begin : begin + _ROWS_AT_A_TIME]))
            stage.advance(len(parts[-1]))
        return Answered(np.concatenate(parts), classifier.model.device)


def measure_speeds(
    models: Mapping[str, str | LoadedClassifier], rows: datasets.Dataset, max_length: int, device: torch.device
) -> dict[str, float]:
    """Rows per second of each model, loaded or to be loaded here, on up to 256 of the same rows, taking turns."""
    some = rows.select(range(min(ROWS, len(rows))))
    with contextlib.ExitStack() as while_timed:
        parts = {}
        for name, model in models.items():
            if isinstance(model, str) and graph_of(model) is not None:
                parts[name] = parts_of_texts(_exported(model, max_length, device), rows_as_texts(some))
                continue
            loaded = load_teacher(model) if isinstance(model, str) else model
            while_timed.enter_context(computing_on(device, [loaded.model]))
            parts[name] = parts_of_rows(loaded.model, as_read_by(loaded, some, max_length))
        with progress.stage(SPEED_STAGE):
            return measure_speed(parts, len(some))


def as_read_by(model: LoadedClassifier, rows: datasets.Dataset, max_length: int) -> datasets.Dataset:
    """The rows encoded for one model: with its own tokenizer, and cut where its positions end before `max_length`."""
    return encode(rows, model.tokenizer, min(max_length, longest_input(model.model.config)))


def _exported(model: str, max_length: int, device: torch.device) -> Classifier:
    """An exported model on as many cores as PyTorch takes, and on a GPU if its library has one too."""
    loaded = load_onnx(model, "cpu" if device.type == "cpu" else "auto", torch.get_num_threads())
    return Classifier(replace(loaded, encoder=loaded.encoder.limited(min(max_length, loaded.longest))))
