"""`pkd run`: the whole job of a recipe; a stage is kept if none of its inputs has changed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pkd import progress, ranks
from pkd.data.arrays import column_array
from pkd.data.augmentation import augmented_splits
from pkd.data.examples import Examples, load_examples
from pkd.data.labels import label_array
from pkd.data.tokenize import fingerprint_rows
from pkd.distillation.annotation import open_shards
from pkd.distillation.plan import StudentPlan, patient_layers, plan_controls, plan_students, planned_rows
from pkd.encoder.families import depth_of
from pkd.encoder.load import LoadedClassifier, check_max_length, load_config, load_teacher, with_outputs
from pkd.errors import DataError, RecipeError
from pkd.evaluation.by_class import BlindSpots
from pkd.jobs import asking
from pkd.jobs.ahead import Left, stages_of_run
from pkd.jobs.annotate import Annotator, annotate_stage
from pkd.jobs.check import blindness_of, check_student, check_teacher_score, check_trainings
from pkd.jobs.evaluate import measuring_split
from pkd.jobs.finetune import finetune_stage, finetuning_left, level_of, settle, warn_if_few
from pkd.jobs.finished import left_of
from pkd.jobs.forecast import announce
from pkd.jobs.judge import Trained, judge_run
from pkd.jobs.sizes import sized
from pkd.jobs.train import TrainingRows, load_start, train_stage, training_rows
from pkd.jobs.word_counts import teacher_level, word_counts_stage
from pkd.jobs.workload import MEASURING, classifier_job, encoder_job
from pkd.recipe.places import AnyPath
from pkd.recipe.rules import starts_of
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import named
from pkd.recipe.writing import write_recipe
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.printed import main_score, run_lines
from pkd.reporting.results import ModelRecord, Record, Score, TeacherLevel, best_student, read_results
from pkd.reporting.teacher_level import level_sentence, under_trained
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.stage import Done, refuse_other_files, refuse_other_version


@dataclass(frozen=True)
class Prepared:
    """What students need before training: a teacher, examples, and the annotated rows."""

    teacher: LoadedClassifier
    examples: Examples
    rows: TrainingRows
    level: TeacherLevel | None = None  # the teacher's; None without development rows


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

    __repr__ = __str__


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
    folder = Path(recipe.folder)
    with one_writer(folder):
        refuse_other_files(folder, overwrite=overwrite)
        prepared = prepare(recipe, folder, copies=copies, overwrite=overwrite)
        return finish(recipe, folder, prepared, overwrite=overwrite)


def prepare(
    recipe: Recipe, folder: Path, *, variants: Sequence[Recipe] = (), copies: int = 0, overwrite: bool
) -> Prepared:
    """Bring the teacher and its one pass over the examples up to date.

    Args:
        recipe: of the run, or of a sweep.
        folder: of the run; the caller holds its lock.
        variants: recipes with other students for the same pass; the recipe's own by default.
        copies: how many copies of the best student are made at the end.
        overwrite: start an unfinished stage with other inputs afresh.
    """
    run_folder = RunFolder(folder)
    if not overwrite:
        refuse_other_version(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    variants = variants or [recipe]
    for each in variants:
        check_trainings(each)
    settings, announced = recipe.teacher.finetune, False
    level: TeacherLevel | None = None
    if settings is None:  # find a wrong teacher before long files are read
        teacher = load_teacher(recipe.teacher.model)
        check_max_length(teacher.model.config, recipe.data.max_length)
        patient_layers(variants, depth_of(teacher.model.config))
        examples = load_examples(recipe.data, teacher=teacher.outputs, seed=recipe.seed)
        teacher = with_outputs(teacher, examples.outputs)
        recipe = settle(recipe, examples, teacher.model.config)
    else:
        examples = load_examples(recipe.data, seed=recipe.seed)
        config = load_config(recipe.teacher.model)
        recipe = settle(recipe, examples, config)
        settings = recipe.teacher.finetune or settings
        patient_layers(variants, depth_of(config))  # find what does not fit before the teacher is trained
        made = run_folder.teacher
        left = finetuning_left(made, recipe.teacher.model, recipe, settings, examples)
        if left:
            job = encoder_job(recipe.teacher.model, recipe, examples.splits, examples.outputs)
            announce(job, stages_of_run(job, Left(finetuning=left), copies=copies), folder)
        done = finetune_stage(made, recipe.teacher.model, recipe, settings, examples, overwrite=overwrite)
        teacher, announced = load_teacher(str(done.folder)), bool(left)
        level = level_of(done)
    _require_development_rows(variants, examples)
    if not announced:
        job = classifier_job(teacher, recipe, examples.splits, examples.outputs)
        announce(job, stages_of_run(job, left_of(recipe, run_folder, teacher, examples), copies=copies), folder)
    for each in variants:
        _check_starts(each, teacher)
    counts = planned_rows(recipe, {split: len(rows) for split, rows in examples.splits.items()})
    warn_if_few(counts.labelled + counts.transfer, recipe.training)
    ranks.on_first(lambda: write_recipe(recipe, run_folder.recipe))
    layers = patient_layers(variants, depth_of(teacher.model.config))
    rows, eval_logits = _annotate(recipe, folder, teacher, examples, layers, overwrite)
    if eval_logits is not None:
        labels, metric = label_array(examples.splits["eval"]), recipe.evaluation.metric
        check_teacher_score(eval_logits, labels, teacher.name, examples.outputs.kind, metric)
        if blind := blindness_of(eval_logits, labels, examples.outputs):
            progress.warn(f"On the development rows {teacher.name} {blind}. Its students learn that from it.")
        if level is None:
            baseline = word_counts_stage(run_folder.word_counts, examples, metric, overwrite=overwrite).manifest.facts
            score = float(examples.outputs.kind.scoring.score(eval_logits, labels)[metric])
            level = teacher_level(metric, score, len(labels), baseline)
        progress.note(level_sentence(level))
        if doubt := under_trained(level):
            progress.warn(doubt)
    return Prepared(teacher, examples, rows, level)


def finish(recipe: Recipe, folder: Path, prepared: Prepared, *, overwrite: bool) -> RunResult:
    """Train the recipe's students and their controls, measure them, and write the records and the report."""
    teacher = prepared.teacher
    recipe = settle(recipe, prepared.examples, teacher.model.config)
    trained, starts_tried = _train(recipe, folder, teacher, prepared.rows, overwrite)
    # a small share of the work, most of it writing: rank 0 measures alone
    examples, level, counts = prepared.examples, prepared.level, prepared.rows.counts
    page = ranks.on_first(
        lambda: str(judge_run(recipe, folder, teacher, examples, counts, trained, starts_tried, level)[1])
    )
    return RunResult(folder, read_results(folder), Path(page))


