"""The heats of a search: the shapes within the budget train short, then longer, from one teacher pass.

Each training is a trial, as of a sweep: a sealed stage in the run folder's `trials/` that keeps scores and not weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pkd import progress
from pkd.distillation.heats import FINALISTS, LAST, Entrant, Halved, halve, heats_of, noise_of, places_after
from pkd.distillation.plan import StudentPlan
from pkd.distillation.race import heat_epochs
from pkd.errors import ResourceError, Stopped
from pkd.jobs.ahead import Left, as_many
from pkd.jobs.cluster import names_cluster
from pkd.jobs.finished import left_of
from pkd.jobs.plan import RunPlan
from pkd.jobs.run import Prepared
from pkd.jobs.stages import Ahead, training_student
from pkd.jobs.trials import Engine, Trial, here, on_ray, shared_of, train_points
from pkd.jobs.workload import Job
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import AUTO_START, StudentSettings, SweepSettings
from pkd.recipe.sweeping import Point
from pkd.reporting.front import Candidate, HeatScore, Shape
from pkd.runs.stage import is_begun
from pkd.search.time_left import TimeLeft, is_up
from pkd.training.schedule import epochs_of


@dataclass(frozen=True)
class Heats:
    """What the heats decided: the trained shapes that are trained in full, the best first, and every candidate."""

    finalists: list[Shape]
    candidates: list[Candidate]


def students_by_shape(plan: RunPlan) -> dict[Shape, tuple[StudentSettings, Sequence[StudentPlan]]]:
    """Each trained shape of a run's plan: its settings, and its candidates, one a start."""
    found: dict[Shape, tuple[StudentSettings, Sequence[StudentPlan]]] = {}
    for settings, candidates in zip(plan.recipe.students, plan.students, strict=True):
        first = candidates[0]
        found[Shape(layers=first.layers, width=first.width, student=settings.student)] = (settings, candidates)
    return found


def only(recipe: Recipe, *students: StudentSettings) -> Recipe:
    """The recipe with these students alone."""
    return dataclasses.replace(recipe, students=list(students))


def alive(candidates: Sequence[Candidate]) -> dict[Shape, Candidate]:
    """Each trained shape that is within the budget, by its fastest graph there, the fastest first."""
    found: dict[Shape, Candidate] = {}
    for one in sorted(candidates, key=lambda each: each.predicted.latency.value):
        if not one.over and not one.stopped:
            found.setdefault(one.shape.trained, one)
    return found


def run_heats(prepared: Prepared, candidates: Sequence[Candidate], clock: TimeLeft) -> Heats:
    """Bring the heats up to date.

    Args:
        prepared: the run, whose students are the trained shapes within the budget.
        candidates: all shapes, with what each is predicted to cost.
        clock: of the search; a heat that does not fit into its time is left out.

    Raises:
        Stopped: if a stop was requested; the checkpoint of the trial under way is kept.
        ResourceError: if every shape's training diverged.
    """
    within = alive(candidates)
    students = students_by_shape(prepared.plan)
    going = list(reversed(within)) if clock.seconds else list(within)  # without heats, the larger is likely the better
    scores = {shape: list[HeatScore]() for shape in within}
    stopped: dict[Shape, str] = {}
    tried: list[tuple[Point, RunPlan]] = []
    for number, heat in enumerate(heats_of(len(going)), start=1):
        entered = {shape: _in_heat(prepared.plan, *students[shape], heat) for shape in going}
        if not _fits(prepared.plan, entered, clock):
            progress.note(f"the time does not suffice for heat {number}; the best so far go on")
            break
        tried += entered.values()
        found = _train(prepared, tried, clock)[-len(entered) :]
        for (shape, (point, _)), score in zip(entered.items(), found, strict=True):
            if score is not None:
                known = None if math.isnan(score) else score
                scores[shape].append(HeatScore(epochs=point["training.num_train_epochs"], score=known))
        if all(score is None for score in found):
            break
        unknown = [shape for shape, score in zip(entered, found, strict=True) if score is None]
        rows = len(prepared.rows.eval or ())
        halved = _halve({s: (within[s], f) for s, f in zip(entered, found, strict=True) if f is not None}, heat, rows)
        by_name = {shape.name: shape for shape in entered}
        stopped |= {by_name[name]: why or f"heat {number}" for name, why in halved.stopped.items()}
        stopped |= dict.fromkeys(unknown, "the time was up")
        going = [by_name[name] for name in halved.kept]
        _tell(number, entered, found, going)
        if unknown:
            break
    if not going:
        raise ResourceError(
            "Every training of the first heats diverged, so there is nothing to choose from. Lower the learning rate."
        )
    stopped |= dict.fromkeys(going[FINALISTS:], "the time was up")
    return Heats(going[:FINALISTS], [_recorded(one, scores, stopped) for one in candidates])


def heats_ahead(plan: RunPlan, job: Job, left: Left) -> list[Ahead]:
    """The trainings of the heats and of the finalists; which shapes go on is not known yet, so all share the places."""
    students = list(students_by_shape(plan).values())
    places, stages = len(students), list[Ahead]()
    for heat in heats_of(places):
        entered = [_in_heat(plan, *each, heat)[1] for each in students]
        trainings = [
            dataclasses.replace(
                training_student(job, one.candidates[0], job.recipe.seed),
                part="heats",
                bytes=0.0,
                left=left.point(one.recipe, one.candidates[0]),
            )
            for one in entered
        ]
        stages += as_many([[each] for each in trainings], places)
        places = places_after(heat, places)
    seeds = plan.recipe.all_seeds
    whole = [
        [
            dataclasses.replace(
                training_student(job, candidates[0], seed), left=left.training(plan.recipe, candidates[0], seed)
            )
            for seed in seeds
        ]
        for _, candidates in students
    ]
    return [*stages, *as_many(whole, min(places, FINALISTS))]


