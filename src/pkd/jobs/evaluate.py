"""`pkd evaluate`: score models on the same rows, with intervals, fidelity to the teacher and paired tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

import datasets
import numpy as np
import torch

from pkd import progress
from pkd.data.arrays import column_values
from pkd.data.examples import Examples, load_examples
from pkd.data.labels import label_array
from pkd.data.outputs import order_among
from pkd.data.tokenize import encode, text_columns
from pkd.data.windows import WORDS
from pkd.encoder.families import longest_input
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import LoadedClassifier
from pkd.errors import CacheError
from pkd.evaluation.scoring import Scoring
from pkd.evaluation.significance import exact_mcnemar
from pkd.evaluation.verdict import judge
from pkd.jobs import asking
from pkd.jobs.lineup import answer, line_up, look_at, measure_speeds
from pkd.recipe.keyword_types import EvaluateKeywords
from pkd.recipe.places import AnyPath, AnyPaths, path_text, path_texts
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import EvaluationSettings
from pkd.reporting.marks import marked_words
from pkd.reporting.printed import Records
from pkd.reporting.results import (
    ClassesRecord,
    ComparisonRecord,
    FlipRecord,
    MeasuredOn,
    ModelRecord,
    PairedTest,
    Record,
    Score,
)
from pkd.reporting.wording import AGAINST_TEACHER
from pkd.runs.seal import read_manifest
from pkd.runs.stage import Done, library_versions, run_stage
from pkd.tasks import TaskKind
from pkd.training.hardware import computing_on, device_text, resolve_device

KIND = "predictions"
LOGITS = "logits.npy"
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Measured:
    """A model's logits on the evaluated rows, and further fields of its record."""

    name: str
    role: Literal["teacher", "student", "control"]
    folder: str
    logits: np.ndarray  # [N, C], of tags [N, W, C]
    layers: int
    parameters: int
    bytes: int  # of the weights
    seed: int | None = None
    rows_per_second: float | None = None
    devices: Mapping[str, str] = field(default_factory=dict)  # figure -> what computed it
    measured_on: MeasuredOn | None = None  # if more is known than for all models
    about: Mapping[str, Any] = field(default_factory=dict)  # further fields of its ModelRecord


@dataclass(frozen=True)
class EvaluatedRows:
    """The rows that models are measured on."""

    split: Literal["test", "eval"]
    rows: datasets.Dataset
    label_names: tuple[str, ...]
    kind: TaskKind
    described: MeasuredOn

    @cached_property
    def labels(self) -> np.ndarray:
        """Class ids or scores [N], sets [N, C], or tags of words [N, W]."""
        return label_array(self.rows)

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """The rows of each group that is also scored separately, such as RACE's middle and high."""
        if "group" not in self.rows.column_names:
            return {}
        names = np.asarray(list(column_values(self.rows, "group")))
        return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}

    @property
    def scoring(self) -> Scoring:
        """The measures for these rows."""
        return self.kind.scoring


def evaluate(
    models: AnyPaths, *, test: AnyPath | None = None, teacher: AnyPath | None = None, **keys: Unpack[EvaluateKeywords]
) -> Records:
    """Measure saved classifiers on one file of labelled examples.

    Args:
        models: a folder or hub name, or several; folders that `pkd export` wrote are run by ONNX Runtime.
        test: labelled examples; by default those of a benchmark's `task`, or its development rows if the test rows
            have no labels.
        teacher: their teacher, for agreement, KL and negative flips.
        keys: any other key of the recipe, e.g. `text_columns` or `resamples`.

    Returns:
        A list of records, which prints one line per model: a record for each model, its classes, each pair of models
        (and each model with the teacher), and the negative flips.

    Raises:
        DataError: if the examples cannot be used or have other labels than the models.
        TeacherError: if a model cannot be loaded, or two have different classes.
    """
    models, teacher = path_texts(models, "models"), path_text(teacher, "teacher")
    with asking.evaluate(models, test=test, teacher=teacher, **keys) as recipe:
        return _evaluate(recipe, models, teacher)