def _require_development_rows(variants: Sequence[Recipe], examples: Examples) -> None:
    """Check that there are rows to measure on and to choose starts by, where none could be held out.

    Raises:
        DataError: if nothing could be measured.
        RecipeError: if a start could not be chosen.
    """
    missing = f"{named('data.eval')} is missing, and there are too few training rows to hold some of them out"
    if measuring_split(examples) is None:
        raise DataError(f"{missing} to measure on. Name development rows.")
    several = any(len(starts_of(student)) > 1 for each in variants for student in each.students)
    if several and "eval" not in examples.splits:
        raise RecipeError(
            f"{named('students.0.start')} names several starts, but {missing} to choose by. Name development rows, or "
            "one start."
        )


def _check_starts(recipe: Recipe, teacher: LoadedClassifier) -> None:
    """Find an encoder that a student cannot start from before the teacher's pass."""
    for candidates in plan_students(recipe, depth_of(teacher.model.config)):
        for plan in candidates:
            if plan.pretrained is not None:
                load_start(plan, plan.pretrained, teacher)


def _annotate(
    recipe: Recipe,
    folder: Path,
    teacher: LoadedClassifier,
    examples: Examples,
    layers: Sequence[int],
    overwrite: bool,
) -> tuple[TrainingRows, np.ndarray | None]:
    """The one teacher pass: states for the rows that teach, logits alone for the others, those in float32.

    Each variant of augmented rows is a stage of its own, so that more variants need no new pass over the first ones.
    """
    done: dict[str, Done] = {}
    annotator = Annotator.of(teacher, recipe)
    made = augmented_splits(examples.splits, recipe.transfer.augment, recipe.seed)
    for split, rows in itertools.chain(examples.splits.items(), made):
        teaches = split not in MEASURING
        done[split] = annotate_stage(
            RunFolder(folder).annotated(split),
            f"annotate {split}",
            rows,
            annotator if teaches else annotator.exactly(),
            layers if teaches else (),
            overwrite=overwrite,
            rows_prints=examples.fingerprints.get(split) or fingerprint_rows(rows),
        )
    eval_logits = None
    if "eval" in done:
        eval_logits = column_array(open_shards(done["eval"].folder), "teacher_logits")
    manifests = {split: each.manifest for split, each in done.items() if split not in MEASURING}
    return training_rows(RunFolder(folder), manifests, examples), eval_logits


