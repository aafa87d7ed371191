"""`pkd speed`: parameters and seconds of models, side by side in one run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np

from pkd import progress
from pkd.data.encoding import encode
from pkd.data.labels import Outputs
from pkd.data.sources import read_texts
from pkd.distillation.student import student_from
from pkd.encoder.contract import LoadedClassifier, load_config, load_pretrained, load_teacher
from pkd.encoder.families import depth_of, longest_input
from pkd.encoder.sizes import parameters_of
from pkd.errors import RecipeError
from pkd.reporting.speeds import SpeedRecord
from pkd.serving.speed import time_rounds
from pkd.training.precision import resolve_device

ROUNDS = 5
_SEED = 0


def speed(
    models: Sequence[str],
    *,
    layers: Sequence[int] = (),
    test: str | None = None,
    text_columns: str | None = None,
    rows: int = 256,
    max_length: int = 128,
    rounds: int = ROUNDS,
    device: str = "auto",
) -> list[SpeedRecord]:
    """Count and time models on the same rows; the first one is what the others are compared with.

    Args:
        models: folders or hub names of classifiers, or of pretrained encoders, which get an untrained head: that makes
            them neither faster nor slower.
        layers: also time the first model cut to its first layers, so many ("teacher[:6]"). It is not trained for it:
            only size and time mean anything.
        test: a file whose texts are answered; without it random word pieces, all rows `max_length` long.
        text_columns: column of the text, or two of a pair.
        rows: at most so many.
        max_length: word pieces a row is cut to.
        rounds: how often each model answers all rows; the models take turns.
        device: "auto", "cpu" or "cuda".

    Returns:
        A record a model: parameters by part, seconds of each round, ratios to the first model.

    Raises:
        RecipeError: if a depth or length does not fit a model, or a number is not positive.
        TeacherError: if a model cannot be loaded.
        DataError: if the file cannot be read.
    """
    for name, value in (("rows", rows), ("rounds", rounds), ("max_length", max_length)):
        if value < (3 if name == "max_length" else 1):
            raise RecipeError(f"{name} is {value}; it must be {'3' if name == 'max_length' else '1'} or more.")
    if not models:
        raise RecipeError("No model is named. Name one or several to be timed.")
    place = resolve_device(device)
    loaded = {name: _load(model) for name, model in _named(models).items()}
    first = next(iter(loaded))
    for depth in layers:
        cut = student_from(loaded[first].model, depth, "first")
        name = f"{first}[:{depth}]"
        loaded[name] = LoadedClassifier(cut, loaded[first].tokenizer, name)
    texts = None if test is None else _texts(test, text_columns, rows)
    encoded = {name: _encoded(model, texts, rows, max_length) for name, model in loaded.items()}
    for model in loaded.values():
        model.model.to(place)  # type: ignore[arg-type]
    with progress.stage("time the models side by side"):
        seconds = time_rounds({name: model.model for name, model in loaded.items()}, encoded, rounds)
    of_first = parameters_of(loaded[first].model).total
    return [
        SpeedRecord(
            name=name,
            layers=depth_of(model.model.config),
            embeddings=(parameters := parameters_of(model.model)).embeddings,
            layer_parameters=parameters.layers,
            head=parameters.head,
            parameters=parameters.total,
            rows=len(encoded[name]),
            on=test or f"random word pieces, {max_length} a row",
            device=place.type,
            seconds=seconds[name],
            smaller=of_first / parameters.total,
            faster=[a / b for a, b in zip(seconds[first], seconds[name], strict=True)],
        )
        for name, model in loaded.items()
    ]


def _named(models: Sequence[str]) -> dict[str, str]:
    """A name a model: its folder's, or the whole path where two folders are called alike."""
    short = [Path(model).name or model for model in models]
    names = [name if short.count(name) == 1 else model for name, model in zip(short, models, strict=True)]
    if len(set(names)) < len(names):
        raise RecipeError(f"A model stands there twice ({', '.join(models)}). Name each once.")
    return dict(zip(names, models, strict=True))


def _load(model: str) -> LoadedClassifier:
    """A classifier as it is; an encoder with a head that nothing has trained."""
    architectures = load_config(model).architectures or []
    if any(architecture.endswith("ForSequenceClassification") for architecture in architectures):
        return load_teacher(model)
    return load_pretrained(model, Outputs("single_label_classification", ("0", "1")))


def _texts(test: str, text_columns: str | None, rows: int) -> datasets.Dataset:
    some = list(itertools.islice(read_texts(test, text_columns), rows))
    pairs = [text for text in some if not isinstance(text, str)]
    if pairs:  # then all are
        return datasets.Dataset.from_dict({"text_a": [a for a, _ in pairs], "text_b": [b for _, b in pairs]})
    return datasets.Dataset.from_dict({"text": some})


def _encoded(model: LoadedClassifier, texts: datasets.Dataset | None, rows: int, max_length: int) -> datasets.Dataset:
    if max_length > (longest := longest_input(model.model.config)):
        raise RecipeError(f"max_length is {max_length}, but {model.name} reads at most {longest} word pieces.")
    if texts is not None:
        return encode(texts, model.tokenizer, max_length)
    drawn = np.random.default_rng(_SEED).integers(0, len(model.tokenizer), size=(rows, max_length))
    return datasets.Dataset.from_dict({"input_ids": drawn.astype(np.int32), "length": [max_length] * rows})
