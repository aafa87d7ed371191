"""The end of a run: every trained model measured on the same rows, what helped and what did not, and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pkd import progress
from pkd._version import __version__
from pkd.distillation.plan import RowCounts, StudentPlan, is_control_of
from pkd.encoder.families import depth_of
from pkd.encoder.hub import ModelSource, model_source
from pkd.encoder.load import LoadedClassifier, count_parameters, load_classifier, shape_of
from pkd.jobs.evaluate import (
    EvaluatedRows,
    Measured,
    class_records,
    compare,
    describe_rows,
    flip_records,
    measuring_split,
    model_records,
    predict_stage,
    read_logits,
)
from pkd.jobs.lineup import measure_speeds
from pkd.jobs.plan import RunPlan
from pkd.jobs.report import kept_results, write_views
from pkd.jobs.sizes import term_shares
from pkd.jobs.stages import REPORTING
from pkd.recipe.schema import Recipe
from pkd.recipe.writing import recipe_values, without_places
from pkd.reporting.results import ComparisonRecord, Race, Record, RunRecord, TeacherLevel, write_results
from pkd.reporting.wording import AGAINST_ALONE, AGAINST_TEACHER, TEACHER, TEACHERS_MEAN, TRANSFER
from pkd.runs.fingerprint import fingerprint
from pkd.runs.seal import Manifest, read_manifest, unseal
from pkd.runs.stage import Done
from pkd.training.hardware import describe_hardware, device_text, resolve_device
from pkd.training.schedule import epochs_of

_SAME_ROWS = 0.05  # what is made of rows and is not new makes an epoch a little shorter than planned
_LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "accelerate")


@dataclass(frozen=True)
class Trained:
    """A student with one seed, trained."""

    plan: StudentPlan
    seed: int
    done: Done


@dataclass(frozen=True)
class Outcome:
    """A run whose training is over.

    Attributes:
        plan: of the run.
        trained: its students and controls.
        starts_tried: student -> start -> its score on the development rows, where several were trained in full.
        races: student -> the race between its starts, where there was one.
        learnt: the numbers of training rows.
        level: how good the teacher is; None without development rows.
    """

    plan: RunPlan
    trained: Sequence[Trained]
    starts_tried: Mapping[str, dict[str, float]]
    races: Mapping[str, Race]
    learnt: RowCounts
    level: TeacherLevel | None


def judge_run(outcome: Outcome) -> tuple[list[Record], Path]:
    """Measure every model, write `results.jsonl` and the report; both are kept if nothing has changed."""
    plan, trained, starts_tried = outcome.plan, outcome.trained, outcome.starts_tried
    recipe, examples, run = plan.recipe, plan.examples, plan.folder
    split = measuring_split(examples)
    assert split is not None  # a run that could measure nothing was refused
    chose = [
        "epoch",
        *(["start"] if starts_tried or outcome.races else []),
        *(["hyper-parameters"] if recipe.sweep else []),
    ]
    described = describe_rows(examples, split, trained_here=True, chose=chose)
    kind = examples.outputs.kind
    on = EvaluatedRows(split, examples.splits[split], examples.label_names, kind, described)
    manifests = {f"{each.plan.name}-seed{each.seed}": each.done.manifest for each in trained}
    depends = {
        "teachers": [teacher.fingerprints["model"] for teacher in plan.teachers.each],
        "answers": [manifest.facts["answers"] for manifest in _answered_by(plan, split)],
        "students": {name: [manifest.fingerprint, manifest.content] for name, manifest in manifests.items()},
        "roles": {each.plan.name: each.plan.role for each in trained},
        "starts_tried": starts_tried,
        "races": {name: race.model_dump() for name, race in outcome.races.items()},
        "rows": examples.fingerprints[split],
        "measured_on": described.model_dump(),
        "sources": {split: [vars(source) for source in of] for split, of in examples.sources.items()},
        "models": [vars(source) for source in (*map(model_source, recipe.teacher.models), *_starts(recipe))],
        "recipe": without_places(recipe_values(recipe)),
        "level": outcome.level and outcome.level.model_dump(),
        "pkd": __version__,
    }
    page = run.report
    if known := kept_results(run.path, fingerprint(depends)):
        progress.note(f"kept {run.results} and {page}")
        return known, page
    unseal(run.path)  # until the new page is complete, the old one does not match the new records
    measured = _measure(outcome, on)
    with progress.stage(REPORTING):
        records: list[Record] = [
            _run_record(outcome, split, fingerprint(depends)),
            *model_records(measured, on, recipe.evaluation),
            *class_records(measured, on),
            *([] if described.drawn else _comparisons(outcome, measured, on)),
            *flip_records(measured, on, recipe.evaluation),
        ]
        write_results(records, run.path)
        return records, write_views(run.path)


@dataclass(frozen=True)
class _Answered:
    """What is kept of a student after its pass."""

    logits: np.ndarray  # [N, C]
    device: str
    parameters: int
    shape: str  # students of one shape are equally fast, so one of them is timed


def _answered(each: Trained, plan: RunPlan, on: EvaluatedRows, device: torch.device) -> _Answered:
    model = load_classifier(str(each.done.folder))
    place, prints = plan.folder.predictions(each.plan.name, each.seed), plan.examples.fingerprints[on.split]
    done = predict_stage(place, model, on.rows, prints, plan.recipe.data.max_length, device)
    return _Answered(
        model.outputs.kind.of_classes(read_logits(done.folder)),
        done.manifest.facts["device"],
        count_parameters(model.model),
        shape_of(model),
    )


def _answered_by(plan: RunPlan, split: str) -> list[Manifest]:
    """The manifest of each teacher's answers to a split."""
    manifests = [read_manifest(answers.folder) for answers in plan.answers_of_each(split)]
    return [manifest for manifest in manifests if manifest is not None]  # a finished stage has one