def _train(
    recipe: Recipe, folder: Path, teacher: LoadedClassifier, rows: TrainingRows, overwrite: bool
) -> tuple[list[Trained], Mapping[str, dict[str, float]]]:
    """Train the students, choose among their starts by the dev score, then train the controls of those chosen."""

    def measured(plan: StudentPlan) -> StudentPlan:
        if plan.method == "ft":
            return plan  # its labels have all of the gradient
        return sized(plan, RunFolder(folder).sizes(plan.name), recipe, teacher, rows, overwrite=overwrite)

    def train_seeds(plan: StudentPlan) -> list[Trained]:
        return [
            Trained(
                plan,
                seed,
                train_stage(
                    RunFolder(folder).student(plan.name, seed),
                    plan,
                    seed,
                    recipe,
                    teacher,
                    rows,
                    overwrite=overwrite,
                ),
            )
            for seed in recipe.all_seeds
        ]

    trained: list[Trained] = []
    starts_tried: dict[str, dict[str, float]] = {}
    planned = [
        [measured(plan) for plan in candidates] for candidates in plan_students(recipe, depth_of(teacher.model.config))
    ]
    if ranks.is_first():
        _say_check([plan for candidates in planned for plan in candidates], recipe, folder, teacher)
    for candidates in planned:
        tried = {plan.start: train_seeds(plan) for plan in candidates}
        scores = {start: _mean_dev_score(each) for start, each in tried.items()} if len(tried) > 1 else {}
        chosen = max(tried, key=lambda start: scores.get(start, 0.0))  # of ties the first
        if scores:
            told = ", ".join(f"{start} {score:.4f}" for start, score in scores.items())
            progress.note(f"of the starts {told} on the development rows; {chosen} is kept")
            for each in (one for of_start in tried.values() for one in of_start):
                _warn_if_blind(each, len(rows.eval or ()))
            starts_tried[tried[chosen][0].plan.name] = scores
        trained += tried[chosen]
    if recipe.controls:
        students = list(dict.fromkeys(each.plan.name for each in trained))
        plans = [next(each.plan for each in trained if each.plan.name == name) for name in students]
        for control in plan_controls(plans, rows.counts):
            trained += train_seeds(measured(control))
    return trained, starts_tried


def _say_check(plans: Sequence[StudentPlan], recipe: Recipe, folder: Path, teacher: LoadedClassifier) -> None:
    """Log before the first step what each untrained student will learn from."""
    for plan in plans:
        is_waiting = not RunFolder(folder).student(plan.name, recipe.seed).exists()
        if plan.role == "student" and plan.sizes and is_waiting:  # controls are the same with a term left out
            for sentence in check_student(plan, teacher).sentences():
                progress.note(sentence)


def _warn_if_blind(trained: Trained, rows: int) -> None:
    """Warn of what a score on the development rows hides."""
    if blind := blind_words(BlindSpots(**trained.done.manifest.facts["blind_spots"]), rows):
        progress.warn(f"On the development rows {trained.plan.name} with seed {trained.seed} {blind}.")


def _mean_dev_score(trained: Sequence[Trained]) -> float:
    scores = [float(each.done.manifest.facts["selection"]["score"]) for each in trained]
    return sum(scores) / len(scores)
