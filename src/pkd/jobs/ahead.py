"""The stages of a job before it begins: what each computes and writes, and how much of it is left.

One list serves the progress display and the forecast; a stage that an earlier call finished has nothing left.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from pkd import ranks
from pkd.data.encodings import Reader, bytes_per_encoded_row
from pkd.distillation.annotation import bytes_per_row
from pkd.distillation.dropping import ROWS
from pkd.distillation.ledger import BATCHES
from pkd.distillation.narrowing import BATCH_SIZE as ROWS_RANKED
from pkd.distillation.narrowing import BATCHES as BATCHES_RANKED
from pkd.distillation.plan import StudentPlan, plan_controls
from pkd.distillation.race import FINALISTS, heats_of, race, winner
from pkd.distillation.terms import objective_of
from pkd.encoder.families import depth_of
from pkd.encoder.load import shape_of
from pkd.evaluation.word_counts import MOST_ROWS
from pkd.jobs.pilot import Shape, Work
from pkd.jobs.plan import RunPlan
from pkd.jobs.workload import MEASURING, Job, Split
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import SweepSettings, TrainingSettings
from pkd.recipe.sweeping import Point, best_recipe, points_of
from pkd.runs.fingerprint import fingerprint
from pkd.serving import speed
from pkd.training.checkpoints import checkpoint_bytes, checkpoint_folders
from pkd.training.schedule import epochs_of, patience_of

_FOLDER_BYTES = 1 << 20  # a saved model without its weights: tokenizer, configuration, manifest
_PAGE_BYTES = 1 << 20  # records and report
_TRAINING_SECONDS = 1.0  # a training without its steps: building, saving, the first batch
_MODEL_SECONDS = 0.3  # to load a model that is measured
_PAGE_SECONDS = 4.0  # to compare, and to draw the report
_RAY_SECONDS = 15.0  # starting Ray, and loading torch and the teacher in each of its processes
_ROW_SECONDS = 6e-5  # to read and tokenise a row
_COUNTED_ROW_SECONDS = 2e-4  # to fit word counts to it
_TIMED_ROUNDS, _TIMED_ROWS = 3, 256  # approximate, for timing the models side by side
_ASHA_KEEPS = 3  # a third of the trials continues after 1, 3, 9, ... epochs

FINETUNING = "fine-tune the teacher"
SWEEP = "sweep"
WORD_COUNTS = "measure the word-count baseline"
RANKING = "rank the teacher's neurons"
DROPPING = "drop layers one by one"
REPORTING = "compare and report"

Part = Literal["teacher", "pass", "ranking", "points", "race", "heats", "students", "measuring"]


@dataclass(frozen=True)
class Ahead:
    """One stage of a job that is about to run.

    Attributes:
        name: as in the progress display.
        part: the part of the job it belongs to.
        works: what its models compute.
        seconds: everything else.
        bytes: what it leaves on the disk.
        meanwhile: the most bytes it uses besides, until it is finished.
        written: bytes written in all.
        trainings: their number, of points for a sweep.
        left: the share that is not done yet.
        least: the share of what is left that may suffice if training ends early.
        model: the name of the trained model.
        at_once: how many processes share its work.
    """

    name: str
    part: Part
    works: tuple[Work, ...] = ()
    seconds: float = 0.0
    bytes: float = 0.0
    meanwhile: float = 0.0
    written: float = 0.0
    trainings: float = 0.0
    left: float = 1.0
    least: float = 1.0
    model: str = ""  # that is trained
    at_once: float = 1.0


@dataclass(frozen=True)
class Left:
    """The share of each stage that an earlier call has left; 1 without one.

    Attributes:
        finetuning: of the teacher of a number.
        word_counts: of the baseline that the teacher is compared with.
        encoding: of a split for a reader.
        annotation: of the pass of the teacher of a number over a split, for these layers.
        averaging: of several teachers' answers to a split, for these layers.
        ranking: of the measure of the teacher's neurons.
        dropping: of greedy dropping.
        dropped: its order of the teacher's layers, if known.
        heat: of a student's training in a heat of the race between its starts.
        heat_score: the score of that training, if known.
        sizing: of the measure of a student's loss terms.
        training: of a student with a seed.
        measuring: of its logits on the measured rows.
        point: of a sweep's point.
        report: of the comparisons and the page.
        best: the best point of a sweep, if known.
    """

    finetuning: Callable[[int], float] = lambda number: 1.0
    word_counts: float = 1.0
    encoding: Callable[[Reader, str], float] = lambda reader, split: 1.0
    annotation: Callable[[int, str, Sequence[int]], float] = lambda number, split, layers: 1.0
    averaging: Callable[[str, Sequence[int]], float] = lambda split, layers: 1.0
    ranking: Callable[[], float] = lambda: 1.0
    dropping: Callable[[], float] = lambda: 1.0
    dropped: Callable[[], Sequence[int]] = lambda: ()
    heat: Callable[[StudentPlan, int], float] = lambda plan, heat: 1.0
    heat_score: Callable[[StudentPlan, int], float | None] = lambda plan, heat: None
    sizing: Callable[[Recipe, StudentPlan], float] = lambda recipe, plan: 1.0
    training: Callable[[Recipe, StudentPlan, int], float] = lambda recipe, plan, seed: 1.0
    measuring: Callable[[Recipe, StudentPlan, int], float] = lambda recipe, plan, seed: 1.0
    point: Callable[[Recipe, StudentPlan], float] = lambda recipe, plan: 1.0
    report: Callable[[], float] = lambda: 1.0
    best: Callable[[], Point | None] = lambda: None


ALL = Left()


# Stages -------------------------------------------------------------------------------------------------------------


def stages_of_run(plan: RunPlan, job: Job, left: Left = ALL, *, copies: int = 0) -> list[Ahead]:
    """All stages of a run or a sweep, in their order.

    Args:
        plan: of the run.
        job: its amount of work.
        left: what an earlier call has left of them.
        copies: how many copies of the best student are made at the end.
    """
    finetune, sweep = plan.recipe.teacher.finetune, plan.recipe.sweep
    stages: list[Ahead] = []
    if finetune is not None:
        for number in plan.teacher_numbers:
            stages += finetuning(job, finetune, left=left.finetuning(number), number=number)
    stages += _passes(plan, job, left)
    if finetune is None:
        stages += _counting_words(job, left.word_counts)
    if plan.narrow is not None:
        stages.append(replace(_ranking(job), left=left.ranking()))
    if sweep is not None:
        tried = points_ahead(job, plan.points, sweep, left)
        best = left.best() if not tried.left else None  # until all are trained another may win
        stages.append(tried)
        plan = plan.at(best_recipe(plan.recipe, best or points_of(plan.recipe)[0]))
    races, plan = races_ahead(plan, job, left)
    return [*stages, *races, *students_ahead(plan, job, left, copies=copies)]


def finetuning_name(number: int) -> str:
    """The name of the fine-tuning of the teacher of a number in the progress."""
    return FINETUNING if number == 1 else f"fine-tune teacher {number}"


def finetuning(job: Job, settings: TrainingSettings, *, left: float = 1.0, number: int = 1) -> list[Ahead]:
    """Fine-tuning the teacher of a number, and the baseline that it is compared with."""
    works, name = _training(job, job.shape, settings), finetuning_name(number)
    trained = _training_stage(job, name, "teacher", job.shape, settings, works, model="teacher", left=left)
    return [trained, *_counting_words(job, left)]


def annotating_name(split: str, number: int) -> str:
    """The name of a teacher's pass over a split in the progress."""
    return f"annotate {split}" if number == 1 else f"annotate {split} by teacher {number}"


