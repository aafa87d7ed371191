"""The end of a search: its finalists measured as exported, the front that they make, and the one that is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pkd import progress
from pkd.data.labels import label_array
from pkd.evaluation.resampling import percentile_intervals
from pkd.evaluation.verdict import judge
from pkd.jobs.evaluate import LOGITS, read_logits
from pkd.jobs.lineup import answer
from pkd.jobs.plan import RunPlan
from pkd.recipe.settings import BudgetSettings
from pkd.reporting.amounts import is_share
from pkd.reporting.front import Baseline, Candidate, Figures, Point
from pkd.reporting.results import Score
from pkd.runs.stage import library_versions, run_stage
from pkd.search.budget import nearest, over_budget
from pkd.search.finalists import Exported
from pkd.search.random_graphs import CARD_BYTES
from pkd.search.shapes import measure_exports
from pkd.search.timed_words import TimedWords
from pkd.search.timing import machine, warn_of_load
from pkd.serving.limits import usable_cores
from pkd.training.hardware import resolve_device

TIMINGS = "timings"
PREDICTIONS = "exported predictions"
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Answers:
    """What models answer to the rows of a split, beside what is right.

    Attributes:
        teacher: its logits [N, C].
        exported: name of a shape -> the logits of its export.
        labels: of the rows.
    """

    teacher: np.ndarray
    exported: Mapping[str, np.ndarray]
    labels: np.ndarray


def measured_points(
    plan: RunPlan, exported: Sequence[Exported], candidates: Sequence[Candidate], figures: Mapping[str, Figures]
) -> list[Point]:
    """The finalists as points of the front, the fastest first: those on it have the first numbers."""
    answers = answered(plan, exported, "eval")
    of_teacher = _measured(plan, answers.teacher, answers.labels)
    predicted = {one.shape: one.predicted for one in candidates}
    points = []
    for one in exported:
        own = _measured(plan, answers.exported[one.shape.name], answers.labels)
        # the interval is of the same resamples of both
        drop = _interval(plan, of_teacher.value - own.value, of_teacher.samples - own.samples)
        points.append(
            Point(
                number=0,
                shape=one.shape,
                folder=plan.folder.name_of(one.done.folder),
                student=plan.folder.name_of(one.finalist.best.done.folder),
                predicted=predicted[one.shape],
                measured=figures[one.shape.name],
                score=own.score(plan),
                drop=drop,
                epochs=_epochs(one),
                over=_over(figures[one.shape.name], plan.budget, drop, plan.recipe.evaluation.metric),
            )
        )
    points = _numbered([point.model_copy(update={"on_front": not _is_dominated(point, points)}) for point in points])
    return _chosen(plan, points, answers)


@dataclass(frozen=True)
class TimedExports:
    """The figures of exports by their shapes' names, and the share of the cores that the process got meanwhile."""

    figures: Mapping[str, Figures]
    cpu_share: float | None


def timed(plan: RunPlan, exported: Sequence[Exported]) -> TimedExports:
    """The stage that times the exports in turns.

    All were predicted to be within the budget, so if none is, the machine was busy, and they are timed once more.
    """
    recipe = plan.recipe
    budget = plan.budget
    inputs = {
        "exports": {one.shape.name: one.done.manifest.content for one in exported},
        "rows": dict(plan.examples.fingerprints["eval"]),
        "max_length": recipe.data.max_length,
        "timed": {"lengths": budget.lengths, "batch_sizes": budget.batch_sizes, "threads": budget.threads},
        "machine": machine(),
        "versions": library_versions(),
    }

    def build(partial: Path) -> Mapping[str, Any]:
        folders = [one.done.folder for one in exported]
        found = measure_exports(folders, plan)
        if all(over_budget(each, budget) for each in found):
            progress.note("no export keeps to the budget as timed, so all are timed once more")
            found = measure_exports(folders, plan)
        figures: dict[str, Any] = {
            one.shape.name: each.model_copy(update={"bytes": each.bytes + CARD_BYTES}).model_dump()
            for one, each in zip(exported, found, strict=True)
        }
        return {**figures, "cpu_share": warn_of_load(budget.threads or usable_cores())}

    done = run_stage(plan.folder.timings, TIMINGS, inputs, build, overwrite=True, resumes=False)
    facts = dict(done.manifest.facts)
    share = facts.pop("cpu_share", None)  # which earlier versions did not keep
    return TimedExports({name: Figures(**values) for name, values in facts.items()}, share)


def answered(plan: RunPlan, exported: Sequence[Exported], split: Literal["eval", "test"]) -> Answers:
    """What the teacher and the exports answer to a split; each export's answers are a stage."""
    rows, kind = plan.examples.splits[split], plan.examples.outputs.kind
    (teacher,) = plan.answers_of_each(split)
    return Answers(
        teacher=kind.of_classes(teacher.logits()),
        exported={one.shape.name: kind.of_classes(_predicted(plan, one, split)) for one in exported},
        labels=label_array(rows),
    )


def with_test(plan: RunPlan, exported: Sequence[Exported], points: Sequence[Point]) -> list[Point]:
    """The points with their scores on the test rows, on which nothing is chosen."""
    if "test" not in plan.examples.splits:
        return list(points)
    answers = answered(plan, exported, "test")
    scores = {name: _measured(plan, logits, answers.labels).score(plan) for name, logits in answers.exported.items()}
    return [point.model_copy(update={"test": scores[point.shape.name]}) for point in points]