def _measured_teachers(
    plan: RunPlan, on: EvaluatedRows, speeds: Mapping[str, float], timed_on: Mapping[str, str]
) -> list[Measured]:
    """The teacher; of several each, and their mean."""
    settings, measured = plan.recipe.teacher, []
    computed_on = [manifest.facts["device"] for manifest in _answered_by(plan, on.split)]
    for number, teacher, answers, device in zip(
        plan.teacher_numbers, plan.teachers.each, plan.answers_of_each(on.split), computed_on, strict=True
    ):
        made_here = settings.finetune is not None
        parameters = count_parameters(teacher.model)
        measured.append(
            Measured(
                name=_teacher_name(number),
                role="teacher",
                folder=plan.folder.name_of(plan.folder.teacher_of(number))
                if made_here
                else model_source(teacher.name).name,
                logits=on.kind.of_classes(answers.logits()),
                layers=depth_of(teacher.model.config),
                parameters=parameters,
                bytes=4 * parameters,
                rows_per_second=speeds.get(shape_of(teacher)),
                devices={"scores": device, **timed_on},
            )
        )
    if plan.teachers.are_several:
        paces = [each.rows_per_second for each in measured]
        measured.append(
            Measured(
                name=TEACHERS_MEAN,
                role="teacher",
                folder=plan.folder.name_of(plan.answers(on.split)),
                logits=on.kind.of_classes(plan.mean_answers(on.split).logits()),
                layers=depth_of(plan.config),
                parameters=sum(each.parameters for each in measured),
                bytes=sum(each.bytes for each in measured),
                rows_per_second=1 / sum(1 / pace for pace in paces if pace) if all(paces) else None,  # one by one
                devices={"scores": " and ".join(dict.fromkeys(computed_on)), **timed_on},
            )
        )
    return measured


def _teacher_name(number: int) -> str:
    return TEACHER if number == 1 else f"{TEACHER} {number}"


def _measure(outcome: Outcome, on: EvaluatedRows) -> list[Measured]:
    """Each model's logits and speed.

    Students are loaded one after the other: only their logits stay in memory, and one student of each shape while it is
    timed.
    """
    plan, trained = outcome.plan, outcome.trained
    recipe = plan.recipe
    device = resolve_device(recipe.device)
    answered = [_answered(each, plan, on, device) for each in trained]
    speeds: dict[str, float] = {}
    if recipe.evaluation.measure_speed:
        of_shape: dict[str, tuple[str, str | LoadedClassifier]] = {}  # the name and the model of one of each
        for number, teacher in zip(plan.teacher_numbers, plan.teachers.each, strict=True):
            of_shape.setdefault(shape_of(teacher), (_teacher_name(number), teacher))
        for one, each in zip(answered, trained, strict=True):
            of_shape.setdefault(one.shape, (each.plan.name, str(each.done.folder)))
        by_name = measure_speeds(dict(of_shape.values()), on.rows, recipe.data.max_length, device)
        speeds = {shape: by_name[name] for shape, (name, _) in of_shape.items()}
    timed_on = {"rows_per_second": device_text(device)} if speeds else {}
    measured = _measured_teachers(plan, on, speeds, timed_on)
    for each, one in zip(trained, answered, strict=True):
        facts = each.done.manifest.facts
        measured.append(
            Measured(
                name=each.plan.name,
                role=each.plan.role,
                folder=plan.folder.name_of(each.done.folder),
                logits=one.logits,
                layers=each.plan.layers,
                parameters=one.parameters,
                bytes=4 * one.parameters,
                seed=each.seed,
                rows_per_second=speeds.get(one.shape),
                devices={"scores": one.device, **timed_on, "train_seconds": facts["device"]},
                about={
                    "method": each.plan.method,
                    "start": each.plan.start,
                    "start_layers": list(each.plan.start_layers),
                    "width": each.plan.width,
                    "encoder": model_source(each.plan.encoder).name if each.plan.encoder else None,
                    "layer_map": list(each.plan.layer_map.pairs) if each.plan.layer_map else None,
                    **{f"{kind}_rows": facts[f"{kind}_rows"] for kind in RowCounts.__dataclass_fields__},
                    "settings": {
                        **dataclasses.asdict(each.plan.loss),
                        "beta": each.plan.weighed_loss.beta,
                        **dataclasses.asdict(each.plan.training),
                    },
                    "terms": term_shares(each.plan.sizes.terms, each.plan.loss.patience_share)
                    if each.plan.sizes
                    else [],
                    "selection": facts["selection"],
                    "starts_tried": outcome.starts_tried.get(each.plan.name, {}),
                    "race": outcome.races.get(each.plan.name),
                    "train_seconds": facts["train_seconds"],
                    "history": facts["history"],
                },
            )
        )
    return measured


