"""`pkd check`: what a recipe will do, and whether it can, before the first step."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from pkd import progress
from pkd.data.arrays import column_array
from pkd.data.encodings import Reader
from pkd.data.examples import Examples, with_unlabelled
from pkd.data.labels import label_array
from pkd.data.outputs import Outputs
from pkd.data.tokenize import encode
from pkd.distillation.annotation import annotate_rows
from pkd.distillation.ensemble import StoredAnswers, average_answers
from pkd.distillation.ledger import BetaElsewhere, TermEntry, beta_elsewhere
from pkd.distillation.plan import StudentPlan
from pkd.distillation.terms import describe_objective
from pkd.encoder.families import depth_of
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import LoadedClassifier
from pkd.errors import TeacherError
from pkd.evaluation.skill import measure_skill
from pkd.jobs import asking
from pkd.jobs.ahead import Left, stages_of_run
from pkd.jobs.annotate import Annotator
from pkd.jobs.evaluate import describe_rows, measuring_split
from pkd.jobs.finetune import KIND as TEACHER
from pkd.jobs.finetune import finetuning_left, schedule_words, why_finetune_again
from pkd.jobs.finished import left_of
from pkd.jobs.forecast import JobForecast, forecast, prices_for, sweep_sentences
from pkd.jobs.importance import measured_importance
from pkd.jobs.plan import RunPlan, check_encoders, plan_run, require_rows_to_choose_by
from pkd.jobs.race import race_sentences
from pkd.jobs.sizes import first_rows, measure_student, rows_of_a_step, term_shares
from pkd.jobs.train import build_student
from pkd.jobs.word_counts import measure_word_counts, teacher_level
from pkd.jobs.workload import job_of_run
from pkd.recipe.places import AnyPath
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import set_to
from pkd.reporting.amounts import amount, is_share, metric_title, with_error
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.evaluated_rows import rows_in_words
from pkd.reporting.teacher_level import level_sentence, under_trained
from pkd.reporting.term_sizes import weak_sentences
from pkd.runs.seal import read_manifest
from pkd.runs.stage import refuse_what_is_in_the_way
from pkd.tasks import TaskKind
from pkd.training.hardware import computing_on, device_text, resolve_device

_TEACHER_ROWS = 512
_IN_ANOTHER_ORDER = "Its labels may be in another order than"


@dataclass(frozen=True)
class StudentCheck:
    """What one student will learn from, with its loss terms measured before training."""

    name: str
    pairs: tuple[tuple[int, int], ...]
    start_layers: tuple[int, ...]
    width: float
    encoder: str | None
    objective: list[str]  # the loss in words
    terms: list[TermEntry]
    beta: BetaElsewhere | None
    share: float | None = None  # the share of the gradient requested for patience
    rows: int = 0  # the terms were measured on

    def sentences(self) -> list[str]:
        """The check in words."""
        start = (
            f"the first {len(self.start_layers)} layers of {self.encoder}, which reads with its own tokenizer"
            if self.encoder
            else f"teacher layers {_listed(self.start_layers)}"
        )
        if self.width < 1:
            start += f" with {100 * self.width:g} % of their feed-forward neurons, the most important ones"
        said = [f"{self.name} starts as {start}.", *(f"  {line}" for line in self.objective)]
        if self.pairs:
            said.append("  patience: " + ", ".join(f"student layer {s} ← teacher layer {t}" for s, t in self.pairs))
        if self.terms:
            said.append(f"  on the first {self.rows:,} rows of training, without dropout, before the first step:")
        for term in self.terms:
            value, share = (
                with_error(term.value, term.value_error),
                with_error(100 * term.share, 100 * (term.share_error or 0.0), most_decimals=1),
            )
            said.append(f"  {term.name}: {value}, weight {term.weight:.4g}, {share} % of the gradient's norm")
        said += [f"  {sentence}" for sentence in weak_sentences(term_shares(self.terms, self.share))]
        if self.beta:
            said.append(
                f"  this β is {self.beta.paper_sum:.4g} in the paper's sum over layers and units, and "
                f"{self.beta.reference_mean:g} in the reference implementation's mean"
            )
        return said


@dataclass(frozen=True, repr=False)
class CheckResult:
    """The result of a check; faults are raised instead."""

    sentences: list[str]
    students: list[StudentCheck] = field(default_factory=list)
    teacher_score: float | None = None  # by the recipe's metric; for scores the squared error
    constant_score: float | None = None  # of the best constant prediction
    device: str | None = None  # that computed the figures
    forecast: JobForecast | None = None  # of the rest of the run or sweep

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """The check as plain data."""
        return dataclasses.asdict(self) | {"forecast": self.forecast.to_dict() if self.forecast else None}


def check(recipe: Recipe | AnyPath, *, set: str | Sequence[str] = (), device: str | None = None) -> CheckResult:
    """Check a recipe against its data and its teacher, and measure each loss term on a few batches.

    Args:
        recipe: a recipe or its file.
        set: overrides, as "students.0.beta=500".
        device: where to compute, whatever the file says.

    Raises:
        RecipeError: if the recipe is invalid, or its students do not fit the teacher.
        DataError: if the examples cannot be used, or their labels are not the teacher's.
        TeacherError: if the teacher has no trained head, or is surely worse than always predicting the commonest class.
    """
    with asking.check(recipe, set=set, device=device) as asked:
        return _check(asked)


def _check(recipe: Recipe) -> CheckResult:
    plan = plan_run(recipe)
    check_encoders(plan)
    if recipe.teacher.finetune is not None:
        if (missing := _why_no_teacher(plan)) is not None:
            return _check_without_teacher(plan, missing)
        plan = plan.with_fine_tuned()
    recipe = plan.recipe
    told = _data_sentences(plan)
    require_rows_to_choose_by(plan)
    device = resolve_device(recipe.device)
    of_teachers, scores = _check_teachers(plan, device)
    told += of_teachers
    score, constant = scores or (None, None)
    told += race_sentences(plan)
    students = _check_before_annotating(plan, device)
    for student in students:
        told += student.sentences()
    costs = _costs(plan, left_of(plan))
    return CheckResult([*told, *_cost_sentences(recipe, costs)], students, score, constant, device_text(device), costs)


def _check_teachers(plan: RunPlan, device: torch.device) -> tuple[list[str], tuple[float, float] | None]:
    """What each teacher is and how good; also the first one's score and that of the best constant prediction."""
    recipe, examples, teachers, kind = plan.recipe, plan.examples, plan.teachers, plan.examples.outputs.kind
    metric = "mse" if kind.scoring.by_error else recipe.evaluation.metric
    rows = _sample(examples.splits["eval"], _TEACHER_ROWS) if "eval" in examples.splits else None
    told: list[str] = []
    scores: list[tuple[float, float]] = []
    answers: list[np.ndarray] = []
    for number, teacher, order in zip(plan.teacher_numbers, teachers.each, teachers.orders, strict=True):
        which = f"Teacher {number}, {teacher.name}," if teachers.are_several else f"The teacher {teacher.name}"
        told.append(
            f"{which} has {depth_of(teacher.model.config)} layers and a trained head for "
            f"{', '.join(examples.label_names)}; labels are matched by name."
        )
        if rows is None:
            continue
        with computing_on(device, [teacher.model]):
            logits = answer_rows(teacher.model, encode(rows, teacher.tokenizer, recipe.data.max_length)).logits
        logits = logits if order is None else logits[..., list(order)]
        answers.append(logits)
        scores.append(check_teacher_score(logits, label_array(rows), teacher.name, kind, metric))
        told.append(
            f"On {len(rows):,} development rows its {metric_title(metric)} is {_with_unit(metric, scores[-1][0])}; "
            f"always giving the same best answer has {_with_unit(metric, scores[-1][1])}."
        )
        told += _level_sentences(examples, rows, logits, recipe.evaluation.metric)
        if blind := blindness_of(logits, label_array(rows), examples.outputs):
            told.append(f"It {blind}.")
    if teachers.are_several:
        mean = "Students learn from their mean"
        if rows is not None:
            found = measure_skill(kind.mean_logits(answers), label_array(rows), kind.scoring, metric)
            mean += f", whose {metric_title(metric)} on these rows is {_with_unit(metric, found.score)}"
        told.append(f"{mean} ({kind.mean_formula}); layers and states are those of teacher {teachers.lead + 1}.")
    return told, scores[0] if scores else None