def _evaluate(recipe: Recipe, models: Sequence[str], teacher: str | None) -> Records:
    split: Literal["test", "eval"] = "eval" if recipe.data.test is None and recipe.data.eval is not None else "test"
    device = resolve_device(recipe.device)
    lineup = line_up(models, {"teacher": teacher} if teacher else None)
    known = {name: look_at(model) for name, model in lineup.items()}
    first = next(iter(known))
    examples = load_examples(recipe.data, splits=(split,), teacher=known[first].outputs)
    orders = {
        name: order_among(name, one.outputs, (first, examples.outputs), recipe.data) for name, one in known.items()
    }
    rows, label_names = examples.splits[split], examples.label_names
    max_length = recipe.data.max_length
    speeds: dict[str, float] = {}
    if recipe.evaluation.measure_speed and len(lineup) > 1:  # a speed needs another to compare with
        of_shape = {one.shape: lineup[name] for name, one in known.items()}  # one of each shape is timed
        speeds = measure_speeds(of_shape, rows, max_length, device)
    described = describe_rows(examples, split, trained_here=False)
    measured = []
    for name, one in known.items():
        answered = answer(name, lineup[name], rows, max_length, device)
        measured.append(
            Measured(
                name=name,
                role="teacher" if teacher and name == "teacher" else "student",
                folder=lineup[name],
                logits=examples.outputs.kind.of_classes(answered.logits[..., orders[name]]),
                layers=one.layers,
                parameters=one.parameters.total,
                bytes=one.bytes,
                seed=None if teacher and name == "teacher" else 0,
                rows_per_second=speeds.get(one.shape),
                devices=dict.fromkeys(("scores", *(["rows_per_second"] if speeds else ())), answered.device),
                measured_on=_known_again(
                    Path(lineup[name]), described, examples.fingerprints[split]["texts"], len(rows)
                ),
                about={"runtime": one.runtime, "precision": one.precision},
            )
        )
    on = EvaluatedRows(split, rows, label_names, examples.outputs.kind, described)
    records: list[Record] = [*model_records(measured, on, recipe.evaluation), *class_records(measured, on)]
    students = [model for model in measured if model.role != "teacher"]
    pairs = [(student, model, AGAINST_TEACHER) for model in measured if model.role == "teacher" for student in students]
    pairs += [(a, b, f"{a.name} against {b.name}") for a, b in itertools.combinations(students, 2)]
    records += [compare(question, [a], [b], on, recipe.evaluation, as_models=True) for a, b, question in pairs]
    return Records([*records, *flip_records(measured, on, recipe.evaluation)])


def measuring_split(examples: Examples) -> Literal["test", "eval"] | None:
    """The split on which a run evaluates its models: test, else development."""
    return "test" if "test" in examples.splits else "eval" if "eval" in examples.splits else None


def describe_rows(
    examples: Examples, split: Literal["test", "eval"], *, trained_here: bool, chose: Sequence[str] = ()
) -> MeasuredOn:
    """Describe the evaluated rows of a split.

    Args:
        examples: of the job.
        split: the evaluated split.
        trained_here: whether the models were trained and chosen only on these examples.
        chose: what the development rows choose in this job.
    """
    shared = examples.shared.get(split, {})
    return MeasuredOn(
        source=", ".join(source.name for source in examples.sources[split]),
        held_out=(split == "test" and not shared) if trained_here else None,
        shared=shared,
        drawn=split == "eval" and examples.drawn,
        chose=list(chose) if "eval" in examples.splits else [],
    )


def _known_again(folder: Path, described: MeasuredOn, texts: str, rows: int) -> MeasuredOn:
    """Add to the description whether a model made by pkd was trained on, or chosen by, these rows.

    Only exactly these rows in this order are recognised.
    """
    try:
        manifest = read_manifest(folder)
    except CacheError:  # another version, or damaged
        return described
    seen = manifest.facts.get("texts", {}) if manifest else {}
    shared = {split: rows for split, print_ in seen.items() if print_ == texts}
    chose = ["epoch"] if "eval" in shared else []
    return described.model_copy(update={"held_out": False, "shared": shared, "chose": chose}) if shared else described


