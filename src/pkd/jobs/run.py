"""`pkd run`: the whole job of a recipe; a stage is kept if none of its inputs has changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from pkd import progress, ranks
from pkd.data.labels import label_array
from pkd.data.shards import open_shards
from pkd.data.tokenize import fingerprint_rows
from pkd.distillation.narrowing import Importance
from pkd.distillation.plan import StudentPlan, plan_controls
from pkd.errors import DataError
from pkd.evaluation.by_class import BlindSpots
from pkd.jobs import asking
from pkd.jobs.ahead import Left, stages_of_run
from pkd.jobs.annotate import Annotator, annotate_stage
from pkd.jobs.check import blindness_of, check_student, check_teacher_score
from pkd.jobs.encode import encoding_stage
from pkd.jobs.ensemble import mean_stage
from pkd.jobs.evaluate import measuring_split
from pkd.jobs.finetune import finetune_stage, finetuning_left, level_of
from pkd.jobs.finished import left_of
from pkd.jobs.forecast import announce
from pkd.jobs.importance import importance_stage
from pkd.jobs.judge import Outcome, Trained, judge_run
from pkd.jobs.plan import RunPlan, check_encoders, plan_run, require_rows_to_choose_by, warn_if_few
from pkd.jobs.race import race_starts
from pkd.jobs.sizes import sized
from pkd.jobs.stages import annotating_name, averaging_name, encoding_name
from pkd.jobs.train import Teaching, TrainingRows, train_stage, training_rows
from pkd.jobs.word_counts import teacher_level, word_counts_stage
from pkd.jobs.workload import MEASURING, job_of_run
from pkd.recipe.places import AnyPath
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import named
from pkd.recipe.writing import write_recipe
from pkd.reporting.amounts import score_words
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.printed import main_score, run_lines
from pkd.reporting.results import ModelRecord, Record, Score, TeacherLevel, best_student, read_results
from pkd.reporting.teacher_level import level_sentence, under_trained
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.stage import Done, refuse_other_files, refuse_other_version


@dataclass(frozen=True)
class Prepared:
    """A run whose students can be trained: it has its teacher and the annotated rows."""

    plan: RunPlan
    rows: TrainingRows
    level: TeacherLevel | None  # the teacher's; None without development rows
    importance: Importance | None = None  # of the teacher's neurons, if a student is narrow

    @property
    def teaching(self) -> Teaching:
        """What the students learn from."""
        return Teaching(self.plan.recipe, self.plan.teacher, self.rows, self.importance)

    def at(self, recipe: Recipe) -> Prepared:
        """Another recipe with the same teacher and rows, as a sweep's best point."""
        return dataclasses.replace(self, plan=self.plan.at(recipe))


@dataclass(frozen=True, repr=False)
class RunResult:
    """A finished run: its folder, its records and its report; printed, it is a few lines."""

    folder: Path
    records: list[Record]
    report: Path

    @property
    def student(self) -> ModelRecord:
        """The record of the best student: its name, its scores with their intervals, its classes' blind spots."""
        return best_student(self.records)

    @property
    def score(self) -> Score:
        """Its score by the metric that chose it: value, low and high."""
        return main_score(self.records)

    def __str__(self) -> str:
        return run_lines(self.records, folder=self.folder, report=self.report)

    def __repr__(self) -> str:
        return str(self)


