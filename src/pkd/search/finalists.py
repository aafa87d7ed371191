"""The finalists of a search: trained with full effort and all seeds as `pkd distill` trains, and exported."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.data.labels import label_array
from pkd.data.tokenize import fingerprint_rows, rows_as_texts
from pkd.distillation.plan import StudentPlan
from pkd.encoder.load import LoadedClassifier, load_classifier, with_outputs
from pkd.errors import DivergedError, ResourceError, Stopped, TeacherError
from pkd.jobs.export import Limits, MeasuredTexts, export_stage, traced_once
from pkd.jobs.finished import left_of
from pkd.jobs.judge import Outcome, Trained
from pkd.jobs.plan import RunPlan
from pkd.jobs.race import race_starts
from pkd.jobs.run import Prepared, train_students
from pkd.jobs.sizes import size_inputs, sized
from pkd.jobs.train import has_best_so_far, so_far_stage, train_stage, training_inputs
from pkd.reporting.front import REFUSED_EXPORT, Candidate, Shape
from pkd.reporting.results import Race
from pkd.runs.fingerprint import fingerprint
from pkd.runs.seal import MANIFEST, copy_folder, partial_of, read_manifest, set_aside
from pkd.runs.stage import Done, is_begun, library_versions, run_stage, standing
from pkd.search.heats import of_whole, only, students_by_shape
from pkd.search.random_graphs import PRECISIONS
from pkd.search.time_left import TimeLeft, is_up
from pkd.serving.formats import ONNX_BY_PRECISION

REFUSED = "refused export"
_GATE = Limits()  # int8's own, as `pkd export` has it


@dataclass(frozen=True)
class Finalist:
    """A shape that was trained in full, with every seed; `best` is the seed that is exported."""

    shape: Shape
    trained: list[Trained]
    best: Trained
    starts_tried: Mapping[str, dict[str, float]] = field(default_factory=dict)
    races: Mapping[str, Race] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """A finalist in one precision, and its folder."""

    shape: Shape
    finalist: Finalist
    done: Done


def train_finalists(prepared: Prepared, shapes: Sequence[Shape], clock: TimeLeft, *, overwrite: bool) -> list[Finalist]:
    """Train the finalists one after the other, the best of the heats first, as the time allows.

    There is always a first: where the time ends its training, its best epoch so far is taken, but one epoch is waited
    for. A later call goes on with that training.

    Raises:
        Stopped: if a stop was requested; checkpoints are kept.
        ResourceError: if every training diverged.
    """
    finalists: list[Finalist] = []
    for shape in _that_fit(prepared.plan, shapes, clock):
        needed = _needed(prepared.plan, shape, clock) + clock.of_ending(len(finalists) + 1)
        if finalists and needed > clock.left:
            progress.note(f"the time does not suffice for {shape.name}; the same command with more time goes on there")
            continue
        once = None if finalists else functools.partial(_is_something, prepared.plan, shape)
        try:
            with clock.ends_in_time(clock.of_ending(max(1, len(finalists))), once):
                finalists.append(_trained(prepared, shape, overwrite=overwrite))
        except DivergedError as error:
            progress.warn(f"The training of {shape.name} diverged, so another shape is taken. {error}")
        except Stopped as stopped:
            if not is_up(stopped):
                raise
            if not finalists:
                finalists.append(_so_far(prepared, shape))
            progress.note(f"the time is up for {shape.name}; the same command with more time goes on there")
    if not finalists:
        raise ResourceError("The training of every finalist diverged. Lower the learning rate.")
    return finalists


def _that_fit(plan: RunPlan, shapes: Sequence[Shape], clock: TimeLeft) -> list[Shape]:
    """The shapes in their order, but those first whose whole training fits into the time."""
    return sorted(shapes, key=lambda shape: _needed(plan, shape, clock) + clock.of_ending() > clock.left)


def _needed(plan: RunPlan, shape: Shape, clock: TimeLeft) -> float:
    """Seconds that are left of a shape's whole training; not looked up without a limit."""
    return 0.0 if clock.seconds is None else of_whole(plan, left_of(plan), students_by_shape(plan)[shape][1][0], clock)