def _recorded(one: Candidate, scores: Mapping[Shape, list[HeatScore]], stopped: Mapping[Shape, str]) -> Candidate:
    if one.over:
        return one
    shape = one.shape.trained
    return one.model_copy(update={"scores": scores[shape], "stopped": stopped.get(shape, "")})


def _in_heat(
    plan: RunPlan, settings: StudentSettings, candidates: Sequence[StudentPlan], heat: int
) -> tuple[Point, RunPlan]:
    """A shape's training in a heat, as the point of a sweep; where starts are to be chosen, from layers spread."""
    epochs = heat_epochs(heat, epochs_of(candidates[0].training))
    several = settings.student is None and (len(candidates) > 1 or settings.start == AUTO_START)
    start = "spread" if several else settings.start
    student = dataclasses.replace(settings, start=start, training={**settings.training, "num_train_epochs": epochs})
    point: Point = {
        "students.0.student": settings.student,
        "students.0.layers": candidates[0].layers,
        "students.0.width": settings.width,
        "training.num_train_epochs": epochs,
    }
    return {key: value for key, value in point.items() if value is not None}, plan.at(only(plan.recipe, student))


def _train(prepared: Prepared, tried: Sequence[tuple[Point, RunPlan]], clock: TimeLeft) -> list[float | None]:
    """The score of each trial, those of earlier heats too; nan where it diverged, None where the time was up."""
    try:
        with clock.ends_in_time(_shortest(prepared.plan, clock) + clock.of_ending()):
            records = train_points(
                [point for point, _ in tried], [plan for _, plan in tried], prepared.teaching, _engine(prepared, clock)
            )
    except Stopped as stopped:
        if not is_up(stopped):
            raise
        records = train_points(
            [point for point, _ in tried], [plan for _, plan in tried], prepared.teaching, lambda trials, on_end: None
        )
    if failed := next((record for record in records if record.status == "failed"), None):
        raise ResourceError(f"A trial failed: {failed.why} The same command again goes on from there.")
    by_point = {str(record.point): math.nan if record.score is None else record.score for record in records}
    return [by_point.get(str(point)) for point, _ in tried]


def _shortest(plan: RunPlan, clock: TimeLeft) -> float:
    """Seconds that are left of the shortest whole training; not looked up without a limit."""
    if clock.seconds is None:
        return 0.0
    left = left_of(plan)
    return min(of_whole(plan, left, candidates[0], clock) for candidates in plan.students)


def _engine(prepared: Prepared, clock: TimeLeft) -> Engine:
    """A Ray cluster where RAY_ADDRESS names one, else this process."""
    plan, teaching = prepared.plan, prepared.teaching
    if names_cluster():
        return on_ray(shared_of(plan, teaching), SweepSettings())

    def around(trial: Trial, student: StudentPlan) -> contextlib.AbstractContextManager[None]:
        # what is left of a begun training says nothing of how long a whole one takes
        return contextlib.nullcontext() if is_begun(trial.folder) else clock.learning_from(student)

    return here(teaching, plan, lambda trial: _may_begin(trial, plan, clock), around)


def _may_begin(trial: Trial, plan: RunPlan, clock: TimeLeft) -> bool:
    student = plan.at(trial.recipe).students[0][0]
    whole = min(clock.of_training(each[0]) for each in plan.students)
    return clock.left > clock.of_training(student) + whole + clock.of_ending()


def _fits(plan: RunPlan, entered: Mapping[Shape, tuple[Point, RunPlan]], clock: TimeLeft) -> bool:
    """Whether what is left of a heat, and then of the whole training of a shape, is forecast to fit into the time."""
    if clock.seconds is None:
        return True
    left, students = left_of(plan), students_by_shape(plan)
    trials = [(one.recipe, one.students[0][0]) for _, one in entered.values()]
    heat = sum(clock.of_training(student, [left.point(recipe, student)]) for recipe, student in trials)
    whole = min(of_whole(plan, left, students[shape][1][0], clock) for shape in entered)
    return clock.left > heat + whole + clock.of_ending()


def of_whole(plan: RunPlan, left: Left, student: StudentPlan, clock: TimeLeft) -> float:
    """Seconds that are left of the whole training of a student, with every seed."""
    recipe = plan.recipe
    return clock.of_training(student, [left.training(recipe, student, seed) for seed in recipe.all_seeds])


def _halve(found: Mapping[Shape, tuple[Candidate, float]], heat: int, rows: int) -> Halved:
    entrants = [
        Entrant(shape.name, one.predicted.latency.value, one.predicted.bytes, score)
        for shape, (one, score) in found.items()
    ]
    noise = noise_of([score for _, score in found.values()], rows)
    return halve(entrants, places_after(heat, len(entrants)), noise, is_last=heat == LAST)


def _tell(number: int, entered: Mapping[Shape, object], found: Sequence[float | None], going: Sequence[Shape]) -> None:
    told = ", ".join(
        f"{shape.name} {score:.4f}" for shape, score in zip(entered, found, strict=True) if score is not None
    )
    kept = ", ".join(shape.name for shape in going)
    progress.note(f"heat {number}: {told} on the development rows; {kept} go{'es' * (len(going) == 1)} on")