def run(
    recipe: Recipe | AnyPath,
    *,
    set: str | Sequence[str] = (),
    seeds: int | None = None,
    effort: str | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> RunResult:
    """Run a recipe: teacher, annotation, students, controls, evaluation, report.

    Under `torchrun` or `accelerate launch` every rank must call it: they share the annotation and the training, and
    rank 0 writes.

    Args:
        recipe: a recipe or its file.
        set: overrides, as "students.0.beta=500".
        seeds: repeat the students with so many seeds, whatever the file says.
        effort: "quick", "normal" or "best", whatever the file says; keys in the file override it.
        device: where to compute, whatever the file says.
        overwrite: start an unfinished stage with other inputs afresh, and move aside a folder in the way.

    Raises:
        PKDError: of the family, with what to do; what was finished is kept.
    """
    with asking.run(recipe, set=set, seeds=seeds, effort=effort, device=device, overwrite=overwrite) as asked:
        return run_asked(asked, overwrite=overwrite)


def run_asked(recipe: Recipe, *, copies: int = 0, overwrite: bool) -> RunResult:
    """Run a checked recipe.

    Args:
        recipe: to be run.
        copies: how many copies of the best student are made afterwards.
        overwrite: start an unfinished stage with other inputs afresh.
    """
    folder = RunFolder(Path(recipe.folder))
    with one_writer(folder.path):
        refuse_other_files(folder.path, overwrite=overwrite)
        return finish(prepare(recipe, copies=copies, overwrite=overwrite), overwrite=overwrite)


def prepare(recipe: Recipe, *, copies: int = 0, overwrite: bool) -> Prepared:
    """Bring the teacher and its one pass over the examples up to date.

    Args:
        recipe: of a run, or of a sweep; the caller holds the lock of its folder.
        copies: how many copies of the best student are made at the end.
        overwrite: start an unfinished stage with other inputs afresh.
    """
    plan, levels, announced = with_teachers(planned(recipe, overwrite=overwrite), copies=copies, overwrite=overwrite)
    if not announced:
        job = job_of_run(plan)
        announce(job, stages_of_run(plan, job, left_of(plan), copies=copies), plan.folder.path)
    return taught(plan, levels, overwrite=overwrite)


def planned(recipe: Recipe, *, overwrite: bool) -> RunPlan:
    """The plan of a run in its folder; whatever does not fit together is found here, before anything is computed."""
    folder = RunFolder(Path(recipe.folder))
    if not overwrite:
        refuse_other_version(folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    plan = plan_run(recipe)
    _require_development_rows(plan)
    check_encoders(plan)
    return plan


def taught(plan: RunPlan, levels: Sequence[TeacherLevel | None], *, overwrite: bool) -> Prepared:
    """The run of a plan with its teachers, once these have answered every row.

    Args:
        plan: of the run.
        levels: how good each teacher is, from `with_teachers`.
        overwrite: start an unfinished stage with other inputs afresh.
    """
    warn_if_few(plan.counts.labelled + plan.counts.transfer, plan.recipe.training)
    ranks.on_first(lambda: write_recipe(plan.recipe, plan.folder.recipe))
    rows = _annotate(plan, overwrite)
    prepared = Prepared(plan, rows, _measured_level(plan, levels, overwrite))
    return dataclasses.replace(prepared, importance=importance_stage(plan, prepared.teaching, overwrite=overwrite))


def finish(prepared: Prepared, *, overwrite: bool) -> RunResult:
    """Train the students and their controls, measure them, and write the records and the report."""
    plan, races = race_starts(prepared.plan, prepared.teaching, overwrite=overwrite)
    prepared = dataclasses.replace(prepared, plan=plan)
    trained, starts_tried = train_students(prepared, overwrite=overwrite)
    plan, counts, level = prepared.plan, prepared.rows.counts, prepared.level
    outcome = Outcome(plan, trained, starts_tried, races, counts, level)
    # a small share of the work, most of it writing: rank 0 measures alone
    page = ranks.on_first(lambda: str(judge_run(outcome)[1]))
    return RunResult(plan.folder.path, read_results(plan.folder.path), Path(page))


def with_teachers(
    plan: RunPlan, *, copies: int = 0, overwrite: bool
) -> tuple[RunPlan, list[TeacherLevel | None], bool]:
    """Fine-tune the teachers if that is asked for; also how good each is, and whether the job was announced."""
    settings, encoder = plan.recipe.teacher.finetune, plan.recipe.teacher.encoder
    if settings is None:
        return plan, [None for _ in plan.teacher_numbers], False
    folder, examples = plan.folder, plan.examples
    left = {
        number: finetuning_left(folder.teacher_of(number), encoder, plan.of_teacher(number), settings, examples)
        for number in plan.teacher_numbers
    }
    if any(left.values()):
        stages = stages_of_run(plan, job := job_of_run(plan), Left(finetuning=left.__getitem__), copies=copies)
        announce(job, stages, folder.path)
    levels = []
    for number in plan.teacher_numbers:
        recipe = plan.of_teacher(number)
        place = folder.teacher_of(number)
        done = finetune_stage(place, encoder, recipe, settings, examples, number=number, overwrite=overwrite)
        levels.append(level_of(done))
    return plan.with_fine_tuned(), levels, any(left.values())


def _measured_level(plan: RunPlan, levels: Sequence[TeacherLevel | None], overwrite: bool) -> TeacherLevel | None:
    """How good the first teacher is on the development rows; what is wrong with any is told or raised.

    Args:
        plan: of the run.
        levels: as each one's fine-tuning measured it, if it was fine-tuned here.
        overwrite: start an unfinished stage with other inputs afresh.
    """
    examples, metric = plan.examples, plan.recipe.evaluation.metric
    if "eval" not in examples.splits:
        return levels[0]
    labels, scoring = label_array(examples.splits["eval"]), examples.outputs.kind.scoring
    measured: list[TeacherLevel] = []
    baseline: Mapping[str, Any] = {}
    for teacher, answers, known in zip(plan.teachers.each, plan.answers_of_each("eval"), levels, strict=True):
        level, logits = known, answers.logits()
        check_teacher_score(logits, labels, teacher.name, examples.outputs.kind, metric)
        if blind := blindness_of(logits, labels, examples.outputs):
            progress.warn(f"On the development rows {teacher.name} {blind}. Its students learn that from it.")
        if level is None:
            baseline = baseline or _word_counts(plan, overwrite)
            level = teacher_level(metric, float(scoring.score(logits, labels)[metric]), len(labels), baseline)
        whose = f"{teacher.name}: " * plan.teachers.are_several
        progress.note(f"{whose}{level_sentence(level)}")
        if doubt := under_trained(level):
            progress.warn(f"{whose}{doubt}")
        measured.append(level)
    if plan.teachers.are_several:
        mean = plan.mean_answers("eval").logits()
        score = float(scoring.score(mean, labels)[metric])
        progress.note(f"The mean of the {len(measured)} teachers has {score_words(metric, score)} on these rows.")
    return measured[0]


def _word_counts(plan: RunPlan, overwrite: bool) -> Mapping[str, Any]:
    place, metric = plan.folder.word_counts, plan.recipe.evaluation.metric
    return word_counts_stage(place, plan.examples, metric, overwrite=overwrite).manifest.facts


def _require_development_rows(plan: RunPlan) -> None:
    """Check that there are rows to measure on and to choose starts by, where none could be held out.

    Raises:
        DataError: if nothing could be measured.
        RecipeError: if a start could not be chosen.
    """
    if measuring_split(plan.examples) is None:
        raise DataError(
            f"{named('data.eval')} is missing, and there are too few training rows to hold some of them out to measure "
            "on. Name development rows."
        )
    require_rows_to_choose_by(plan)


def _annotate(plan: RunPlan, overwrite: bool) -> TrainingRows:
    """Each teacher's one pass: states for the rows that teach, logits alone for the others, those in float32.

    Each variant of augmented rows is a stage of its own, so that more variants need no new pass over the first ones; so
    is the mean of several teachers' answers, so that a further teacher needs its own pass alone.
    """
    parts: dict[str, list[Done]] = {}
    examples, teachers = plan.examples, plan.teachers
    splits = {**examples.splits, **plan.augmented}
    prints = {split: examples.fingerprints.get(split) or fingerprint_rows(rows) for split, rows in splits.items()}
    encodings = _encode(plan, splits, prints, overwrite)
    readers = plan.teacher_readers
    for number, teacher, reader in zip(plan.teacher_numbers, teachers.each, readers, strict=True):
        annotator = Annotator.of(teacher, plan.recipe)
        for split, rows in splits.items():
            teaches = split not in MEASURING
            done = annotate_stage(
                plan.folder.annotated(split, number),
                annotating_name(split, number),
                rows,
                annotator if teaches else annotator.exactly(),
                plan.stored_layers if teaches and teacher is plan.teacher else (),
                overwrite=overwrite,
                rows_prints=prints[split],
                encoding=open_shards(encodings[split, reader.key].folder),
            )
            parts.setdefault(split, []).append(done)
    if teachers.are_several:
        kind = examples.outputs.kind
        for split, of_split in parts.items():
            place, name = plan.answers(split), averaging_name(split)
            parts[split] = [mean_stage(place, name, of_split, teachers, kind, overwrite=overwrite)]
    manifests = {split: done.manifest for split, (done,) in parts.items() if split not in MEASURING}
    return training_rows(plan, manifests)


def _encode(
    plan: RunPlan,
    splits: Mapping[str, datasets.Dataset],
    prints: Mapping[str, Mapping[str, str]],
    overwrite: bool,
) -> dict[tuple[str, str], Done]:
    """The encodings of all readers of the run, by split and key."""
    rows_per_shard = plan.recipe.annotation.rows_per_shard
    return {
        (split, reader.key): encoding_stage(
            plan.folder.encoding(split, reader.key),
            encoding_name(split, number),
            splits[split],
            reader,
            rows_per_shard,
            rows_prints=prints[split],
            overwrite=overwrite,
        )
        for number, (reader, of_reader) in enumerate(plan.readings(splits), start=1)
        for split in of_reader
    }


def train_students(prepared: Prepared, *, overwrite: bool) -> tuple[list[Trained], Mapping[str, dict[str, float]]]:
    """Train the students, choose among their starts by the dev score, then train the controls of those chosen."""
    folder, recipe, teaching = prepared.plan.folder, prepared.plan.recipe, prepared.teaching

    def measured(plan: StudentPlan) -> StudentPlan:
        if plan.method == "ft":
            return plan  # its labels have all of the gradient
        return sized(plan, folder.sizes(plan.name), teaching, overwrite=overwrite)

    def train_seeds(plan: StudentPlan) -> list[Trained]:
        return [
            Trained(
                plan,
                seed,
                train_stage(folder.student(plan.name, seed), plan, seed, teaching, overwrite=overwrite),
            )
            for seed in recipe.all_seeds
        ]

    trained: list[Trained] = []
    starts_tried: dict[str, dict[str, float]] = {}
    planned = [[measured(plan) for plan in candidates] for candidates in prepared.plan.students]
    if ranks.is_first():
        _say_check([plan for candidates in planned for plan in candidates], prepared.plan)
    for candidates in planned:
        tried = {plan.start: train_seeds(plan) for plan in candidates}
        scores = {start: _mean_dev_score(each) for start, each in tried.items()} if len(tried) > 1 else {}
        chosen = max(tried, key=lambda start: scores.get(start, 0.0))  # of ties the first
        if scores:
            told = ", ".join(f"{start} {score:.4f}" for start, score in scores.items())
            progress.note(f"of the starts {told} on the development rows; {chosen} is kept")
            for each in (one for of_start in tried.values() for one in of_start):
                _warn_if_blind(each, len(prepared.rows.eval or ()))
            starts_tried[tried[chosen][0].plan.name] = scores
        trained += tried[chosen]
    if recipe.controls:
        students = list(dict.fromkeys(each.plan.name for each in trained))
        plans = [next(each.plan for each in trained if each.plan.name == name) for name in students]
        for control in plan_controls(plans, prepared.rows.counts):
            trained += train_seeds(measured(control))
    return trained, starts_tried


def _say_check(plans: Sequence[StudentPlan], run: RunPlan) -> None:
    """Log before the first step what each untrained student will learn from."""
    for plan in plans:
        is_waiting = not run.folder.student(plan.name, run.recipe.seed).exists()
        if plan.role == "student" and plan.sizes and is_waiting:  # controls are the same with a term left out
            for sentence in check_student(plan, run.teacher).sentences():
                progress.note(sentence)


def _warn_if_blind(trained: Trained, rows: int) -> None:
    """Warn of what a score on the development rows hides."""
    if blind := blind_words(BlindSpots(**trained.done.manifest.facts["blind_spots"]), rows):
        progress.warn(f"On the development rows {trained.plan.name} with seed {trained.seed} {blind}.")


def _mean_dev_score(trained: Sequence[Trained]) -> float:
    scores = [float(each.done.manifest.facts["selection"]["score"]) for each in trained]
    return sum(scores) / len(scores)