def averaging_name(split: str) -> str:
    """The name of averaging several teachers' answers to a split in the progress."""
    return f"average the answers to {split}"


def annotating(
    job: Job, name: str, split: str, layers: Sequence[int], *, left: float = 1.0, shape: Shape | None = None
) -> Ahead:
    """A teacher's pass over a split; for rows that only measure, logits alone, in float32.

    `shape` is the teacher's, by default the job's.
    """
    settings, rows, shape = job.recipe.annotation, job.splits[split], shape or job.shape
    teaches = split not in MEASURING
    a_row = rows.text_bytes + bytes_per_row(
        max(1, len(job.outputs.output_names)),
        shape.config.hidden_size,
        len(layers) if teaches else 0,
        settings,
        parts=rows.answers,
    )
    exact = not teaches or job.is_exact(settings.precision)
    return Ahead(
        name=name,
        part="pass",
        works=(Work(shape, "pass", rows.all_tokens, exact=exact),),
        seconds=rows.rows * _ROW_SECONDS,
        bytes=rows.rows * a_row,
        written=rows.rows * a_row,
        left=left,
    )


def encoding_name(split: str, number: int) -> str:
    """The name of encoding a split for the reader of a number in the progress."""
    return f"encode {split}" if number == 1 else f"encode {split}, tokenizer {number}"