def _level_sentences(examples: Examples, rows: datasets.Dataset, logits: np.ndarray, metric: str) -> list[str]:
    """The teacher beside the word-count baseline on these development rows, and what that means."""
    baseline = measure_word_counts(examples, metric, rows)
    if baseline["score"] is None:
        return []
    score = float(examples.outputs.kind.scoring.score(logits, label_array(rows))[metric])
    level = teacher_level(metric, score, len(rows), baseline)
    return [level_sentence(level), *([doubt] if (doubt := under_trained(level)) else [])]


def _why_no_teacher(plan: RunPlan) -> str | None:
    """What a run must do before it has its teachers; None if it keeps those it has."""
    settings, encoder = plan.recipe.teacher.finetune, plan.recipe.teacher.encoder
    assert settings is not None  # else the teachers are loaded
    made = f"of {plan.teacher_layers} layers, is yet to be fine-tuned from {encoder} ({schedule_words(settings)})"
    for number in plan.teacher_numbers:
        finished, recipe = plan.folder.teacher_of(number), plan.of_teacher(number)
        which = "teacher" if number == 1 else f"teacher {number}"
        refuse_what_is_in_the_way(finished, TEACHER, overwrite=False)
        if read_manifest(finished) is None:
            return f"The {which}, {made}; the loss terms can be measured when {finished} is there."
        if (why := why_finetune_again(finished, encoder, recipe, settings, plan.examples)) is not None:
            is_what = why if why.startswith("damaged") else f"stale: {why}"
            return (
                f"{finished} is {is_what}. A run sets it aside, so the {which}, {made}; the loss terms can be measured "
                "when that is done."
            )
    return None


