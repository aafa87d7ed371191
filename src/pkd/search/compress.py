"""`pkd compress`: a budget in, the best student out.

Shapes are measured before anything is trained; those within the budget compete in heats from one teacher pass; at most
three are trained in full, exported and measured again. Every step is a stage, or made of stages, in the run beside the
output.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from pkd import progress
from pkd.errors import CacheError, DataError, RecipeError, TeacherError
from pkd.jobs.ahead import teaching_ahead
from pkd.jobs.cluster import names_cluster, ray_started, require_ray
from pkd.jobs.demo import with_search_data
from pkd.jobs.export import KIND
from pkd.jobs.finished import left_of
from pkd.jobs.forecast import forecast, prices_for, roughly, stage_seconds
from pkd.jobs.judge import judge_run
from pkd.jobs.plan import RunPlan
from pkd.jobs.report import write_views
from pkd.jobs.run import Prepared, planned, taught, with_teachers
from pkd.jobs.stages import training_student
from pkd.jobs.workload import job_of_run
from pkd.recipe.keyword_types import CompressKeywords
from pkd.recipe.places import AnyPath, AnyPaths, output_folder, path_text
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import call_of, named
from pkd.reporting.front import Compressed, Point, TeacherFigures, read_front, write_front
from pkd.reporting.front_words import cut_short_sentence
from pkd.reporting.trials import read_trials
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.stage import refuse_other_files, refuse_what_is_in_the_way
from pkd.search import asking
from pkd.search.choose import baseline_of, measured_points, teacher_score, timed, with_test
from pkd.search.deploy import deploy, point_of, search_of, with_bytes
from pkd.search.finalists import Finalist, export_finalists, outcome_of, train_finalists, with_left_out, with_refusals
from pkd.search.heats import Heats, alive, heats_ahead, only, run_heats, students_by_shape
from pkd.search.search_space import with_space
from pkd.search.shapes import Shapes, shapes_stage
from pkd.search.time_left import TimeLeft
from pkd.serving.export import require_exporter
from pkd.serving.limits import usable_cores
from pkd.training.hardware import describe_hardware, resolve_device

DEMO = "runs/compress/served"


@dataclass(frozen=True, repr=False)
class CompressResult:
    """A finished search: the folder to deploy, the run that holds everything else, and its record."""

    folder: Path
    work: Path
    report: Path
    record: Compressed

    @property
    def front(self) -> list[Point]:
        """The points that no other beats in both speed and score, the fastest first."""
        return [point for point in self.record.points if point.on_front]

    @property
    def chosen(self) -> Point:
        """The point in `folder`."""
        chosen = self.record.chosen
        assert chosen is not None  # without one there is an error instead of a result
        return chosen

    def __str__(self) -> str:
        chosen = self.chosen
        told = f"{chosen.shape.name}: {chosen.measured.latency.value:.3g} ms a text, drop {chosen.drop.value:.2%}"
        return "\n".join([told, f"deploy: {self.folder}", f"report: {self.report}"])

    __repr__ = __str__


def compress(
    recipe: AnyPath | None = None,
    *,
    output: AnyPath | None = None,
    teacher: AnyPath | None = None,
    student: AnyPaths = (),
    pick: int | None = None,
    search: AnyPath | None = None,
    demo: bool = False,
    overwrite: bool = False,
    **keys: Unpack[CompressKeywords],
) -> CompressResult:
    """Find the best student of a classifier within a budget, and export it.

    Everything but the folder to deploy is beside it, in OUTPUT.work: every finalist as an ordinary folder and as an
    export, the record and the page. The same call again goes on from there.

    Args:
        recipe: file with the keys of a recipe, `budget` among them; what is given beside it wins.
        output: folder to deploy, as `pkd export` writes it; only the demo has one by default.
        teacher: folder or hub name of the fine-tuned classifier.
        student: pretrained encoders that are tried as students too.
        pick: take the point of this number of a finished search, and search nothing.
        search: with `pick`: the work folder of that search; by default the output's own, or the one beside it.
        demo: search between students of 2, 3 and 4 layers of a real encoder, on real reviews, within ten minutes.
        overwrite: start unfinished stages with other inputs afresh, and put aside a folder that is in the way.
        keys: the budget (`latency`, `latency_p95`, `throughput`, `speed_up`, `size`, `max_drop`, `time`, `widths`,
            `batch_sizes`, `lengths`, `threads`), and any key of the recipe: `train`, `eval`, `test`, `seeds`, ...

    Raises:
        RecipeError: if no shape keeps to the budget, or the time is too short for one student.
        TeacherError: if no trained student keeps to the drop; the front is kept, and `pick` takes a point of it.
        PKDError: of the family, with what to do; what was finished is kept.
    """
    given: dict[str, Any] = {
        "teacher": teacher,
        "student": student,
        "pick": pick,
        "search": search,
        "demo": demo,
        **keys,
    }
    with asking.compress(recipe, output=output, overwrite=overwrite, **given) as asked:
        served = output_folder(DEMO if output is None else output)
        if pick is not None:
            return _picked(served, pick, None if search is None else path_text(search, "search"), overwrite=overwrite)
        require_exporter()
        if demo:
            asked = with_search_data(asked, RunFolder.beside(served).path)
        return _compress(asked, served, overwrite=overwrite)


def _picked(served: Path, number: int, search: str | None, *, overwrite: bool) -> CompressResult:
    work = search_of(served, search)
    with one_writer(served), one_writer(work):
        compressed, point = point_of(work, number)
        marked = [each.model_copy(update={"chosen": each is point}) for each in compressed.points]
        compressed = compressed.model_copy(update={"points": marked})
        refuse_what_is_in_the_way(served, KIND, overwrite=overwrite)
        deploy(served, work, compressed, point, overwrite=overwrite)
        compressed = with_bytes(compressed, served)
        if RunFolder.beside(served).path.resolve() == work.resolve():
            write_front(compressed, work)
            write_views(work)
    return CompressResult(served, work, RunFolder(work).report, compressed)


def _compress(recipe: Recipe, served: Path, *, overwrite: bool) -> CompressResult:
    began = time.monotonic()
    work = RunFolder.beside(served).path
    recipe = dataclasses.replace(recipe, output=str(work))
    with one_writer(served), one_writer(work), _on_cluster():
        refuse_what_is_in_the_way(served, KIND, overwrite=overwrite)  # not after the training
        refuse_other_files(work, overwrite=overwrite)
        seconds: dict[str, float] = {}
        with _phase(seconds, "shapes"):
            plan, levels, _ = with_teachers(planned(with_space(recipe), overwrite=overwrite), overwrite=overwrite)
            if "eval" not in plan.examples.splits:
                raise DataError(
                    f"{named('data.eval')} is missing, and there are too few training rows to hold some of them out to "
                    "choose by. Name development rows."
                )
            clock = None if plan.budget.time is None else _clock(plan, began)  # the pilot would delay a refusal
            shapes = shapes_stage(plan, clock, overwrite=overwrite)
        students = students_by_shape(plan)
        plan = plan.at(only(plan.recipe, *(students[shape][0] for shape in alive(shapes.candidates))))
        clock = clock or _clock(plan, began)
        clock.build_seconds = shapes.build_seconds
        with _phase(seconds, "teacher"):
            if progress.shows_notes():
                _announce(plan, clock)
            prepared = taught(plan, levels, overwrite=overwrite)
        with _phase(seconds, "heats"):
            heats = run_heats(prepared, shapes.candidates, clock)
        with _phase(seconds, "finalists"):
            finalists = train_finalists(prepared, heats.finalists, clock, overwrite=overwrite)
        with _phase(seconds, "exports"):
            exported = export_finalists(plan, finalists, heats.candidates, overwrite=overwrite)
            times = timed(plan, exported)
            points = measured_points(plan, exported, heats.candidates, times.figures)
        judge_run(outcome_of(prepared, finalists))
        points = with_test(plan, exported, points)
        shares = {"shapes": shapes.cpu_share, "exports": times.cpu_share}
        compressed = _record(prepared, shapes, heats, finalists, points, seconds, shares)
        if compressed.chosen is not None:
            deploy(served, work, compressed, compressed.chosen, overwrite=overwrite)
            compressed = with_bytes(compressed, served)
        write_front(compressed, work)
        page = write_views(work)
        if compressed.chosen is None:
            raise TeacherError(_nothing_within(compressed, served, page))
    return CompressResult(served, work, page, compressed)


def _on_cluster() -> contextlib.AbstractContextManager[None]:
    """Join the cluster that RAY_ADDRESS names, if it names one, before anything is computed."""
    if not names_cluster():
        return contextlib.nullcontext()
    require_ray()
    return ray_started()


@contextlib.contextmanager
def _phase(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[name] = time.monotonic() - began


def _clock(plan: RunPlan, began: float) -> TimeLeft:
    """The clock of the search.

    Raises:
        RecipeError: if its time is too short for one student.
    """
    job, budget = job_of_run(plan), plan.budget
    left = left_of(plan)
    stages = teaching_ahead(plan, job, left)
    seed = plan.recipe.seed
    trainings = [
        dataclasses.replace(training_student(job, each, seed), left=left.training(plan.recipe, each, seed))
        for each, *_ in plan.students
    ]
    clock = TimeLeft(job, prices_for(job, [*stages, *trainings]), budget.seconds, began)
    least = min(clock.of([each]) for each in trainings) * len(plan.recipe.all_seeds)
    if least and (needed := clock.of(stages) + least + clock.of_ending()) > clock.left:
        raise RecipeError(
            f"{named('budget.time')} is {budget.time}, but one student alone takes about "
            f"{roughly(needed)} here: the teacher's pass, the smallest shape's training, its export. Give it more "
            "time, or fewer rows."
        )
    return clock


def _announce(plan: RunPlan, clock: TimeLeft) -> None:
    """Announce what is left of the search: its stages to the progress, its time and disk as a note."""
    left = left_of(plan)
    stages = [*teaching_ahead(plan, clock.job, left), *heats_ahead(plan, clock.job, left)]
    progress.plan([(stage.name, stage_seconds(stage, clock.job, clock.prices)) for stage in stages])
    found = forecast(clock.job, stages, plan.folder.path, clock.prices)
    if not found.is_nothing:
        progress.note(found.sentence())
    if warning := found.warning():
        progress.warn(warning)


def _record(
    prepared: Prepared,
    shapes: Shapes,
    heats: Heats,
    finalists: Sequence[Finalist],
    points: list[Point],
    seconds: Mapping[str, float],
    cpu_shares: Mapping[str, float | None],
) -> Compressed:
    plan = prepared.plan
    recipe, examples = plan.recipe, plan.examples
    budget = plan.budget
    return Compressed(
        budget={key: value for key, value in dataclasses.asdict(budget).items() if value not in (None, [])},
        metric=recipe.evaluation.metric,
        teacher=TeacherFigures(
            name=plan.teacher_name,
            score=teacher_score(plan, "eval"),
            latency=shapes.teacher,
            test=teacher_score(plan, "test") if "test" in examples.splits else None,
        ),
        candidates=with_left_out(with_refusals(plan, heats.candidates), heats.finalists, finalists),
        points=points,
        words=baseline_of(plan, shapes.baseline),
        effort=recipe.effort,
        seeds=recipe.all_seeds,
        rows={split: len(rows) for split, rows in examples.splits.items()},
        hardware=describe_hardware(resolve_device(recipe.device)),
        threads=budget.threads or usable_cores(),
        cpu_shares={what: share for what, share in cpu_shares.items() if share is not None},
        seconds=_seconds_so_far(plan.folder.path, seconds, finalists),
    )


def _seconds_so_far(work: Path, seconds: Mapping[str, float], finalists: Sequence[Finalist]) -> dict[str, float]:
    """The seconds of each phase: of the call that did most of it, as later ones keep what it made.

    Trainings that earlier calls did know how long they took, even if those calls were killed.
    """
    try:
        before = dict(read_front(work).seconds)
    except CacheError:
        before = {}
    trained = [one.done.manifest.facts["train_seconds"] for each in finalists for one in each.trained]
    known = {"heats": sum(trial.seconds or 0.0 for trial in read_trials(work)), "finalists": sum(trained)}
    return {phase: max(took, before.get(phase, 0.0), known.get(phase, 0.0)) for phase, took in seconds.items()}


def _nothing_within(compressed: Compressed, served: Path, page: Path) -> str:
    """Why nothing is deployed, the nearest point, and the command that takes it."""
    near = compressed.nearest
    if near is None:
        return "No finalist could be exported: each was refused. The warnings above say why."
    told = (
        f"No trained student keeps to the budget, so {served} is not written. The nearest is point {near.number}, "
        f"{near.shape.name}: {'; '.join(near.over)}. "
        f"`{call_of('compress', {'pick': near.number, 'output': str(served)})}` takes it; {page} shows all."
    )
    return f"{told} {cut_short_sentence(near)}".rstrip()