def _encodings(plan: RunPlan, job: Job, left: Left) -> list[Ahead]:
    """The word pieces of every split, once for each reader."""
    stages = []
    for number, (reader, splits) in enumerate(plan.readings(job.splits), start=1):
        for split in splits:
            rows = job.as_read(reader.key).splits[split]
            size = rows.rows * bytes_per_encoded_row(
                rows.tokens,
                choices=job.choices if job.choices > 1 else 0,
                token_types="token_type_ids" in job.sample.column_names,
            )
            stages.append(
                Ahead(
                    name=encoding_name(split, number),
                    part="pass",
                    seconds=rows.rows * _ROW_SECONDS,
                    bytes=size,
                    written=size,
                    left=left.encoding(reader, split),
                )
            )
    return stages


def _passes(plan: RunPlan, job: Job, left: Left) -> list[Ahead]:
    """Each teacher's pass over every split, and the mean of several teachers' answers."""
    layers, stages = plan.stored_layers, _encodings(plan, job, left)
    for number in plan.teacher_numbers:
        stored = layers if number == plan.recipe.teacher.lead + 1 else []
        shape = _shape_of_teacher(plan, job, number)
        read = job.as_read(plan.teacher_readers[number - 1].key)
        for split in job.splits:
            name, of_pass = annotating_name(split, number), left.annotation(number, split, stored)
            stages.append(annotating(read, name, split, stored, left=of_pass, shape=shape))
    if len(plan.teacher_numbers) > 1:
        for split in job.splits:
            of_mean = annotating(job, averaging_name(split), split, layers, left=left.averaging(split, layers))
            stages.append(replace(of_mean, works=()))
    return stages


def _shape_of_teacher(plan: RunPlan, job: Job, number: int) -> Shape:
    """The shape of a teacher; the job's own where they have the same, of which one is timed."""
    if plan.loaded is None:
        return job.shape
    teacher = plan.loaded.each[number - 1]
    if shape_of(teacher) == shape_of(plan.teacher):
        return job.shape
    return Shape(teacher.name, depth_of(teacher.model.config), teacher.model.config)


def races_ahead(plan: RunPlan, job: Job, left: Left = ALL) -> tuple[list[Ahead], RunPlan]:
    """The races between starts, and the plan with the starts that won, as far as these are known."""
    if not plan.has_races:
        return [], plan
    dropped, layers = left.dropped(), plan.teacher_layers
    stages = [replace(_dropping(job, layers), left=left.dropping())]
    students: list[Sequence[StudentPlan]] = []
    for candidates in plan.planned(dropped):
        if candidates[0].wins_as is None:
            students.append(candidates)
            continue
        if not dropped:  # one more, whose layers are not known yet
            unknown = f"{candidates[0].name} by greedy dropping"
            candidates = [*candidates, replace(candidates[0], name=unknown, start=unknown)]
        starts = {candidate.start: candidate for candidate in candidates}

        def heat_score(start: str, heat: int, starts: dict[str, StudentPlan] = starts) -> float | None:
            return left.heat_score(starts[start], heat)

        heats = list(race(list(starts), heat_score, epochs_of(candidates[0].training)))
        for number, heat in enumerate(heats_of(len(starts))):
            going = [starts[start] for start in heats[number - 1].kept] if 0 < number <= len(heats) else candidates
            trainings = [_in_heat(job, plan.recipe, candidate, heat, left, sizes=not number) for candidate in going]
            stages += as_many(trainings, FINALISTS if number else len(going))
        chosen = winner(list(starts), heats)
        students.append([starts[chosen].after_race()] if chosen is not None else candidates)
    return stages, plan.started(students)


def _in_heat(job: Job, recipe: Recipe, plan: StudentPlan, heat: int, left: Left, *, sizes: bool) -> list[Ahead]:
    """A start in a heat of its race; before the first its loss terms are measured."""
    stages = [replace(_sizing(job, plan), left=left.sizing(recipe, plan))] if sizes and plan.method != "ft" else []
    training = replace(_student(job, plan.in_heat(heat), recipe.seed), bytes=0.0, left=left.heat(plan, heat))
    return [replace(stage, part="race") for stage in [*stages, training]]