def _check_without_teacher(plan: RunPlan, missing: str) -> CheckResult:
    """What can be known of a run without its teacher."""
    recipe, examples, settings = plan.recipe, plan.examples, plan.recipe.teacher.finetune
    assert settings is not None  # else the teacher is loaded
    has_transfer = plan.counts.transfer > 0
    students = [
        _unmeasured(each, examples.outputs.kind, unlabelled=each.unlabelled and has_transfer)
        for each in plan.candidates
    ]
    told = [
        *_data_sentences(plan),
        missing,
        *race_sentences(plan),
        *(line for student in students for line in student.sentences()),
    ]
    left = {
        number: finetuning_left(
            plan.folder.teacher_of(number), recipe.teacher.encoder, plan.of_teacher(number), settings, examples
        )
        for number in plan.teacher_numbers
    }
    costs = _costs(plan, Left(finetuning=left.__getitem__))
    return CheckResult([*told, *_cost_sentences(recipe, costs)], students, forecast=costs)


def _costs(plan: RunPlan, left: Left) -> JobForecast:
    """What is left of the run or sweep will take."""
    job = job_of_run(plan)
    stages = stages_of_run(plan, job, left)
    return forecast(job, stages, plan.folder.path, prices_for(job, stages))


def _cost_sentences(recipe: Recipe, costs: JobForecast) -> list[str]:
    """How many trainings a recipe is, how long they take, and whether there is room for them."""
    warning = costs.warning()
    return [*sweep_sentences(recipe), costs.sentence(), *([warning] if warning else [])]


def _unmeasured(plan: StudentPlan, kind: TaskKind, *, unlabelled: bool) -> StudentCheck:
    """What a student will learn, as far as it is known without its teacher's logits."""
    return StudentCheck(
        name=plan.name,
        pairs=plan.layer_map.pairs if plan.layer_map else (),
        start_layers=plan.start_layers,
        width=plan.width,
        encoder=plan.encoder,
        objective=describe_objective(plan.weighed_loss, kind, unlabelled=unlabelled),
        share=plan.loss.patience_share,
        terms=[],
        beta=None,
    )


