"""How much work a job is: its models' shapes and sizes, and the lengths of its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import datasets
import numpy as np
import torch

from pkd.data.augmentation import AUGMENTED
from pkd.data.encodings import Reader
from pkd.data.outputs import Outputs
from pkd.data.tokenize import TOKEN_COLUMNS, count_choices, occurring_pieces, text_columns
from pkd.distillation.plan import RowCounts, StudentPlan, planned_rows
from pkd.encoder.families import depth_of
from pkd.encoder.load import LoadedClassifier, count_parameters, load_config, load_tokenizer, untrained
from pkd.jobs.pilot import Shape
from pkd.jobs.plan import RunPlan
from pkd.recipe.schema import Recipe
from pkd.training.hardware import autocast_dtype, resolve_device

MEASURING = ("eval", "test")  # splits without training rows
_SAMPLE = 2048  # rows that are tokenised to estimate the others


@dataclass(frozen=True)
class Split:
    """The rows of a split, with means over a sample of them."""

    rows: int
    tokens: float  # per row
    text_bytes: float  # per row
    answers: float = 1.0  # per row: one, one a choice, or one a part of a word

    @property
    def all_tokens(self) -> float:
        """Word pieces of all rows."""
        return self.rows * self.tokens


@dataclass(frozen=True)
class Job:
    """What the costs of a job's stages are computed from.

    Attributes:
        recipe: of the job.
        shape: of the teacher.
        outputs: of the teacher.
        splits: the rows, as the teacher whose layers students start from reads them.
        sample: some encoded training rows.
        occurs: [V] bool, an estimate from the sample of the word pieces in all training rows.
        choices: sequences per row.
        readings: the rows by the key of another reader of a run.
        readers: the keys of the readers of students, by the encoder that they are.
    """

    recipe: Recipe
    shape: Shape
    outputs: Outputs
    splits: Mapping[str, Split]
    sample: datasets.Dataset
    occurs: np.ndarray
    choices: int
    readings: Mapping[str, Mapping[str, Split]] = field(default_factory=dict)
    readers: Mapping[str | None, str] = field(default_factory=dict)
    _shapes: dict[tuple[str, int], Shape] = field(default_factory=dict, repr=False)
    _weights: dict[Shape, float] = field(default_factory=dict, repr=False)

    @property
    def transfer(self) -> list[str]:
        """The splits without labels, which teach by the teacher's outputs alone."""
        return [split for split in self.splits if split != "train" and split not in MEASURING]

    @property
    def rows(self) -> RowCounts:
        """The numbers of training rows; a few augmented ones may turn out to be duplicates."""
        return planned_rows(self.recipe, {split: rows.rows for split, rows in self.splits.items()})

    @property
    def device(self) -> torch.device:
        """The job's device."""
        return resolve_device(self.recipe.device)

    def as_read(self, key: str) -> Job:
        """The job with its rows as the reader of a key reads them."""
        return self if key not in self.readings else replace(self, splits=self.readings[key])

    def read_by(self, plan: StudentPlan) -> Job:
        """The job with its rows as a student reads them."""
        return self.as_read(self.readers[plan.encoder]) if plan.encoder in self.readers else self

    def shape_of(self, plan: StudentPlan) -> Shape:
        """The shape of a student."""
        if plan.encoder is None:
            return Shape(self.shape.encoder, plan.layers, self.shape.config, plan.width)
        key = (plan.encoder, plan.layers)
        if key not in self._shapes:
            self._shapes[key] = Shape(plan.encoder, plan.layers, load_config(plan.encoder, "student"))
        return self._shapes[key]

    def weights_of(self, shape: Shape) -> float:
        """The bytes of a model's weights in float32."""
        if shape not in self._weights:
            self._weights[shape] = 4.0 * count_parameters(untrained(shape.cut, self.outputs, weightless=True))
        return self._weights[shape]

    def is_exact(self, precision: str) -> bool:
        """Whether a precision computes in float32 on this device."""
        return autocast_dtype(precision, self.device) is None


def encoder_job(name: str, recipe: Recipe, splits: Mapping[str, datasets.Dataset], outputs: Outputs) -> Job:
    """The work of a job that first fine-tunes an encoder; loads its configuration alone."""
    config = load_config(name)
    return job_of(recipe, splits, Shape(name, depth_of(config), config), load_tokenizer(name, config), outputs)