def _ranking(job: Job) -> Ahead:
    """A forward pass of the teacher over some batches, and the backward pass through its activations alone."""
    learnt = [job.splits[split] for split in ("train", *job.transfer)]
    rows = sum(split.rows for split in learnt)
    tokens = sum(split.all_tokens for split in learnt) * min(1.0, BATCHES_RANKED * ROWS_RANKED / max(1, rows))
    return Ahead(RANKING, "ranking", (Work(job.shape, "train", 2 / 3 * tokens, exact=True),))


def _dropping(job: Job, layers: int) -> Ahead:
    """Greedy dropping: a forward pass of each model that lacks one more layer, over some rows."""
    rows = min(ROWS, job.splits["train"].rows)
    passes = sum(kept * (kept - 1) for kept in range(2, layers + 1)) / layers  # of the whole teacher
    models = layers * (layers + 1) / 2 - 1
    work = Work(job.shape, "pass", passes * rows * job.splits["train"].tokens, exact=True)
    return Ahead(DROPPING, "race", (work,), seconds=models * _MODEL_SECONDS)


def students_ahead(plan: RunPlan, job: Job, left: Left = ALL, *, copies: int = 0) -> list[Ahead]:
    """Training and measuring a run's students and controls.

    Of several starts that are named all are trained, and of those in a race one; which one is measured and has controls
    is not known yet.
    """
    recipe = plan.recipe
    rows, seeds = job.rows, recipe.all_seeds
    planned = [_finalists(candidates) for candidates in plan.students]
    students = [plan for candidates in planned for plan in candidates]
    chosen = [candidates[0] for candidates in planned]
    controls = plan_controls(students, rows) if recipe.controls else []
    controls_needed = len(plan_controls(chosen, rows)) if recipe.controls else 0

    def learning(plan: StudentPlan) -> list[Ahead]:
        return [replace(_student(job, plan, seed), left=left.training(recipe, plan, seed)) for seed in seeds]

    def sizing(plans: Sequence[StudentPlan]) -> list[Ahead]:
        told = [plan for plan in plans if plan.method != "ft"]  # of ft, the labels have the whole gradient
        return [replace(_sizing(job, plan), left=left.sizing(recipe, plan)) for plan in told]

    trainings = []
    for candidates, named in zip(planned, plan.students, strict=True):
        measured = {plan.name for plan in named if plan.wins_as is not None}  # in the race, under their own names
        trainings += as_many([sizing([plan]) for plan in candidates if plan.name not in measured], _needed(named))
    for candidates, named in zip(planned, plan.students, strict=True):
        trainings += as_many([learning(plan) for plan in candidates], _needed(named))
    trainings += as_many([[*sizing([plan]), *learning(plan)] for plan in controls], controls_needed)
    answers = as_many(
        [
            [replace(_measuring(job, plan, seed), left=left.measuring(recipe, plan, seed)) for seed in seeds]
            for plan in [*students, *controls]
        ],
        len(chosen) + controls_needed,
    )
    is_new = any(stage.left for stage in [*trainings, *answers])
    written = _PAGE_BYTES + copies * (job.weights_of(job.shape_of(chosen[0])) + _FOLDER_BYTES)
    ending = [
        *_timing(job, [*students, *controls], recipe),
        Ahead(REPORTING, "measuring", (), _PAGE_SECONDS, bytes=written, written=written),
    ]
    of_ending = 1.0 if is_new else left.report()
    return [*trainings, *answers, *(replace(stage, left=of_ending) for stage in ending)]


def _finalists(candidates: Sequence[StudentPlan]) -> list[StudentPlan]:
    """The students that may be trained in full, under the names that they then have."""
    return list({plan.after_race().name: plan.after_race() for plan in candidates}.values())


def _needed(candidates: Sequence[StudentPlan]) -> int:
    """How many of a student's starts are trained in full: all that it names, or the winner of their race."""
    return len(candidates) if candidates[0].wins_as is None else 1


def as_many(models: Sequence[list[Ahead]], needed: int) -> list[Ahead]:
    """The stages of models of which `needed` will run; which is not known yet, so unfinished ones share the rest."""
    waiting = sum(any(stage.left > 0 for stage in stages) for stages in models)
    share = min(1.0, max(0, needed - (len(models) - waiting)) / max(1, waiting))
    return [
        replace(stage, left=share * stage.left, trainings=share * stage.trainings)
        for stages in models
        for stage in stages
    ]


