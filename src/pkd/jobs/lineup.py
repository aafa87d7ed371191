"""Models measured side by side, whatever runs them: PyTorch from weights, ONNX Runtime or OpenVINO from a graph.

Each is named by its folder, checked, and loaded on use: one at a time is in memory, except those timed in turns.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import datasets
import numpy as np
import torch

from pkd import progress
from pkd.data.arrays import column_array
from pkd.data.outputs import Outputs, outputs_of
from pkd.data.tokenize import encode, rows_as_texts
from pkd.data.word_logits import stacked
from pkd.encoder.families import depth_of, longest_input
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import LoadedClassifier, load_classifier, load_config, shape_of
from pkd.encoder.parameters import Parameters, parameters_of
from pkd.errors import TeacherError
from pkd.reporting.runtimes import Runtime
from pkd.reporting.speeds import load_sentence, rounds_disagree
from pkd.runs.seal import read_manifest
from pkd.serving.classifier import Classifier
from pkd.serving.exported_model import format_of, load_exported
from pkd.serving.formats import bytes_of
from pkd.serving.loaded import LoadedModel
from pkd.serving.speed import Timed, Work, time_models, work_on_texts
from pkd.training.hardware import computing_on, device_text

_ROWS_AT_A_TIME = 512
_ROUNDS, _ROWS, _PARTS = 3, 256, 4  # of models that a run or an evaluation times


@dataclass(frozen=True)
class Known:
    """What is known of a model that is not in memory."""

    outputs: Outputs
    layers: int
    parameters: Parameters
    bytes: int  # of its weights: in PyTorch as float32, exported as its graph holds them
    runtime: Runtime
    precision: str  # what most of its products are computed in: float32, int8
    shape: str  # models of one shape are equally fast


@dataclass(frozen=True)
class Answered:
    """A model's logits [N, C], its outputs in its own order, and the device that computed them."""

    logits: np.ndarray
    device: str


