"""`pkd sweep`: many hyper-parameters from one teacher pass, and the best of them with fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pkd import progress
from pkd.errors import ResourceError
from pkd.jobs import asking
from pkd.jobs.cluster import require_ray
from pkd.jobs.report import write_views
from pkd.jobs.run import RunResult, finish, prepare
from pkd.jobs.trials import on_ray, shared_of, train_points
from pkd.recipe.places import AnyPath
from pkd.recipe.schema import Recipe
from pkd.recipe.sweeping import best_recipe, point_text, points_of
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.trials import TrialRecord, leaderboard, luck_sentences
from pkd.runs.folder import RunFolder
from pkd.runs.lock import one_writer


@dataclass(frozen=True, repr=False)
class SweepResult(RunResult):
    """A finished sweep: the run of its best point with fresh seeds, and the trials, the best first."""

    trials: list[TrialRecord]
    sentences: list[str]  # the best point's fresh score

    @property
    def best(self) -> TrialRecord:
        """The point with the best development score."""
        return self.trials[0]

    def __str__(self) -> str:
        return "\n".join([*self.sentences, super().__str__()])


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
        plan, teaching = prepared.plan, prepared.teaching
        engine = on_ray(shared_of(plan, teaching), recipe.sweep)
        kept = ("diverged", "stopped") if recipe.sweep.early_stopping == "asha" else ("diverged",)
        trials = train_points(points_of(plan.recipe), plan.points, teaching, engine, kept=kept)
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
    return SweepResult(folder, result.records, page, leaderboard(trials), sentences)