def _comparisons(outcome: Outcome, measured: Sequence[Measured], on: EvaluatedRows) -> list[ComparisonRecord]:
    """Every pair of students that differ in one respect, and each student against the teacher."""
    models: dict[str, list[Measured]] = {}
    for model in measured:
        models.setdefault(model.name, []).append(model)
    plans = {each.plan.name: each.plan for each in outcome.trained}
    asked: list[tuple[str, str, str]] = []
    for one in plans.values():
        for other in plans.values():
            if question := _question(one, other, outcome.learnt):
                asked.append((question, one.name, other.name))
    asked += [(AGAINST_TEACHER, plan.name, TEACHER) for plan in plans.values() if plan.role == "student"]
    evaluation = outcome.plan.recipe.evaluation
    return [  # here a student of one seed is a model that would be deployed, and not a method
        compare(question, models[a], models[b], on, evaluation, as_models=question in (AGAINST_TEACHER, AGAINST_ALONE))
        for question, a, b in asked
    ]


def _question(one: StudentPlan, other: StudentPlan, learnt: RowCounts) -> str | None:
    """The question that two students answer if they differ in one respect; None otherwise."""
    if one.name == other.name:
        return None
    if one.encoder is not None and one.role == "student" and is_control_of(other, one, "ft", learnt):
        return AGAINST_ALONE
    if one.layer_map and is_control_of(other, one, "kd", learnt):
        return "patience"
    if one.method == "kd" and is_control_of(other, one, "ft", learnt):
        return "kd"
    a, b = one.inputs(), other.inputs()
    differing = {name for name in a if a[name] != b[name]}
    if differing == {"start_layers"} and one.start < other.start and one.role == other.role == "student":
        return f"start {one.start} against {other.start}"
    if differing == {"width"} and one.width < other.width and one.role == other.role == "student":
        return f"width {one.width:g} against {other.width:g}"
    if differing == {"method", "layer_map"} and one.layer_map and other.layer_map and one.method > other.method:
        return f"{one.method} against {other.method}"
    only_transfer = differing - {"training"} == {"unlabelled"} and _learn_alike(one, other, learnt)
    if only_transfer and one.unlabelled and learnt.transfer:
        return TRANSFER[learnt.unlabelled > 0, learnt.augmented > 0]
    return None


def _learn_alike(one: StudentPlan, other: StudentPlan, learnt: RowCounts) -> bool:
    """Whether two students differ in their training by no more than the epochs in which they see as many rows."""
    if one.training == other.training:
        return True
    seen = [epochs_of(plan.training) * plan.learns_from(learnt) for plan in (one, other)]
    same = dataclasses.replace(one.training, num_train_epochs=other.training.num_train_epochs) == other.training
    return same and max(seen) <= (1 + _SAME_ROWS) * min(seen)


def _starts(recipe: Recipe) -> list[ModelSource]:
    """The encoders that students are, instead of layers of the teacher."""
    names = dict.fromkeys(student.student for student in recipe.students if student.student)
    return [model_source(name) for name in names]


def _run_record(outcome: Outcome, split: Literal["test", "eval"], results_print: str) -> RunRecord:
    plan, learnt = outcome.plan, outcome.learnt
    recipe, examples = plan.recipe, plan.examples
    models = [model_source(name) for name in recipe.teacher.models]
    teachers = {
        _teacher_name(number): teacher.fingerprints["model"]
        for number, teacher in zip(plan.teacher_numbers, plan.teachers.each, strict=True)
    }
    prints = {f"data {name}": fingerprint(prints) for name, prints in examples.fingerprints.items()}
    return RunRecord(
        name=recipe.name or plan.folder.title,
        created=datetime.now(UTC).isoformat("T", "seconds"),
        recipe=recipe_values(recipe),
        rows={
            **{name: len(rows) for name, rows in examples.splits.items()},
            **({"augmented": learnt.augmented} if recipe.transfer.variants else {}),
        },
        teacher=models[0],
        teachers=models if plan.teachers.are_several else [],
        lead=plan.teachers.lead,
        starts=_starts(recipe),
        sources=examples.sources,
        fingerprints={**teachers, **prints, "results": results_print},
        versions={"pkd": __version__, **{name: version(name) for name in _LIBRARIES}},  # a tree need not be installed
        hardware=describe_hardware(resolve_device(recipe.device)),
        labels=list(examples.label_names),
        problem_type=examples.problem_type,
        evaluated_on=split,
        teacher_level=outcome.level,
        warnings=examples.warnings,
    )