def predict_stage(
    folder: Path,
    model: LoadedClassifier,
    rows: datasets.Dataset,
    fingerprints: Mapping[str, Any],
    max_length: int,
    device: torch.device,
) -> Done:
    """The stage that stores a model's float32 logits on the evaluated rows, and the device that computed them."""
    inputs = {
        "model": model.fingerprints,
        "rows": dict(fingerprints),
        "max_length": max_length,
        "versions": library_versions(),
    }

    def build(partial: Path) -> Mapping[str, Any]:
        with (
            computing_on(device, [model.model]),
            progress.stage(f"evaluate {folder.name}", len(rows), "rows") as stage,
        ):
            encoded = encode(rows, model.tokenizer, min(max_length, longest_input(model.model.config)))
            logits = answer_rows(model.model, encoded, on_batch=stage.advance).logits
        np.save(partial / LOGITS, logits, allow_pickle=False)
        return {"rows": len(rows), "device": device_text(device)}

    return run_stage(folder, KIND, inputs, build, overwrite=True, resumes=False)


def read_logits(folder: Path) -> np.ndarray:
    """The logits [N, C] that `predict_stage` stored."""
    logits: np.ndarray = np.load(folder / LOGITS, allow_pickle=False)
    return logits


def model_records(measured: Sequence[Measured], on: EvaluatedRows, settings: EvaluationSettings) -> list[ModelRecord]:
    """One record per model: its scores with bootstrap intervals."""
    teacher = next((model.logits for model in measured if model.role == "teacher"), None)
    return [_model_record(model, teacher, on, settings) for model in measured]


def class_records(measured: Sequence[Measured], on: EvaluatedRows) -> list[ClassesRecord]:
    """The figures per class of each model; none for scores and multiple choice."""
    teacher = next((model.logits for model in measured if model.role == "teacher"), None)
    records = []
    for model in measured:
        beside = teacher if model.role != "teacher" else None
        if (figures := on.scoring.by_class) is not None:
            found = figures(model.logits, on.labels, on.label_names, beside)
            records.append(ClassesRecord(model=model.name, seed=model.seed, **vars(found)))
    return records


def compare(
    question: str,
    a: Sequence[Measured],
    b: Sequence[Measured],
    on: EvaluatedRows,
    settings: EvaluationSettings,
    *,
    as_models: bool,
) -> ComparisonRecord:
    """Compare `a` with `b` on the same rows: a verdict over the seeds of both, and a test of each pair of models.

    Args:
        question: what the difference is about.
        a: one model per seed, or one fixed model.
        b: the same.
        on: the rows.
        settings: of the evaluation.
        as_models: whether a single model is a fixed model rather than one seed of a method; a teacher always is.
    """
    gains_a, gains_b = (
        np.stack([on.scoring.gain_by_row(model.logits, on.labels) for model in side]) for side in (a, b)
    )
    judged = [
        gains[0] if len(side) == 1 and (as_models or side[0].role == "teacher") else gains
        for gains, side in ((gains_a, a), (gains_b, b))
    ]
    judgement = judge(*judged, confidence=settings.confidence)
    tests = []
    for one, of_a in zip(a, gains_a, strict=True):
        for other, of_b in zip(b, gains_b, strict=True):
            if one.seed == other.seed or None in (one.seed, other.seed):
                only_a, only_b, p = exact_mcnemar(of_a > of_b, of_b > of_a)  # for scores this is the sign test
                seed = one.seed if one.seed is not None else other.seed
                tests.append(PairedTest(seed=seed or 0, only_a=only_a, only_b=only_b, p=p))
    return ComparisonRecord(
        question=question,
        a=a[0].name,
        b=b[0].name,
        metric=on.scoring.gain,
        difference=Score(value=judgement.difference, low=judgement.low, high=judgement.high),
        seeds_a=judgement.seeds_a,
        seeds_b=judgement.seeds_b,
        verdict=judgement.verdict,
        examples=judgement.examples,
        rows=len(on.rows),
        tests=tests,
    )