def teacher_score(plan: RunPlan, split: Literal["eval", "test"]) -> Score:
    """The teacher's score on a split."""
    answers = answered(plan, [], split)
    return _measured(plan, answers.teacher, answers.labels).score(plan)


def baseline_of(plan: RunPlan, words: TimedWords | None) -> Baseline | None:
    """The word-count baseline beside the front."""
    if words is None:
        return None
    logits, labels = plan.examples.outputs.kind.of_classes(words.logits), label_array(plan.examples.splits["eval"])
    return Baseline(score=_measured(plan, logits, labels).score(plan), latency=words.latency, bytes=words.bytes)


def _predicted(plan: RunPlan, one: Exported, split: Literal["eval", "test"]) -> np.ndarray:
    rows, longest = plan.examples.splits[split], plan.recipe.data.max_length
    inputs = {
        "export": one.done.manifest.content,
        "rows": dict(plan.examples.fingerprints[split]),
        "max_length": longest,
        "versions": library_versions(),
    }

    def build(partial: Path) -> Mapping[str, Any]:
        found = answer(one.shape.name, str(one.done.folder), rows, longest, resolve_device("cpu"))
        np.save(partial / LOGITS, found.logits, allow_pickle=False)
        return {"rows": len(rows), "device": found.device}

    place = plan.folder.export_predictions(one.shape.name, split)
    return read_logits(run_stage(place, PREDICTIONS, inputs, build, overwrite=True, resumes=False).folder)


@dataclass(frozen=True)
class _Measured:
    """A model's metric on the rows, and in each resample of them; the draws are the same for every model."""

    value: float
    samples: np.ndarray

    def score(self, plan: RunPlan) -> Score:
        return _interval(plan, self.value, self.samples)


def _measured(plan: RunPlan, logits: np.ndarray, labels: np.ndarray) -> _Measured:
    scoring, settings = plan.examples.outputs.kind.scoring, plan.recipe.evaluation
    drawn = scoring.bootstrap_samples(logits, labels, resamples=settings.resamples, seed=_BOOTSTRAP_SEED)
    return _Measured(float(scoring.score(logits, labels)[settings.metric]), drawn[settings.metric])


def _interval(plan: RunPlan, value: float, samples: np.ndarray) -> Score:
    low, high = percentile_intervals({"": samples}, plan.recipe.evaluation.confidence)[""]
    return Score(value=value, low=min(low, value), high=max(high, value))


def _epochs(one: Exported) -> tuple[float, float] | None:
    facts = one.finalist.best.done.manifest.facts
    return (facts["epochs_done"], facts["epochs"]) if "epochs_done" in facts else None


def _over(figures: Figures, budget: BudgetSettings, drop: Score, metric: str) -> list[str]:
    over = over_budget(figures, budget)
    if budget.max_drop is not None and drop.value > budget.max_drop:
        lost, allowed = (_drop_text(metric, value) for value in (drop.value, budget.max_drop))
        over.append(f"drop of {lost}, where at most {allowed} is asked for")
    return over


def _drop_text(metric: str, drop: float) -> str:
    """A drop with more digits than the tables have, so that it can be told from a limit near it."""
    return f"{100 * drop:.2f} points" if is_share(metric) else f"{drop:.4f}"


def _is_dominated(point: Point, points: Sequence[Point]) -> bool:
    """Whether another point is as fast and as good, and better in one."""
    here = (point.measured.latency.value, -point.score.value)
    for other in points:
        there = (other.measured.latency.value, -other.score.value)
        if there != here and there[0] <= here[0] and there[1] <= here[1]:
            return True
    return False


def _numbered(points: Sequence[Point]) -> list[Point]:
    order = sorted(points, key=lambda point: (not point.on_front, point.measured.latency.value))
    return [point.model_copy(update={"number": number}) for number, point in enumerate(order, start=1)]


def _chosen(plan: RunPlan, points: Sequence[Point], answers: Answers) -> list[Point]:
    """Mark the points that are level with the best within the budget, and the fastest of these; else the nearest."""
    within = [point for point in points if not point.over]
    if not within:
        return _with_nearest(points, plan.budget)
    best = max(within, key=lambda point: (point.score.value, -point.measured.latency.value))
    level = [point for point in within if point is best or _is_level(plan, answers, best, point)]
    standing = [point for point in level if not _is_dominated(point, within)]
    fastest = min(standing, key=lambda point: point.measured.latency.value)
    return [
        point.model_copy(update={"ties": any(point is one for one in level), "chosen": point is fastest})
        for point in points
    ]


def _with_nearest(points: Sequence[Point], budget: BudgetSettings) -> list[Point]:
    """Mark the point that is least beyond the budget; one that only loses too much goes before the others."""
    if not points:
        return []
    only_by_drop = [point for point in points if not over_budget(point.measured, budget)]
    if only_by_drop:
        near = min(only_by_drop, key=lambda point: point.drop.value)
    else:
        near = points[nearest([point.measured for point in points], budget)]
    return [point.model_copy(update={"nearest": point is near}) for point in points]


def _is_level(plan: RunPlan, answers: Answers, best: Point, other: Point) -> bool:
    """Whether the paired interval of the difference of two fixed models holds 0."""
    gain = plan.examples.outputs.kind.scoring.gain_by_row
    gains = [gain(answers.exported[point.shape.name], answers.labels) for point in (best, other)]
    judged = judge(*gains, confidence=plan.recipe.evaluation.confidence)
    return judged.low <= 0 <= judged.high