def check_teacher_score(
    logits: np.ndarray, labels: np.ndarray, name: str, kind: TaskKind, metric: str
) -> tuple[float, float]:
    """The scores of the teacher and of the best constant prediction, by a metric (for scores, the squared error).

    Raises:
        TeacherError: if the teacher is worse than that by more than chance, and its predictions do not correlate with
            the labels either.
    """
    found = measure_skill(logits, labels, kind.scoring, metric)
    told = (
        f"{_with_unit(found.metric, found.score)} against {_with_unit(found.metric, found.constant)} in "
        f"{metric_title(found.metric)}"
    )
    one_answer = f"always giving the same best answer{kind.scoring.constant_in_words(metric)}"
    if len(np.unique(labels, axis=0)) < 2:
        progress.warn(
            f"All {len(labels):,} development rows have one label, so whether {name} was trained on this task cannot "
            f"be told from them ({told})."
        )
    elif found.is_worse and not found.has_skill:
        fault = "Its scores may be on another scale than" if kind.has_scores else _IN_ANOTHER_ORDER
        raise TeacherError(
            f"{name} is worse on {len(labels):,} development rows than {one_answer} ({told}). {fault} the data's, or "
            "it was not trained on this task, or too little."
        )
    elif found.is_worse:
        progress.warn(
            f"{name} is worse than {one_answer} ({told}), though its answers go with the labels: where a class is "
            "rare, few false alarms weigh more than all that is found. Choose a metric that counts what is found, as "
            f"{set_to('evaluation.metric', 'macro_f1')}, or the students that are kept may find nothing."
        )
    elif not found.is_better:
        progress.warn(f"{name} is no better than {one_answer} ({told}).")
    return found.score, found.constant


def blindness_of(logits: np.ndarray, labels: np.ndarray, outputs: Outputs) -> str:
    """A model's blind spots on these rows, as the rest of a sentence; empty if it has none."""
    return blind_words(outputs.kind.scoring.blind_spots(logits, labels, outputs.label_names), len(labels))


def _with_unit(metric: str, value: float) -> str:
    return amount(metric, value) + (" %" if is_share(metric) else "")


def check_student(plan: StudentPlan, teacher: LoadedClassifier) -> StudentCheck:
    """What a student whose terms are measured will learn from."""
    measured = plan.sizes
    assert measured is not None  # the caller has measured them
    beta = None
    if plan.layer_map:
        width = teacher.model.config.hidden_size
        beta = beta_elsewhere(plan.weighed_loss, len(plan.layer_map.pairs), width, choices=measured.choices)
    return dataclasses.replace(
        _unmeasured(plan, teacher.outputs.kind, unlabelled=measured.labelled < 1),
        terms=list(measured.terms),
        beta=beta,
        rows=measured.rows,
    )


