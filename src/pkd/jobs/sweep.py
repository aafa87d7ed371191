"""`pkd sweep`: many hyper-parameters from one teacher pass, and the best of them with fresh seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.distillation.plan import StudentPlan
from pkd.errors import ResourceError
from pkd.evaluation.by_class import BlindSpots
from pkd.jobs import asking
from pkd.jobs.cluster import Outcome, ray_started, require_ray
from pkd.jobs.report import write_views
from pkd.jobs.run import Prepared, finish, prepare
from pkd.jobs.sizes import size_inputs, sized
from pkd.jobs.train import TRIAL, Teaching, training_inputs
from pkd.jobs.trials import Shared, Trial, forget_unfinished, run_trials
from pkd.recipe.places import AnyPath
from pkd.recipe.schema import Recipe
from pkd.recipe.sweeping import Point, best_recipe, point_text, points_of
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.printed import main_score, run_lines
from pkd.reporting.results import ModelRecord, Record, Score, best_student
from pkd.reporting.trials import TrialRecord, leaderboard, luck_sentences, read_trials, write_trials
from pkd.runs.fingerprint import fingerprint
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.seal import find_damage, read_manifest


@dataclass(frozen=True, repr=False)
class SweepResult:
    """A finished sweep: its trials, the best first, the records of the best point with fresh seeds, and the report.

    Printed, it is the fresh score of the best point.
    """

    folder: Path
    trials: list[TrialRecord]
    records: list[Record]
    report: Path
    sentences: list[str]  # the best point's fresh score

    @property
    def best(self) -> TrialRecord:
        """The point with the best development score."""
        return self.trials[0]

    @property
    def student(self) -> ModelRecord:
        """The record of the best point's best student."""
        return best_student(self.records)

    @property
    def score(self) -> Score:
        """Its score by the metric that chose it: value, low and high."""
        return main_score(self.records)

    def __str__(self) -> str:
        return "\n".join([*self.sentences, run_lines(self.records, folder=self.folder, report=self.report)])

    __repr__ = __str__


def sweep(
    recipe: Recipe | AnyPath, *, set: str | Sequence[str] = (), device: str | None = None, overwrite: bool = False
) -> SweepResult:
    """Try every point of a recipe's sweep on Ray Tune, then train the best again with fresh seeds.

    All points share one teacher pass. Each point is trained once, in `RUN/trials`; the same call again, also after a
    kill, trains the missing ones. Ray is started in this process, or joined at RAY_ADDRESS.

    Args:
        recipe: a recipe with `sweep`, or its file.
        set: overrides, as "sweep.samples=20".
        device: where to compute, whatever the file says.
        overwrite: start an unfinished stage with other inputs afresh.

    Raises:
        PKDError: of the family, with what to do; what was finished is kept.
    """
    with asking.sweep(recipe, set=set, device=device, overwrite=overwrite) as asked:
        return _sweep(asked, overwrite=overwrite)


def _sweep(recipe: Recipe, *, overwrite: bool) -> SweepResult:
    assert recipe.sweep is not None  # it was asked for
    require_ray()
    folder = Path(recipe.folder)
    with one_writer(folder):
        prepared = prepare(recipe, overwrite=overwrite)
        trials = _train_points(prepared)
        best = leaderboard(trials)[0]
        if best.status != "done":
            raise ResourceError(
                f"None of the {len(trials)} points was trained to its end; the first: {best.why or best.status}. See "
                f"{RunFolder(folder).trials_table}. The same command again tries those that failed."
            )
        progress.note(f"the best point is {point_text(best.point)}; now with {recipe.sweep.best_seeds} fresh seeds")
        if blind := blind_words(best.blind_spots, best.rows):
            progress.warn(f"on the development rows the best point {blind}")
        result = finish(prepared.at(best_recipe(recipe, best.point)), overwrite=True)
        page = write_views(folder)  # with the trials, which may have changed since the best was measured
    sentences = luck_sentences(trials, result.records, recipe.evaluation.confidence)
    return SweepResult(folder, leaderboard(trials), result.records, page, sentences)


