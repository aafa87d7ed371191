"""The stages of a job before it begins, in their order, and how much of each is left.

One list serves the progress display and the forecast; a stage that an earlier call finished has nothing left.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pkd.data.encodings import Reader
from pkd.distillation.plan import StudentPlan, plan_controls
from pkd.distillation.race import FINALISTS, heats_of, race, winner
from pkd.encoder.families import depth_of
from pkd.encoder.load import shape_of
from pkd.jobs.pilot import Shape
from pkd.jobs.plan import RunPlan
from pkd.jobs.stages import (
    SWEEP,
    Ahead,
    annotating,
    annotating_name,
    averaging_name,
    counting_words,
    dropping_layers,
    encoding,
    encoding_name,
    finetuning,
    measuring_student,
    ranking_neurons,
    reporting,
    sizing_terms,
    timing_models,
    training_student,
)
from pkd.jobs.workload import Job
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import SweepSettings
from pkd.recipe.sweeping import Point, best_recipe, points_of
from pkd.runs.fingerprint import fingerprint
from pkd.training.checkpoints import checkpoint_folders
from pkd.training.schedule import epochs_of

_RAY_SECONDS = 15.0  # starting Ray, and loading torch and the teacher in each of its processes
_ASHA_KEEPS = 3  # a third of the trials continues after 1, 3, 9, ... epochs


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
        stages += counting_words(job, left.word_counts)
    if plan.narrow is not None:
        stages.append(replace(ranking_neurons(job), left=left.ranking()))
    if sweep is not None:
        tried = points_ahead(job, plan.points, sweep, left)
        best = left.best() if not tried.left else None  # until all are trained another may win
        stages.append(tried)
        plan = plan.at(best_recipe(plan.recipe, best or points_of(plan.recipe)[0]))
    races, plan = races_ahead(plan, job, left)
    return [*stages, *races, *students_ahead(plan, job, left, copies=copies)]


def teaching_ahead(plan: RunPlan, job: Job, left: Left = ALL) -> list[Ahead]:
    """All stages before the first student of a run whose teacher is there."""
    ranking = [replace(ranking_neurons(job), left=left.ranking())] if plan.narrow is not None else []
    return [*_passes(plan, job, left), *counting_words(job, left.word_counts), *ranking]


def _encodings(plan: RunPlan, job: Job, left: Left) -> list[Ahead]:
    """The word pieces of every split, once for each reader."""
    stages = []
    for number, (reader, splits) in enumerate(plan.readings(job.splits), start=1):
        for split in splits:
            left_of = left.encoding(reader, split)
            stages.append(encoding(job.as_read(reader.key), encoding_name(split, number), split, left=left_of))
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


def points_ahead(job: Job, points: Sequence[RunPlan], sweep: SweepSettings, left: Left = ALL) -> Ahead:
    """The untrained points of a sweep as one stage; as many run at once as fit on the machine, no weights are kept."""
    twins: dict[str, tuple[Recipe, StudentPlan]] = {}  # points that lead to the same training are trained once
    for point in points:
        plan, recipe = point.candidates[0], point.recipe
        twins.setdefault(fingerprint({"training": plan.inputs(), "metric": recipe.evaluation.metric}), (recipe, plan))
    shares = [(plan, left.point(recipe, plan)) for recipe, plan in twins.values()]
    waiting = [(training_student(job, plan, 0), plan, share) for plan, share in shares if share]
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


def races_ahead(plan: RunPlan, job: Job, left: Left = ALL) -> tuple[list[Ahead], RunPlan]:
    """The races between starts, and the plan with the starts that won, as far as these are known."""
    if not plan.has_races:
        return [], plan
    dropped, layers = left.dropped(), plan.teacher_layers
    stages = [replace(dropping_layers(job, layers), left=left.dropping())]
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
    stages = [replace(sizing_terms(job, plan), left=left.sizing(recipe, plan))] if sizes and plan.method != "ft" else []
    training = replace(training_student(job, plan.in_heat(heat), recipe.seed), bytes=0.0, left=left.heat(plan, heat))
    return [replace(stage, part="race") for stage in [*stages, training]]


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
        return [replace(training_student(job, plan, seed), left=left.training(recipe, plan, seed)) for seed in seeds]

    def sizing(plans: Sequence[StudentPlan]) -> list[Ahead]:
        told = [plan for plan in plans if plan.method != "ft"]  # of ft, the labels have the whole gradient
        return [replace(sizing_terms(job, plan), left=left.sizing(recipe, plan)) for plan in told]

    trainings = []
    for candidates, named in zip(planned, plan.students, strict=True):
        measured = {plan.name for plan in named if plan.wins_as is not None}  # in the race, under their own names
        trainings += as_many([sizing([plan]) for plan in candidates if plan.name not in measured], _needed(named))
    for candidates, named in zip(planned, plan.students, strict=True):
        trainings += as_many([learning(plan) for plan in candidates], _needed(named))
    trainings += as_many([[*sizing([plan]), *learning(plan)] for plan in controls], controls_needed)
    answers = as_many(
        [
            [replace(measuring_student(job, plan, seed), left=left.measuring(recipe, plan, seed)) for seed in seeds]
            for plan in [*students, *controls]
        ],
        len(chosen) + controls_needed,
    )
    is_new = any(stage.left for stage in [*trainings, *answers])
    ending = [*timing_models(job, [*students, *controls], recipe), reporting(job, chosen[0], copies)]
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


def training_left(partial: Path, steps: int) -> float:
    """The share of a training's steps after the newest checkpoint of its unfinished stage."""
    found = checkpoint_folders(partial)
    return max(0.0, 1.0 - int(found[0].name.rpartition("-")[2]) / max(1, steps)) if found else 1.0