def classifier_job(
    teacher: LoadedClassifier, recipe: Recipe, splits: Mapping[str, datasets.Dataset], outputs: Outputs
) -> Job:
    """The work of a job whose teacher exists."""
    shape = Shape(teacher.name, depth_of(teacher.model.config), teacher.model.config)
    return job_of(recipe, splits, shape, teacher.tokenizer, outputs)


def job_of_run(plan: RunPlan) -> Job:
    """The work of a run."""
    splits, outputs = plan.examples.splits, plan.examples.outputs
    if plan.loaded is not None:
        job = classifier_job(plan.teacher, plan.recipe, splits, outputs)
    else:
        job = encoder_job(plan.recipe.teacher.encoder, plan.recipe, splits, outputs)
    others = [reader for reader, _ in plan.readings(splits) if reader.key != plan.readers[None].key]
    return replace(
        job,
        readings={each.key: _sizes(splits, _samples(splits, each), plan.recipe) for each in others},
        readers={encoder: reader.key for encoder, reader in plan.readers.items()},
    )


def job_of(
    recipe: Recipe, splits: Mapping[str, datasets.Dataset], shape: Shape, tokenizer: Any, outputs: Outputs
) -> Job:
    """Tokenise some rows of every split.

    Args:
        recipe: of the job.
        splits: the rows, with `train`.
        shape: of the teacher.
        tokenizer: of the teacher.
        outputs: of the teacher, as the examples settled them.
    """
    encoded = _samples(splits, Reader(tokenizer, recipe.data.max_length, shape.encoder))
    sample = encoded["train"]
    kept = [name for name in TOKEN_COLUMNS if name in sample.column_names]
    learnt = sum(len(splits[split]) for split in ("train", "unlabelled") if split in splits)
    return Job(
        recipe=recipe,
        shape=shape,
        outputs=outputs,
        splits=_sizes(splits, encoded, recipe),
        sample=sample.select_columns(kept),
        occurs=_occurring(sample, learnt, int(shape.config.vocab_size)),
        choices=max(1, count_choices(sample.column_names)),
    )


def _samples(splits: Mapping[str, datasets.Dataset], reader: Reader) -> dict[str, datasets.Dataset]:
    """Some encoded rows of every split."""
    return {split: reader.encode(_some(rows)) for split, rows in splits.items()}


def _sizes(
    splits: Mapping[str, datasets.Dataset], samples: Mapping[str, datasets.Dataset], recipe: Recipe
) -> dict[str, Split]:
    """The size of every split, by its sample; of those that are yet to be made from the training rows too."""
    sizes = {split: _size(len(rows), samples[split]) for split, rows in splits.items()}
    variants = range(1, recipe.transfer.variants + 1)  # about as long as the rows they are made from
    return sizes | {AUGMENTED.format(variant): sizes["train"] for variant in variants}


def _some(rows: datasets.Dataset) -> datasets.Dataset:
    if len(rows) <= _SAMPLE:
        return rows
    return rows.select(np.linspace(0, len(rows) - 1, _SAMPLE).astype(int))


def _size(rows: int, some: datasets.Dataset) -> Split:
    if not len(some):
        return Split(rows, 0.0, 0.0)
    table = some.with_format("arrow")[:]
    texts = sum(table[name].nbytes for name in text_columns(some))
    answers = float(max(1, count_choices(some.column_names)))
    if "taught" in some.column_names:
        answers = len(table["taught"].combine_chunks().flatten()) / len(some)
    return Split(rows, len(table["input_ids"].combine_chunks().flatten()) / len(some), texts / len(some), answers)


def _occurring(sample: datasets.Dataset, rows: int, vocabulary: int) -> np.ndarray:
    """[V] bool, an estimate of the word pieces in all rows, whose number grows as a power of the number of rows."""
    occurs = occurring_pieces(sample, vocabulary)
    if not occurs.any():
        return occurs
    half = len(np.unique(np.concatenate(sample[: max(1, len(sample) // 2)]["input_ids"])))
    growth = min(1.0, max(0.0, math.log2(max(1, occurs.sum()) / half)))
    expected = min(vocabulary, int(occurs.sum() * (max(1.0, rows / max(1, len(sample))) ** growth)))
    occurs[np.flatnonzero(~occurs)[: max(0, expected - int(occurs.sum()))]] = True
    return occurs