def _trained(prepared: Prepared, shape: Shape, *, overwrite: bool) -> Finalist:
    """Choose the shape's start where that is asked for, and train it with every seed."""
    one, races = _raced(prepared, shape, overwrite=overwrite)
    trained, starts_tried = train_students(one, overwrite=overwrite)
    return Finalist(shape, trained, max(trained, key=_score), starts_tried, races)


def _raced(prepared: Prepared, shape: Shape, *, overwrite: bool) -> tuple[Prepared, dict[str, Race]]:
    """The run of one shape with the start that won, where starts race."""
    settings, _ = students_by_shape(prepared.plan)[shape]
    one = prepared.at(only(prepared.plan.recipe, settings))
    for candidate in one.plan.candidates:
        _take_sizes(one, candidate)
    plan, races = race_starts(one.plan, one.teaching, overwrite=overwrite)
    return replace(one, plan=plan), races


def _is_something(plan: RunPlan, shape: Shape) -> bool:
    """Whether a training of the shape has an epoch to make a student of, or is whole."""
    _, candidates = students_by_shape(plan)[shape]
    folders = [
        plan.folder.student(each.wins_as or each.name, seed) for each in candidates for seed in plan.recipe.all_seeds
    ]
    return any((folder / MANIFEST).is_file() or has_best_so_far(folder) for folder in folders)


def _so_far(prepared: Prepared, shape: Shape) -> Finalist:
    """The shape as far as its trainings came: those that are whole, else the best epoch of the one under way."""
    one, races = _raced(prepared, shape, overwrite=False)
    run, teaching = one.plan.folder, one.teaching
    whole: list[Trained] = []
    begun: list[tuple[StudentPlan, int]] = []
    for candidate, seed in itertools.product(one.plan.candidates, one.plan.recipe.all_seeds):
        folder = run.student(candidate.name, seed)
        if not is_begun(folder):
            continue
        plan = (
            candidate
            if candidate.method == "ft"
            else sized(candidate, run.sizes(candidate.name), teaching, overwrite=False)
        )
        if standing(folder, training_inputs(plan, seed, teaching)) == "kept":
            whole.append(Trained(plan, seed, train_stage(folder, plan, seed, teaching, overwrite=False)))
        elif has_best_so_far(folder):
            begun.append((plan, seed))
    if not whole:
        plan, seed = begun[0]
        place, training = run.student_so_far(plan.name, seed), run.student(plan.name, seed)
        whole = [Trained(plan, seed, so_far_stage(place, training, plan, seed, teaching))]
    best = max(whole, key=_score)
    return Finalist(shape, [each for each in whole if each.plan.name == best.plan.name], best, {}, races)


def _take_sizes(one: Prepared, candidate: StudentPlan) -> None:
    """Take the sizes of a loss's terms from the heats, which measured the same under the hash of its inputs."""
    run = one.plan.folder
    known = run.sizes(fingerprint(size_inputs(candidate, one.teaching))[:16])
    if (known / MANIFEST).is_file() and not is_begun(run.sizes(candidate.name)):
        copy_folder(known, run.sizes(candidate.name))


def _score(trained: Trained) -> float:
    return float(trained.done.manifest.facts["selection"]["score"])


def outcome_of(prepared: Prepared, finalists: Sequence[Finalist]) -> Outcome:
    """The run of the finalists, to be judged."""
    students = students_by_shape(prepared.plan)
    plan = prepared.plan.at(only(prepared.plan.recipe, *(students[each.shape][0] for each in finalists)))
    return Outcome(
        plan=plan,
        trained=[trained for each in finalists for trained in each.trained],
        starts_tried={name: tried for each in finalists for name, tried in each.starts_tried.items()},
        races={name: race for each in finalists for name, race in each.races.items()},
        learnt=prepared.rows.counts,
        level=prepared.level,
    )


