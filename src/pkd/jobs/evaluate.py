"""`pkd evaluate`: models on the same rows, with intervals, fidelity to the teacher and paired tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np

from pkd import progress
from pkd.data.encoding import encode, text_columns
from pkd.data.examples import load_examples
from pkd.encoder.contract import LoadedClassifier, count_parameters, load_teacher
from pkd.encoder.families import depth_of, longest_input
from pkd.encoder.inference import answer_rows
from pkd.errors import DataError, TeacherError
from pkd.evaluation.fidelity import compare_with_teacher, negative_flips
from pkd.evaluation.metrics import predictions, probabilities, score
from pkd.evaluation.significance import bootstrap_intervals, exact_mcnemar
from pkd.evaluation.verdict import judge
from pkd.jobs.stages import Done, library_versions, run_stage
from pkd.recipe.keywords import place_keywords
from pkd.recipe.reading import recipe_from
from pkd.recipe.settings import EvaluationSettings
from pkd.reporting.results import ComparisonRecord, FlipRecord, ModelRecord, PairedTest, Record, Score
from pkd.reporting.wording import AGAINST_TEACHER
from pkd.serving.speed import measure_speed

KIND = "predictions"
SPEED_STAGE = "time the models side by side"
_LOGITS = "logits.npy"
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Measured:
    """A model's answers to the evaluated rows, and what its record says of it besides."""

    name: str
    role: Literal["teacher", "student", "control"]
    folder: str
    logits: np.ndarray  # [N, C]
    layers: int
    parameters: int
    seed: int | None = None
    rows_per_second: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)  # further fields of its ModelRecord


@dataclass(frozen=True)
class EvaluatedRows:
    """The rows that models are measured on."""

    split: Literal["test", "eval"]
    rows: datasets.Dataset
    label_names: tuple[str, ...]

    @cached_property
    def labels(self) -> np.ndarray:
        """[N] class ids."""
        return np.asarray(self.rows.with_format("numpy")["label"])


def evaluate(models: Sequence[str], *, test: str, teacher: str | None = None, **keys: Any) -> list[Record]:
    """Measure saved classifiers on one file of labelled examples.

    Args:
        models: folders or hub names.
        test: labelled examples.
        teacher: their teacher, for agreement, KL and negative flips.
        keys: any other key of the recipe, e.g. `text_columns` or `resamples`.

    Returns:
        A record a model, one a pair of models (and of each with the teacher), and the negative flips.

    Raises:
        DataError: if the examples cannot be used or have other labels than the models.
        TeacherError: if a model cannot be loaded, or two have different classes.
    """
    recipe = recipe_from(place_keywords({"test": test, **keys}), where="evaluate", required=("data.test",))
    named = ([("teacher", teacher)] if teacher else []) + [(Path(model).name or model, model) for model in models]
    loaded = {name: load_teacher(model) for name, model in named}
    if len(loaded) != len(named):
        raise TeacherError(f"Two models are called alike ({', '.join(name for name, _ in named)}); rename a folder.")
    classes = {name: set(model.label_names) for name, model in loaded.items()}
    first = next(iter(loaded))
    for name, names in classes.items():
        if names != classes[first]:
            raise TeacherError(
                f"{name} has the classes {sorted(names)}, but {first} has {sorted(classes[first])}; "
                "they cannot be compared."
            )
    label_names = loaded[first].label_names
    rows = load_examples(recipe.data, splits=("test",), label_names=label_names).splits["test"]
    max_length = recipe.data.max_length
    speeds = measure_speeds(loaded, rows, max_length) if recipe.evaluation.measure_speed else {}
    measured = []
    for name, model in loaded.items():
        with progress.stage(f"evaluate {name}", len(rows), "rows") as stage:
            longest = min(max_length, longest_input(model.model.config))
            encoded = encode(rows, model.tokenizer, longest)
            logits = answer_rows(model.model, encoded, on_batch=stage.advance).logits
        order = [model.label_names.index(label) for label in label_names]  # by name: orders may differ
        measured.append(
            Measured(
                name=name,
                role="teacher" if teacher and name == "teacher" else "student",
                folder=dict(named)[name],
                logits=logits[:, order],
                layers=depth_of(model.model.config),
                parameters=count_parameters(model.model),
                seed=None if teacher and name == "teacher" else 0,
                rows_per_second=speeds.get(name),
            )
        )
    on = EvaluatedRows("test", rows, label_names)
    records: list[Record] = [*model_records(measured, on, recipe.evaluation)]
    students = [model for model in measured if model.role != "teacher"]
    pairs = [(student, model, AGAINST_TEACHER) for model in measured if model.role == "teacher" for student in students]
    pairs += [(a, b, f"{a.name} against {b.name}") for a, b in itertools.combinations(students, 2)]
    records += [compare(question, [a], [b], on, recipe.evaluation) for a, b, question in pairs]
    return [*records, *flip_records(measured, on, recipe.evaluation)]