def flip_records(measured: Sequence[Measured], on: EvaluatedRows, settings: EvaluationSettings) -> list[FlipRecord]:
    """Rows that the teacher predicts better than a student's first seed, the worst first.

    For classes, rows where only the teacher is right.
    """
    teacher = next((model for model in measured if model.role == "teacher"), None)
    flips: list[FlipRecord] = []
    seen: set[str] = set()
    for model in measured:
        if teacher is None or model.role != "student" or model.name in seen:
            continue
        seen.add(model.name)
        rows = on.scoring.negative_flips(model.logits, teacher.logits, on.labels)[: settings.examples]
        wanted, by_teacher, by_student = _in_words(on, rows, teacher.logits[rows], model.logits[rows])
        sure = on.scoring.confidence(model.logits[rows])
        for place, row in enumerate(rows):
            flips.append(
                FlipRecord(
                    model=model.name,
                    seed=model.seed or 0,
                    row=int(row),
                    text=" ⏎ ".join(str(on.rows[int(row)][column]) for column in text_columns(on.rows)),
                    label=wanted[place],
                    teacher=by_teacher[place],
                    student=by_student[place],
                    confidence=None if on.kind.has_scores else float(sure[place]),
                    marked=on.kind.has_tokens,
                )
            )
    return flips


def _in_words(
    on: EvaluatedRows, rows: np.ndarray, teacher_logits: np.ndarray, logits: np.ndarray
) -> tuple[list[str], list[str], list[str]]:
    """The labels of some rows, the teacher's answers and the student's, in words; of tags the texts with marks."""
    scoring, labels, names = on.scoring, on.labels[rows], on.label_names
    if scoring.label_spans is None or scoring.answer_spans is None:
        by_teacher, by_student = (scoring.answers(each, names) for each in (teacher_logits, logits))
        return scoring.label_words(labels, names), by_teacher, by_student
    found = (
        scoring.label_spans(labels, names),
        scoring.answer_spans(teacher_logits, names),
        scoring.answer_spans(logits, names),
    )
    texts = [on.rows[int(row)] for row in rows]
    wanted, by_teacher, by_student = (
        [marked_words(row["text"], row[WORDS], of_row) for row, of_row in zip(texts, spans, strict=True)]
        for spans in found
    )
    return wanted, by_teacher, by_student


def _model_record(
    model: Measured, teacher_logits: np.ndarray | None, on: EvaluatedRows, settings: EvaluationSettings
) -> ModelRecord:
    values = on.scoring.score(model.logits, on.labels)
    beside = teacher_logits if model.role != "teacher" else None
    if beside is not None:
        values |= on.scoring.compare_with_teacher(model.logits, beside)
    intervals = on.scoring.bootstrap_intervals(
        model.logits,
        on.labels,
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=_BOOTSTRAP_SEED,
        teacher_logits=beside,
    )
    for group, rows in on.groups.items():
        part = (model.logits[rows], on.labels[rows])
        metric = on.scoring.metric
        values[f"{metric}/{group}"] = on.scoring.score(*part)[metric]
        intervals[f"{metric}/{group}"] = on.scoring.bootstrap_intervals(
            *part, resamples=settings.resamples, confidence=settings.confidence, seed=_BOOTSTRAP_SEED
        )[metric]
    return ModelRecord(
        role=model.role,
        name=model.name,
        folder=model.folder,
        seed=model.seed,
        layers=model.layers,
        split=on.split,
        rows=len(on.rows),
        measured_on=model.measured_on or on.described,
        blind_spots=on.scoring.blind_spots(model.logits, on.labels, on.label_names),
        scores={
            name: Score(value=value, low=intervals[name][0], high=intervals[name][1]) for name, value in values.items()
        },
        parameters=model.parameters,
        bytes=model.bytes,
        rows_per_second=model.rows_per_second,
        devices=dict(model.devices),
        **model.about,
    )