def points_ahead(job: Job, points: Sequence[RunPlan], sweep: SweepSettings, left: Left = ALL) -> Ahead:
    """The untrained points of a sweep as one stage; as many run at once as fit on the machine, no weights are kept."""
    twins: dict[str, tuple[Recipe, StudentPlan]] = {}  # points that lead to the same training are trained once
    for point in points:
        plan, recipe = point.candidates[0], point.recipe
        twins.setdefault(fingerprint({"training": plan.inputs(), "metric": recipe.evaluation.metric}), (recipe, plan))
    shares = [(plan, left.point(recipe, plan)) for recipe, plan in twins.values()]
    waiting = [(_student(job, plan, 0), plan, share) for plan, share in shares if share]
    if not waiting:
        return Ahead(SWEEP, "points", left=0.0)
    slots = max(1, min(_slots(job, sweep), len(waiting)))
    threads = max(1, int(sweep.cpus_per_trial))  # as Ray sets them unless OMP_NUM_THREADS is set
    if os.environ.get("OMP_NUM_THREADS") or threads == torch.get_num_threads():
        threads = 0
    longest = max(epochs_of(plan.training) for _, plan, _ in waiting)
    return Ahead(
        name=SWEEP,
        part="points",
        works=tuple(
            replace(work, tokens=part * work.tokens, steps=part * work.steps, threads=threads)
            for stage, _, part in waiting
            for work in stage.works
        ),
        seconds=_RAY_SECONDS + sum(stage.seconds for stage, _, _ in waiting) / slots,
        meanwhile=slots * max(stage.meanwhile for stage, _, _ in waiting),
        written=sum(stage.written for stage, _, _ in waiting),
        trainings=len(waiting),
        least=_asha_share(longest) if sweep.early_stopping == "asha" else 1.0,
        at_once=len(waiting) / math.ceil(len(waiting) / slots),
    )


def teaching_ahead(plan: RunPlan, job: Job, left: Left = ALL) -> list[Ahead]:
    """All stages before the first student of a run whose teacher is there."""
    ranking = [replace(_ranking(job), left=left.ranking())] if plan.narrow is not None else []
    return [*_passes(plan, job, left), *_counting_words(job, left.word_counts), *ranking]


def training_ahead(job: Job, plan: StudentPlan) -> Ahead:
    """The training of one student with one seed."""
    return _student(job, plan, job.recipe.seed)


def stage_name(plan: StudentPlan, seed: int) -> str:
    """The name of a student's training in the progress display."""
    return f"train {plan.name} seed {seed}"


def sizing_name(plan: StudentPlan) -> str:
    """The name of measuring a student's loss terms in the progress display."""
    return f"measure the loss terms of {plan.name}"


def training_left(partial: Path, steps: int) -> float:
    """The share of a training's steps after the newest checkpoint of its unfinished stage."""
    found = checkpoint_folders(partial)
    return max(0.0, 1.0 - int(found[0].name.rpartition("-")[2]) / max(1, steps)) if found else 1.0


def steps_of(rows: int, settings: TrainingSettings) -> int:
    """The optimiser steps of a training."""
    batches = math.ceil(rows / (settings.per_device_train_batch_size * ranks.world_size()))
    return math.ceil(math.ceil(batches / settings.gradient_accumulation_steps) * epochs_of(settings))


# What they compute --------------------------------------------------------------------------------------------------


def _student(job: Job, plan: StudentPlan, seed: int) -> Ahead:
    job, shape = job.read_by(plan), job.shape_of(plan)
    works = _training(job, shape, plan.training, plan)
    return _training_stage(job, stage_name(plan, seed), "students", shape, plan.training, works, model=plan.name)