def line_up(models: Sequence[str], named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name → model, in order; a model is named after its folder.

    Duplicates are dropped. Folders of one name are distinguished by as much of their paths as necessary.

    Args:
        models: folders or hub names.
        named: models that have their names already, as "teacher"; they stand first.

    >>> line_up(["a/student", "b/student/", "a/student", "owner/name"])
    {'a/student': 'a/student', 'b/student': 'b/student/', 'name': 'owner/name'}
    >>> line_up(["mine/teacher", "teacher"], {"teacher": "teacher"})
    {'teacher': 'teacher', 'mine/teacher': 'mine/teacher'}
    """
    names = dict(named or {})
    seen = {_identity(model) for model in names.values()}
    rest: dict[Path, str] = {}
    for model in models:
        if _identity(model) not in seen:
            rest.setdefault(_identity(model), model)
    parts = {model: _parts_of_path(model) for model in rest.values()}
    taken = [(name,) for name in names]
    for model, own in parts.items():
        others = taken + [other for another, other in parts.items() if another != model]
        depth = 1
        while depth < len(own) and own[-depth:] in (other[-depth:] for other in others):
            depth += 1
        names[str(Path(*own[-depth:]))] = model
    return names


def look_at(model: str) -> Known:
    """Load a model and release it, so that an unusable one fails before the first one computes.

    Raises:
        TeacherError: if it is not a classifier, exported or not.
    """
    if format_of(model) is None:
        return known_of(load_classifier(model))
    load_exported(model, "cpu")
    return exported_as(model)


def known_of(loaded: LoadedClassifier) -> Known:
    """What is known of a classifier that PyTorch runs."""
    parameters, depth = parameters_of(loaded.model), depth_of(loaded.model.config)
    return Known(loaded.outputs, depth, parameters, 4 * parameters.total, "torch", "float32", shape_of(loaded))


def exported_as(folder: str) -> Known:
    """The facts of a graph in its folder's manifest, without running it; earlier versions wrote them too.

    Raises:
        TeacherError: if it has no graph, or a manifest without its parameters.
    """
    form, manifest = format_of(folder), read_manifest(Path(folder), any_schema=True)
    if form is None or manifest is None or "parameters" not in manifest.facts:
        raise TeacherError(f"{folder} has no manifest that tells its parameters. Export it with `pkd export`.")
    return Known(
        outputs=outputs_of(load_config(folder, "classifier")),
        layers=int(manifest.facts["layers"]),
        parameters=Parameters(**manifest.facts["parameters"]),
        bytes=bytes_of(Path(folder), form),
        runtime=form.runtime,
        precision=form.precision,
        shape=f"{form.runtime} {os.path.realpath(folder)}",
    )


def answer(name: str, model: str, rows: datasets.Dataset, max_length: int, device: torch.device) -> Answered:
    """Load a model, run it on all rows in order, and release it."""
    with progress.stage(f"evaluate {name}", len(rows), "rows") as stage:
        if format_of(model) is None:
            loaded = load_classifier(model)
            with computing_on(device, [loaded.model]):
                encoded = _as_read_by(loaded, rows, max_length)
                logits = answer_rows(loaded.model, encoded, on_batch=stage.advance).logits
            return Answered(logits, device_text(device))
        exported, texts, parts = _exported(model, device), rows_as_texts(rows), []
        limited = exported.encoder.limited(min(max_length, exported.longest))
        classifier = Classifier(replace(exported, encoder=limited))
        for begin in range(0, len(texts), _ROWS_AT_A_TIME):
            parts.append(classifier.logits(texts[begin : begin + _ROWS_AT_A_TIME]))
            stage.advance(len(parts[-1]))
        return Answered(stacked(parts), exported.device)


def measure_speeds(
    models: Mapping[str, str | LoadedClassifier], rows: datasets.Dataset, max_length: int, device: torch.device
) -> dict[str, float]:
    """Rows per second of each model, loaded or to be loaded here, on up to 256 of the same rows, taking turns."""
    some = rows.select(range(min(_ROWS, len(rows))))
    with contextlib.ExitStack() as while_timed:
        works = {}
        for name, model in models.items():
            if isinstance(model, str) and format_of(model) is not None:
                exported = _exported(model, device)
                works[name] = work_on_texts(exported, rows_as_texts(some), min(max_length, exported.longest))
                continue
            loaded = load_classifier(model) if isinstance(model, str) else model
            while_timed.enter_context(computing_on(device, [loaded.model]))
            encoded = _as_read_by(loaded, some, max_length)
            shortest_first = np.argsort(column_array(encoded, "length"), kind="stable")
            parts = [encoded.select(part) for part in np.array_split(shortest_first, min(_PARTS, len(some)))]
            works[name] = Work(len(some), [partial(answer_rows, loaded.model, part) for part in parts])
        timed = time_models(works, _ROUNDS, torch.get_num_threads())
    _warn(timed)
    return {name: len(some) / median(times.rows) for name, times in timed.times.items()}


def _warn(timed: Timed) -> None:
    """Warn if the speeds are unreliable."""
    busy = load_sentence(timed.cpu_shares, timed.threads)
    if busy:
        progress.warn(f"{busy} How fast the models are told to be does not hold; `pkd speed` times them again.")
        return
    first, *others = timed.times
    for name in others:
        pairs = zip(timed.times[first].rows, timed.times[name].rows, strict=True)
        if rounds_disagree(ratios := [theirs / own for theirs, own in pairs]):
            progress.warn(
                f"The rounds disagree how fast {name} is: {min(ratios):.2g} to {max(ratios):.2g} times {first}. "
                "`pkd speed` measures it longer."
            )


def _as_read_by(model: LoadedClassifier, rows: datasets.Dataset, max_length: int) -> datasets.Dataset:
    """The rows encoded with a model's tokenizer, truncated to its positions or `max_length`."""
    return encode(rows, model.tokenizer, min(max_length, longest_input(model.model.config)))


def _exported(model: str, device: torch.device) -> LoadedModel:
    """An exported model on as many cores as PyTorch uses, and on a GPU if its runtime has one too."""
    return load_exported(model, "cpu" if device.type == "cpu" else "auto", torch.get_num_threads())


def _identity(model: str) -> Path:
    """The same for all names of one folder; of a hub name itself."""
    path = Path(model)
    return Path(os.path.realpath(path)) if path.exists() else path


def _parts_of_path(model: str) -> tuple[str, ...]:
    path = Path(model)
    return (Path(os.path.abspath(path)) if path.exists() else path).parts  # noqa: PTH100 - links keep their names