def _train_points(prepared: Prepared) -> list[TrialRecord]:
    """Bring every point up to date; `sweep.jsonl` always holds the finished ones."""
    recipe, run, examples = prepared.plan.recipe, prepared.plan.folder, prepared.plan.examples
    assert recipe.sweep is not None
    folder, points = run.path, points_of(recipe)
    teachings = [dataclasses.replace(prepared.teaching, recipe=each.recipe) for each in prepared.plan.points]
    plans = [
        _sized(each.candidates[0], run, teaching)
        for each, teaching in zip(prepared.plan.points, teachings, strict=True)
    ]
    inputs = [training_inputs(plan, recipe.seed, teaching) for plan, teaching in zip(plans, teachings, strict=True)]
    prints = [fingerprint(each) for each in inputs]
    scored_on = len(examples.splits["eval"])
    before = {trial.fingerprint: trial for trial in read_trials(folder)}
    ended: dict[int, TrialRecord] = {}
    for number, (point, print_) in enumerate(zip(points, prints, strict=True)):
        known = before.get(print_)
        if (found := _finished(folder, point, print_, recipe, known, scored_on)) is not None:
            ended[number] = found
    write_trials((ended[number] for number in sorted(ended)), folder)
    twins: dict[str, list[int]] = {}  # points that lead to the same training, as kd with any β
    for number in range(len(points)):
        if number not in ended:
            twins.setdefault(prints[number], []).append(number)
    missing = [numbers[0] for numbers in twins.values()]
    if ended:
        progress.note(f"{len(ended)} of {len(points)} points are trained already")
        progress.saved()
    if not missing:
        return list(ended.values())

    def on_end(outcome: Outcome) -> None:
        number = missing[outcome.number]
        place = folder / _place(prints[number])
        record = _finished(folder, points[number], prints[number], recipe, None, scored_on)
        if record is None:
            record = TrialRecord(
                point=points[number],
                folder=_place(prints[number]),
                status=outcome.status if outcome.status in ("stopped", "diverged") else "failed",  # type: ignore[arg-type]
                metric=recipe.evaluation.metric,
                score=max(outcome.scores, default=None),
                epochs=outcome.scores,
                why=outcome.why,
                fingerprint=prints[number],
            )
        for twin in twins[prints[number]]:
            ended[twin] = record.model_copy(update={"point": points[twin], "retries": outcome.retries})
        write_trials((ended[each] for each in sorted(ended)), folder)
        if record.status in ("stopped", "diverged"):
            forget_unfinished(place)
        if record.status in ("diverged", "failed"):
            progress.warn(f"the point {point_text(points[number])} {record.status}: {record.why}")

    trials = [
        Trial(
            teachings[number].recipe,
            (folder / _place(prints[number])).absolute(),
            plans[number].sizes,
        )
        for number in missing
    ]
    shared = Shared(
        cwd=Path.cwd(),
        teacher=prepared.plan.teacher_name
        if recipe.teacher.finetune is None
        else str(run.teacher_of(recipe.teacher.lead + 1).absolute()),
        annotated=prepared.plan.answers("train").parent.absolute(),
        fingerprints=prepared.rows.fingerprints,
        answers=prepared.rows.answers,
        outputs=examples.outputs,
    )
    with ray_started():
        run_trials(trials, shared, folder, recipe.sweep, on_end)
    return [ended[number] for number in sorted(ended)]


def _sized(plan: StudentPlan, run: RunFolder, teaching: Teaching) -> StudentPlan:
    """The plan of a point whose patience is a share, with its β; points of one start and loss share it."""
    if not plan.loss.patience_share:
        return plan
    place = run.sizes(fingerprint(size_inputs(plan, teaching))[:16])
    return sized(plan, place, teaching, overwrite=True)


def _finished(
    folder: Path, point: Point, print_: str, recipe: Recipe, known: TrialRecord | None, rows: int
) -> TrialRecord | None:
    """The record of a point that needs no more training: its folder is sealed, or it was stopped early or diverged."""
    place = folder / _place(print_)
    manifest = read_manifest(place)
    if (
        manifest is None
        or manifest.kind != TRIAL
        or manifest.fingerprint != print_
        or find_damage(place, manifest, deep=True)
    ):
        kept = ("diverged", "stopped") if recipe.sweep and recipe.sweep.early_stopping == "asha" else ("diverged",)
        return known.model_copy(update={"point": point}) if known is not None and known.status in kept else None
    facts: dict[str, Any] = manifest.facts
    metric = recipe.evaluation.metric
    return TrialRecord(
        point=point,
        folder=_place(print_),
        status="done",
        metric=metric,
        score=float(facts["selection"]["score"]),
        epochs=[entry[f"eval_{metric}"] for entry in facts["history"] if f"eval_{metric}" in entry],
        seconds=float(facts["train_seconds"]),
        device=facts["device"],
        rows=rows,
        blind_spots=BlindSpots(**facts["blind_spots"]),
        retries=known.retries if known else 0,
        fingerprint=print_,
    )


def _place(print_: str) -> str:
    """A trial's folder in records."""
    return RunFolder(Path()).trial(print_).as_posix()
