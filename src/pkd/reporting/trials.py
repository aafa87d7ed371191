"""The record of a sweep: one line of `sweep.jsonl` per point, and summaries over the lines.

The report's heat maps and the terminal's leaderboard are views of it.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.stats import t as student_t

from pkd.errors import CacheError
from pkd.evaluation.by_class import BlindSpots
from pkd.recipe.faults import value_text
from pkd.recipe.sweeping import point_text, short_name
from pkd.reporting.amounts import amount, metric_title
from pkd.reporting.blind_spots import blind_words, blindness
from pkd.reporting.results import ModelRecord, Record
from pkd.reporting.wording import rows_of
from pkd.runs.folder import RunFolder
from pkd.runs.seal import write_text


class TrialRecord(BaseModel):
    """One point of a sweep and its results."""

    model_config = ConfigDict(extra="forbid")

    record: Literal["trial"] = "trial"
    point: dict[str, Any]  # "students.0.beta" -> value
    folder: str  # relative to the run folder
    # done; stopped early by ASHA; diverged: its loss was not finite; failed: for a reason that may pass
    status: Literal["done", "stopped", "diverged", "failed"]
    metric: str
    score: float | None = None  # of the best epoch on the development rows
    rows: int = 0  # that it was scored on
    blind_spots: BlindSpots = BlindSpots()  # of the best epoch, on those rows
    epochs: list[float] = []  # the score after each epoch
    seconds: float | None = None  # of training, over all its legs
    device: str | None = None  # that trained and scored it
    retries: int = 0  # how often its node or process died
    why: str | None = None  # it diverged or failed
    fingerprint: str  # of everything it depends on

    @property
    def status_text(self) -> str:
        """The status, and a mark if its score hides blind spots."""
        if self.blind_spots.one_answer is not None:
            return f"{self.status}, one answer"
        missed = len(self.blind_spots.never_found)
        return f"{self.status}, {missed} class{'es' * (missed > 1)} never found" if missed else self.status


def write_trials(trials: Iterable[TrialRecord], folder: Path) -> None:
    """Write `sweep.jsonl` into `folder`, whole or not at all."""
    write_text(RunFolder(folder).trials_table, "".join(trial.model_dump_json() + "\n" for trial in trials))


def read_trials(folder: Path) -> list[TrialRecord]:
    """Read `sweep.jsonl` of a run folder; empty where there is none.

    Raises:
        CacheError: if a line is not a record of this version.
    """
    path = RunFolder(folder).trials_table
    if not path.is_file():
        return []
    try:
        return [TrialRecord(**json.loads(line)) for line in path.read_bytes().splitlines()]
    except (ValueError, TypeError, ValidationError, RecursionError) as error:
        raise CacheError(
            f"{path} is not a record of this version of pkd: {error}. Move it away; `pkd sweep` makes it anew."
        ) from error


def leaderboard(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials, the best first: those that ran to their end by score, then those stopped early, then the rest.

    Ties stay in the order of the points.
    """
    order = {"done": 0, "stopped": 1, "diverged": 2, "failed": 3}
    return sorted(trials, key=lambda trial: (order[trial.status], -(trial.score if trial.score is not None else -9.0)))


def swept(trials: Sequence[TrialRecord]) -> list[str]:
    """The keys that take more than one value, in the order of the recipe."""
    keys = list(trials[0].point) if trials else []
    return [key for key in keys if len({str(trial.point.get(key)) for trial in trials}) > 1]


def scores_by(trials: Sequence[TrialRecord], *keys: str) -> dict[tuple[Any, ...], list[float]]:
    """The scores of the finished trials at each value of `keys`, values as JSON has them; numbers in order."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for trial in trials:
        if trial.status == "done" and trial.score is not None:
            values = (trial.point[key] for key in keys)
            found.setdefault(tuple(str(one) if isinstance(one, list) else one for one in values), []).append(
                trial.score
            )

    def order(values: tuple[Any, ...]) -> list[tuple[bool, float, str]]:
        numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in values]
        return [
            (not is_number, one if is_number else 0.0, str(one)) for one, is_number in zip(values, numbers, strict=True)
        ]

    return dict(sorted(found.items(), key=lambda item: order(item[0])))


def effect_sentences(trials: Sequence[TrialRecord]) -> list[str]:
    """For each swept key with few values, the mean score at its best and at its worst value."""
    sentences = []
    for key in swept(trials):
        means = {value_text(value[0]): statistics.fmean(scores) for value, scores in scores_by(trials, key).items()}
        if not 2 <= len(means) <= 12:
            continue
        told = {value: amount(trials[0].metric, mean) for value, mean in means.items()}
        best, worst = max(means, key=lambda value: means[value]), min(means, key=lambda value: means[value])
        if told[best] == told[worst]:  # to the displayed digits
            sentences.append(f"{short_name(key)}: mean {told[best]} at each of {', '.join(told)}")
        else:
            sentences.append(f"{short_name(key)}: mean {told[best]} at {best}, {told[worst]} at {worst}")
    return sentences


def luck_sentences(trials: Sequence[TrialRecord], records: Sequence[Record], confidence: float) -> list[str]:
    """The best point's fresh score: its own was selected for being high, that of fresh seeds was not."""
    finished = [trial for trial in trials if trial.status == "done" and trial.score is not None]
    students = [record for record in records if isinstance(record, ModelRecord) and record.role == "student"]
    if not finished:
        return []
    best = leaderboard(finished)[0]
    title, metric = metric_title(best.metric), best.metric
    assert best.score is not None
    told = [
        f"The best of {len(finished)} points ({point_text(best.point)}) has {title} {amount(metric, best.score)} on "
        "the development rows that chose it. The best of many on few rows is partly luck, so that score is too high."
    ]
    if blind := blind_words(best.blind_spots, best.rows):
        told.append(f"On those rows it {blind}.")
    fresh = [float(student.selection["score"]) for student in students if "score" in student.selection]
    if fresh:
        told.append(
            f"Trained again with {len(fresh)} fresh seeds it has {_mean_text(metric, fresh, confidence)} on the same "
            "development rows."
        )
    if students and students[0].split == "test" and metric in students[0].scores:
        test = [student.scores[metric].value for student in students]
        told.append(f"On {rows_of(students[0])} it has {_mean_text(metric, test, confidence)}.")
    if students and (blind := blindness(records, students[0].name)):
        told.append(f"Trained again it {blind}.")
    return told


def mean_interval(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """The mean of a few repetitions and its interval by Student's t.

    >>> [round(x, 3) for x in mean_interval([0.80, 0.82, 0.84], 0.95)]
    [0.82, 0.77, 0.87]
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = (
        float(student_t.ppf((1 + confidence) / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    )
    return mean, mean - half, mean + half


def _mean_text(metric: str, values: Sequence[float], confidence: float) -> str:
    mean, low, high = mean_interval(values, confidence)
    interval = f"{confidence * 100:g} % interval over seeds {amount(metric, low)} to {amount(metric, high)}"
    return f"{amount(metric, mean)} ({interval})"