def _training_stage(
    job: Job,
    name: str,
    part: Part,
    shape: Shape,
    settings: TrainingSettings,
    works: tuple[Work, ...],
    *,
    model: str,
    left: float = 1.0,
) -> Ahead:
    size = job.weights_of(shape)
    return Ahead(
        name=name,
        part=part,
        works=works,
        seconds=_TRAINING_SECONDS + (_tokenising(job, "train", "eval") if part == "teacher" else 0.0),
        bytes=size + _FOLDER_BYTES,
        meanwhile=checkpoint_bytes(int(size) // 4, settings),
        written=size + epochs_of(settings) * 3 * size,
        trainings=1.0,
        left=left,
        least=_patient_share(settings),
        model=model,
    )


def _training(job: Job, shape: Shape, settings: TrainingSettings, plan: StudentPlan | None = None) -> tuple[Work, ...]:
    """A training's passes and steps, and its evaluation on the development rows after each epoch."""
    splits = ["train", *(job.transfer if plan is not None and plan.unlabelled else [])]
    tokens = sum(job.splits[split].all_tokens for split in splits)
    rows = sum(job.splits[split].rows for split in splits)
    if plan is not None and plan.rows_an_epoch is not None:
        rows, tokens = plan.rows_an_epoch, plan.rows_an_epoch * job.splits["train"].tokens
    epochs, exact = epochs_of(settings), job.is_exact(settings.precision)
    works = [Work(shape, "train", epochs * tokens, steps_of(rows, settings), exact=exact)]
    if "eval" in job.splits:
        works.append(Work(shape, "pass", math.ceil(epochs) * job.splits["eval"].all_tokens, exact=exact))
    return tuple(works)


def _sizing(job: Job, plan: StudentPlan) -> Ahead:
    """One forward pass of a student over the first batches, and one backward pass per loss term."""
    terms = len(objective_of(plan.loss, unlabelled=plan.unlabelled and bool(job.transfer)))
    rows = min(plan.learns_from(job.rows), BATCHES * plan.training.per_device_train_batch_size)
    tokens = rows * job.read_by(plan).splits["train"].tokens * (1 + 2 * terms) / 3
    exact = job.is_exact(plan.training.precision)
    return Ahead(sizing_name(plan), "students", (Work(job.shape_of(plan), "train", tokens, exact=exact),))


def _measuring(job: Job, plan: StudentPlan, seed: int) -> Ahead:
    rows = _measured(job.read_by(plan))
    return Ahead(
        name=f"evaluate {plan.name}-seed{seed}",
        part="measuring",
        works=(Work(job.shape_of(plan), "pass", rows.all_tokens, exact=True),),
        seconds=_MODEL_SECONDS + rows.rows * _ROW_SECONDS,
        bytes=4 * rows.rows * len(job.outputs.output_names),
    )


def _counting_words(job: Job, left: float) -> list[Ahead]:
    if "eval" not in job.splits or job.outputs.kind.fit_word_counts is None:
        return []
    seconds = 1.0 + _COUNTED_ROW_SECONDS * min(MOST_ROWS, job.splits["train"].rows)
    return [Ahead(WORD_COUNTS, "measuring", seconds=seconds, left=left)]


def _timing(job: Job, plans: Sequence[StudentPlan], recipe: Recipe) -> list[Ahead]:
    """Teacher and students take turns on some of the measured rows."""
    if not recipe.evaluation.measure_speed:
        return []
    split = _measured(job)
    tokens = min(_TIMED_ROWS, split.rows) * split.tokens
    shapes = dict.fromkeys([job.shape, *map(job.shape_of, plans)])
    works = tuple(Work(shape, "pass", (_TIMED_ROUNDS + 0.25) * tokens, exact=True) for shape in shapes)
    return [Ahead(speed.STAGE, "measuring", works)]


def _measured(job: Job) -> Split:
    """The rows that results are measured on; a recipe that is only checked may have none."""
    return job.splits.get("test") or job.splits.get("eval") or Split(0, 0.0, 0.0)


def _tokenising(job: Job, *splits: str) -> float:
    return sum(job.splits[split].rows * _ROW_SECONDS for split in splits if split in job.splits)


def _patient_share(settings: TrainingSettings) -> float:
    """The least share of its epochs that a training with early stopping runs."""
    patience = patience_of(settings)
    return 1.0 if patience is None else min(1.0, (1 + patience) / epochs_of(settings))


def _asha_share(epochs: float) -> float:
    """The share of their epochs that trials run on average, if a third continues after 1, 3, 9, ... epochs."""
    trained, rung, going, sum_ = 0.0, 1.0, 1.0, 0.0
    while trained < epochs:
        until = min(rung, epochs)
        sum_ += going * (until - trained)
        trained, rung, going = until, rung * _ASHA_KEEPS, going / _ASHA_KEEPS
    return sum_ / epochs


def _slots(job: Job, sweep: SweepSettings) -> int:
    """The number of trials that run at once on this machine, as Ray counts."""
    if job.device.type == "cuda":
        return int(torch.cuda.device_count() / (sweep.gpus_per_trial or 1.0))
    return int((os.cpu_count() or 1) / sweep.cpus_per_trial)
