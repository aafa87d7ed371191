"""Time and disk of a job before it begins: its stages to come, priced by a pilot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from pkd import progress, ranks
from pkd.jobs.pilot import PILOT, SECONDS, Prices, Work, assumed_seconds, measure_prices
from pkd.jobs.stages import Ahead, Part
from pkd.jobs.workload import Job
from pkd.recipe.schema import Recipe
from pkd.recipe.sweeping import points_of
from pkd.runs.space import fits, free_space, rough_bytes

_BYTES_A_SECOND = 2e8  # written, hashed and flushed
_LITTLE = 20.0  # seconds on an assumed slow machine, below which a pilot is not worth its time
_SHARE = 0.02  # of that, which a pilot may take
_MENTIONED = 0.02  # share of the whole from which a part is named


@dataclass(frozen=True)
class PartForecast:
    """One part of a job, in words, and what it will take."""

    name: str
    seconds: float
    bytes: float


@dataclass(frozen=True)
class JobForecast:
    """What is left of a job.

    Attributes:
        seconds: if nothing is stopped early.
        least_seconds: if a scheduler stops all that it may.
        bytes: that will stay on the disk.
        bytes_meanwhile: beside these, at most, while a model trains.
        bytes_free: where they will be written.
        place: the path of that disk.
        fits: whether they do.
        trainings: how many there are.
        points: how many of these are points of a sweep.
        measured: whether a pilot timed the work on this machine; it is skipped for little work.
        parts: the seconds and bytes by part.
    """

    seconds: float
    least_seconds: float
    bytes: float
    bytes_meanwhile: float
    bytes_free: int
    place: str
    fits: bool
    trainings: int
    points: int
    measured: bool
    parts: list[PartForecast]

    @property
    def is_nothing(self) -> bool:
        """Whether all is done."""
        return self.seconds == 0

    def sentence(self) -> str:
        """The forecast in words, with no more digits than it supports."""
        if self.is_nothing:
            return "Nothing is left to do: all is kept from an earlier call."
        time = f"about {_range(self.least_seconds, self.seconds)}" if self.measured else "less than a minute"
        told = f"This will take {time} here and {rough_bytes(self.bytes)} of disk"
        named = [part for part in self.parts if part.seconds >= _MENTIONED * self.seconds]
        if self.measured and len(named) > 1:
            told += ": " + ", ".join(f"{part.name} {roughly(part.seconds)}" for part in named)
        if self.bytes_meanwhile > 0.1 * self.bytes and self.bytes_meanwhile >= 1e6:
            told += f"; checkpoints take up to {rough_bytes(self.bytes_meanwhile)} more meanwhile"
        return f"{told}."

    def warning(self) -> str | None:
        """A warning if the disk is too small; else None."""
        if self.fits:
            return None
        more = f", and up to {rough_bytes(self.bytes_meanwhile)} more meanwhile" if self.bytes_meanwhile else ""
        return (
            f"The disk will not hold it: this job writes about {rough_bytes(self.bytes)}{more}, but only "
            f"{rough_bytes(self.bytes_free)} are free at {self.place}. Free some space, choose another output folder, "
            "or train fewer students or seeds."
        )

    def to_dict(self) -> dict[str, Any]:
        """The forecast as plain data, with figures as rough as it is."""
        values = asdict(self)
        for each in (values, *values["parts"]):
            for name in ("seconds", "least_seconds", "bytes", "bytes_meanwhile"):
                if name in each:
                    each[name] = float(f"{each[name]:.2g}")
        return values


def announce(job: Job, stages: Sequence[Ahead], folder: Path) -> None:
    """Announce a job: its stages to the progress, and its time and disk as a note."""
    priced = prices_for(job, stages) if progress.shows_notes() else None
    progress.plan([(stage.name, stage_seconds(stage, job, priced)) for stage in stages])
    found = forecast(job, stages, folder, priced)
    if not found.is_nothing:
        progress.note(found.sentence())
    if warning := found.warning():
        progress.warn(warning)


def prices_for(job: Job, stages: Sequence[Ahead]) -> Prices | None:
    """The prices of a pilot; None for so little work that a pilot would be noticeable."""
    works = [work for stage in stages if stage.left for work in stage.works]
    assumed = sum(stage.left * assumed_seconds(stage.works, job.device) for stage in stages)
    if assumed < _LITTLE or not len(job.sample):
        return None
    with progress.stage(PILOT):
        return measure_prices(
            works,
            job.sample,
            job.outputs,
            device=job.device,
            batch_size=job.recipe.training.per_device_train_batch_size,
            occurs=job.occurs,
            seconds=min(SECONDS, _SHARE * assumed),
        )


def forecast(job: Job, stages: Sequence[Ahead], folder: Path, prices: Prices | None) -> JobForecast:
    """Add up what the stages will take.

    Args:
        job: that they belong to.
        stages: all of them, finished ones too.
        folder: where they write.
        prices: of the pilot; None without one.
    """
    seconds = [stage_seconds(stage, job, prices) for stage in stages]
    size, meanwhile = (
        sum(stage.left * stage.bytes for stage in stages),
        max((stage.meanwhile for stage in stages if stage.left), default=0.0),
    )
    place, free = free_space(folder)
    parts: dict[Part, tuple[float, float]] = dict.fromkeys(get_args(Part), (0.0, 0.0))
    for stage, each in zip(stages, seconds, strict=True):
        before = parts[stage.part]
        parts[stage.part] = (before[0] + each, before[1] + stage.left * stage.bytes)
    return JobForecast(
        seconds=sum(seconds),
        least_seconds=sum(stage.least * each for stage, each in zip(stages, seconds, strict=True)),
        bytes=size,
        bytes_meanwhile=meanwhile,
        bytes_free=free,
        place=str(place),
        fits=fits(size + meanwhile, free),
        trainings=round(sum(stage.trainings for stage in stages if stage.left)),
        points=round(sum(stage.trainings for stage in stages if stage.part == "points")),
        measured=prices is not None,
        parts=[PartForecast(_words(part, stages), *each) for part, each in parts.items() if each[0]],
    )


def sweep_sentences(recipe: Recipe) -> list[str]:
    """The number of trainings of a recipe's sweep; empty without a sweep."""
    sweep = recipe.sweep
    if sweep is None:
        return []
    points = len(points_of(recipe))
    told = (
        f"This recipe is a sweep of {points:,} point{'s' * (points != 1)}, each trained once with seed {recipe.seed}, "
        f"and the best again with {sweep.best_seeds} fresh seeds."
    )
    if sweep.early_stopping == "asha":
        told += " Early stopping (asha) lets about the best third go on after one epoch, after three, after nine."
    return [f"{told} `pkd sweep` runs it."]