def export_finalists(
    plan: RunPlan, finalists: Sequence[Finalist], candidates: Sequence[Candidate], *, overwrite: bool
) -> list[Exported]:
    """Export each finalist in the precisions that are within the budget, but for what int8's own gate refuses."""
    within = {one.shape for one in candidates if not one.over}
    exported = []
    for finalist in finalists:
        student = finalist.best.done
        loaded = with_outputs(load_classifier(str(student.folder)), plan.examples.outputs)
        traced = traced_once(loaded)
        for precision in PRECISIONS:
            shape = finalist.shape.model_copy(update={"precision": precision})
            if shape in within and (one := _export(plan, shape, finalist, loaded, traced, overwrite)) is not None:
                exported.append(one)
    return exported


def _export(
    plan: RunPlan,
    shape: Shape,
    finalist: Finalist,
    loaded: LoadedClassifier,
    traced: Callable[[], Any],
    overwrite: bool,
) -> Exported | None:
    """Export one finalist in one precision; None if it is refused.

    Args:
        plan: of the run.
        shape: with its precision.
        finalist: of this shape.
        loaded: its student.
        traced: the student's graph, once it is traced.
        overwrite: set aside what is in the way.
    """
    folder, into, examples = plan.folder.export(shape.name), ONNX_BY_PRECISION[shape.precision], plan.examples
    inputs = {
        "student": finalist.best.done.manifest.content,
        "rows": dict(examples.fingerprints["eval"]),
        "limits": vars(_GATE),
        "versions": library_versions(),
    }
    before = read_manifest(folder)
    if before is not None and before.kind == REFUSED:
        if before.inputs == inputs:
            return None
        set_aside(folder, "stale")
    measured = _development(plan) if into.is_converted else None
    try:
        done = export_stage(folder, loaded, into, measured, _GATE, overwrite=overwrite, traced=traced)
    except TeacherError as error:
        progress.warn(f"{shape.name} is left out. {error}")
        for old in (folder, partial_of(folder)):
            if old.exists():
                set_aside(old, "stale")
        _keep_refusal(folder, inputs, str(error))
        return None
    return Exported(shape, finalist, done)


def _development(plan: RunPlan) -> MeasuredTexts:
    """The development rows, on which what int8 changes is measured."""
    examples, rows = plan.examples, plan.examples.splits["eval"]
    return MeasuredTexts(
        on="the development rows",
        texts=rows_as_texts(rows),
        labels=label_array(rows),
        metric=plan.recipe.evaluation.metric,
        fingerprint=fingerprint_rows(rows),
        outputs=examples.outputs,
    )


def with_left_out(
    candidates: Sequence[Candidate], going: Sequence[Shape], finalists: Sequence[Finalist]
) -> list[Candidate]:
    """The candidates; of shapes that the heats let go on and whose whole training was not done it is said."""
    left_out = set(going) - {each.shape for each in finalists}
    return [
        one.model_copy(update={"stopped": "not trained in full"})
        if one.shape.trained in left_out and not one.over
        else one
        for one in candidates
    ]


def with_refusals(plan: RunPlan, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates; of a finalist's precision whose export was refused it is said."""

    def is_refused(one: Candidate) -> bool:
        manifest = read_manifest(plan.folder.export(one.shape.name))
        return manifest is not None and manifest.kind == REFUSED

    return [one.model_copy(update={"stopped": REFUSED_EXPORT}) if is_refused(one) else one for one in candidates]


def _keep_refusal(folder: Path, inputs: Mapping[str, Any], why: str) -> None:
    """Make a stage that says why there is no export, so that a later call does not try it again."""
    run_stage(folder, REFUSED, inputs, lambda partial: {"why": why}, overwrite=True, resumes=False)