def predict_stage(
    folder: Path, model: LoadedClassifier, rows: datasets.Dataset, fingerprints: Mapping[str, Any], max_length: int
) -> Done:
    """The stage that keeps a model's logits on the evaluated rows, in float32."""
    inputs = {
        "model": model.fingerprints,
        "rows": dict(fingerprints),
        "max_length": max_length,
        "versions": library_versions(),
    }

    def build(partial: Path) -> Mapping[str, Any]:
        with progress.stage(f"evaluate {folder.name}", len(rows), "rows") as stage:
            encoded = encode(rows, model.tokenizer, max_length)
            logits = answer_rows(model.model, encoded, on_batch=stage.advance).logits
        np.save(partial / _LOGITS, logits, allow_pickle=False)
        return {"rows": len(rows)}

    return run_stage(folder, KIND, inputs, build, overwrite=True)


def read_logits(folder: Path) -> np.ndarray:
    """The logits [N, C] that `predict_stage` kept."""
    logits: np.ndarray = np.load(folder / _LOGITS, allow_pickle=False)
    return logits


def measure_speeds(models: Mapping[str, LoadedClassifier], rows: datasets.Dataset, max_length: int) -> dict[str, float]:
    """Rows per second of each model on the same rows, taking turns."""
    with progress.stage(SPEED_STAGE):
        tokenizer = next(iter(models.values())).tokenizer
        encoded = encode(rows.select(range(min(256, len(rows)))), tokenizer, max_length)
        return measure_speed({name: model.model for name, model in models.items()}, encoded)


def model_records(measured: Sequence[Measured], on: EvaluatedRows, settings: EvaluationSettings) -> list[ModelRecord]:
    """The record of each model: its scores with their bootstrap intervals."""
    teacher = next((model.logits for model in measured if model.role == "teacher"), None)
    return [_model_record(model, teacher, on, settings) for model in measured]


def compare(
    question: str, a: Sequence[Measured], b: Sequence[Measured], on: EvaluatedRows, settings: EvaluationSettings
) -> ComparisonRecord:
    """`a` against `b` on the same rows, seed by seed; a teacher, which has no seed, stands against each of them."""
    pairs = [(one, other) for one in a for other in b if one.seed == other.seed or None in (one.seed, other.seed)]
    if not pairs:
        raise DataError(f"{a[0].name} and {b[0].name} have no seed in common, so they cannot be compared.")
    labels = on.labels
    correct_a, correct_b = (
        np.stack([predictions(model.logits) == labels for model in side]) for side in zip(*pairs, strict=True)
    )
    judgement = judge(
        correct_a, correct_b, resamples=settings.resamples, confidence=settings.confidence, seed=_BOOTSTRAP_SEED
    )
    tests = []
    for (one, other), rights_a, rights_b in zip(pairs, correct_a, correct_b, strict=True):
        only_a, only_b, p = exact_mcnemar(rights_a, rights_b)
        seed = one.seed if one.seed is not None else other.seed
        tests.append(PairedTest(seed=seed or 0, only_a=only_a, only_b=only_b, p=p))
    return ComparisonRecord(
        question=question,
        a=a[0].name,
        b=b[0].name,
        difference=Score(value=judgement.difference, low=judgement.low, high=judgement.high),
        verdict=judgement.verdict,
        examples=judgement.examples,
        rows=len(labels),
        tests=tests,
    )


def flip_records(measured: Sequence[Measured], on: EvaluatedRows, settings: EvaluationSettings) -> list[FlipRecord]:
    """Rows on which the teacher is right and a student is not, the surest student first; the first seed's."""
    teacher = next((model for model in measured if model.role == "teacher"), None)
    flips: list[FlipRecord] = []
    seen: set[str] = set()
    for model in measured:
        if teacher is None or model.role != "student" or model.name in seen:
            continue
        seen.add(model.name)
        answers, sure = predictions(model.logits), probabilities(model.logits).max(axis=1)
        for row in negative_flips(model.logits, teacher.logits, on.labels)[: settings.examples]:
            label = on.label_names[int(on.labels[row])]
            flips.append(
                FlipRecord(
                    model=model.name,
                    seed=model.seed or 0,
                    row=int(row),
                    text=" ⏎ ".join(str(on.rows[int(row)][column]) for column in text_columns(on.rows)),
                    label=label,
                    teacher=label,
                    student=on.label_names[int(answers[row])],
                    confidence=float(sure[row]),
                )
            )
    return flips


def _model_record(
    model: Measured, teacher_logits: np.ndarray | None, on: EvaluatedRows, settings: EvaluationSettings
) -> ModelRecord:
    values = score(model.logits, on.labels)
    beside = teacher_logits if model.role != "teacher" else None
    if beside is not None:
        values |= compare_with_teacher(model.logits, beside)
    intervals = bootstrap_intervals(
        model.logits,
        on.labels,
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=_BOOTSTRAP_SEED,
        teacher_logits=beside,
    )
    return ModelRecord(
        role=model.role,
        name=model.name,
        folder=model.folder,
        seed=model.seed,
        layers=model.layers,
        split=on.split,
        rows=len(on.rows),
        scores={
            name: Score(value=value, low=intervals[name][0], high=intervals[name][1]) for name, value in values.items()
        },
        parameters=model.parameters,
        bytes=model.parameters * 4,
        rows_per_second=model.rows_per_second,
        **model.about,
    )