def stage_seconds(stage: Ahead, job: Job, prices: Prices | None) -> float:
    """Seconds left of a stage: measured, or else only good for comparing stages; a finished one has no price."""
    if not stage.left:
        return 0.0
    computing = sum(_work_seconds(work, job, prices) for work in stage.works) / (stage.at_once * ranks.world_size())
    return stage.left * (computing + stage.seconds + stage.written / _BYTES_A_SECOND)


def _work_seconds(work: Work, job: Job, prices: Prices | None) -> float:
    return prices.seconds(work) if prices is not None else assumed_seconds([work], job.device)


def _words(part: Part, stages: Sequence[Ahead]) -> str:
    """The name of a part in the sentence."""
    left = [stage for stage in stages if stage.part == part and stage.left and stage.trainings]
    count = round(sum(stage.trainings for stage in left))
    if part == "teacher":
        return "fine-tuning the teacher"
    if part == "pass":
        return "the teacher's pass"
    if part == "ranking":
        return "ranking its neurons"
    if part == "points":
        return f"{count} point{'s' * (count != 1)} of the sweep"
    if part == "race":
        return "the race of starts"
    if part == "heats":
        return "the heats of shapes"
    if part == "measuring":
        return "measuring"
    models = list(dict.fromkeys(stage.model for stage in left))
    if count == len(models):
        return f"{count} student{'s' * (count != 1)}"
    seeds, rest = divmod(count, len(models) or 1)
    if rest:
        return f"{count} training{'s' * (count != 1)}"
    return f"{len(models)} student{'s' * (len(models) != 1)} × {seeds} seeds"


def _range(least: float, most: float) -> str:
    low, high = roughly(least), roughly(most)
    if low == high:
        return high
    amount, _, unit = low.partition(" ")
    return f"{amount} to {high}" if high.endswith(f" {unit}") else f"{low} to {high}"


def roughly(seconds: float) -> str:
    """Seconds in words, with no more digits than a forecast supports.

    >>> [roughly(each) for each in (3, 42, 100, 760, 5000, 40_000, 400_000)]
    ['a few seconds', '40 s', '2 min', '15 min', '1.5 hours', '11 hours', '5 days']
    """
    if seconds < 7.5:
        return "a few seconds"
    if seconds < 55:
        return f"{10 * max(1, round(seconds / 10))} s"
    if (minutes := seconds / 60) < 9.5:
        return f"{max(1, round(minutes))} min"
    if minutes < 57.5:
        return f"{5 * round(minutes / 5)} min"
    if (hours := minutes / 60) < 4.75:
        half = round(2 * hours) / 2
        return f"{half:g} hour{'s' * (half != 1)}"
    return f"{round(hours)} hours" if hours < 47.5 else f"{round(hours / 24)} days"