def _check_before_annotating(plan: RunPlan, device: torch.device) -> list[StudentCheck]:
    """Measure the terms where nothing is annotated yet, by running the teacher on the rows needed.

    The deviations of its units and the importance of its neurons also come from those rows, while a run computes them
    over more of the training rows.
    """
    recipe, teacher, students = plan.recipe, plan.teacher, plan.candidates
    train = plan.examples.splits["train"]
    # a student of labelled rows alone starts with the first of them
    everything = with_unlabelled(train, plan.examples.splits.get("unlabelled"), *plan.augmented.values())
    readers = [plan.readers[each.encoder] for each in students]
    lengths_of = {reader.key: _lengths_as_read(everything, reader) for reader in readers}
    counts = [len(everything) if each.unlabelled else len(train) for each in students]
    orders = [
        first_rows(rows_of_a_step(each.training), rows, lengths_of[reader.key], recipe.seed)
        for each, reader, rows in zip(students, readers, counts, strict=True)
    ]
    picked = np.unique(np.concatenate([batch for order in orders for batch in order]))
    layers = sorted({layer for each in students if each.layer_map for layer in each.layer_map.teacher})
    with tempfile.TemporaryDirectory() as folder:
        annotated = _annotated(plan, everything.select(picked), layers, Path(folder), device)
        checks = []
        read = {reader.key: reader.encode(annotated) for reader in readers}
        importance = None
        if any(each.width < 1 for each in students):  # which read as their teacher does
            importance = measured_importance(teacher, read[plan.readers[None].key], recipe.device)
        for each, reader, order, rows in zip(students, readers, orders, counts, strict=True):
            of_annotated = [np.searchsorted(picked, batch) for batch in order]
            student = build_student(each, recipe.seed, teacher, importance)
            sizes = measure_student(each, student, read[reader.key], of_annotated, rows, len(train) / rows, device)
            checks.append(check_student(dataclasses.replace(each, sizes=sizes), teacher))
        return checks


def _lengths_as_read(rows: datasets.Dataset, reader: Reader) -> Callable[[np.ndarray], np.ndarray]:
    """The lengths of some of the rows, of which each is encoded when it is first asked for."""
    lengths = np.full(len(rows), -1)

    def lengths_of(picked: np.ndarray) -> np.ndarray:
        if len(unknown := picked[lengths[picked] < 0]):
            lengths[unknown] = column_array(reader.encode(rows.select(unknown)), "length")
        known: np.ndarray = lengths[picked]
        return known

    return lengths_of


def _annotated(
    plan: RunPlan, rows: datasets.Dataset, layers: Sequence[int], folder: Path, device: torch.device
) -> datasets.Dataset:
    """Rows with the teacher's answers, or the mean of several."""
    teachers, stored = plan.teachers, []
    for number, teacher, order in zip(plan.teacher_numbers, teachers.each, teachers.orders, strict=True):
        place = folder / str(number)
        place.mkdir()
        by = f" by teacher {number}" * teachers.are_several
        with (
            computing_on(device, [teacher.model]),
            progress.stage(f"annotate the first rows of training{by}", len(rows), "rows") as stage,
        ):
            answering = Annotator.of(teacher, plan.recipe).teacher_pass(layers if teacher is plan.teacher else ())
            annotated = annotate_rows(rows, answering, place, stage=stage)
        stored.append(StoredAnswers(place, order))
    if not teachers.are_several:
        return annotated
    (mean := folder / "mean").mkdir()
    kind, size = plan.examples.outputs.kind, plan.recipe.annotation.rows_per_shard
    return average_answers(stored, teachers.lead, kind, mean, rows_per_shard=size)


def _data_sentences(plan: RunPlan) -> list[str]:
    examples, augmented = plan.examples, plan.augmented
    rows = {split: len(rows) for split, rows in examples.splits.items()}
    made = {"augmented": sum(map(len, augmented.values()))} if augmented else {}
    counts = ", ".join(f"{split} {count:,}" for split, count in (rows | made).items())
    measured = ""
    if split := measuring_split(examples):
        described = describe_rows(examples, split, trained_here=True, chose=["epoch"])
        measured = f" Results will be measured on {rows_in_words(split, len(examples.splits[split]), described)}."
    return [f"Rows: {counts}. Training labels: {_label_summary(examples)}.{measured}"]


def _label_summary(examples: Examples) -> str:
    """How often each class or choice is the label, how many sets hold each class, or how the scores lie."""
    labels = label_array(examples.splits["train"])
    if (count := examples.outputs.kind.scoring.label_counts) is None:
        return f"{labels.min():g} to {labels.max():g}, mean {labels.mean():g}"
    return ", ".join(f"{name} {rows:,}" for name, rows in count(labels, examples.label_names).items())


def _sample(rows: datasets.Dataset, most: int) -> datasets.Dataset:
    return rows.select(np.random.default_rng(0).permutation(len(rows))[:most])


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(str(layer) for layer in layers)
