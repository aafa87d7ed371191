"""The one record of a run: the lines of `results.jsonl`. Tables, pages and cards are views of it.

Lines come in five kinds, told apart by `record`: the run itself, a model (the teacher, or a student with one seed),
the classes of a model, a comparison of two methods on the same examples, and an example on which teacher and student
part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pkd.data.sources import Source
from pkd.encoder.hub import ModelSource
from pkd.errors import CacheError
from pkd.evaluation.by_class import BlindSpots, Cells, ClassFigures, Unit
from pkd.recipe.settings import ProblemType
from pkd.reporting.runtimes import Runtime
from pkd.runs.folder import RESULTS, RunFolder
from pkd.runs.seal import is_inside, refuse_other_schema, write_text


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Score(_Line):
    """A measured value and its bootstrap interval over examples; shares are between 0 and 1."""

    value: float
    low: float | None = None
    high: float | None = None


class MeasuredOn(_Line):
    """The rows behind a score, and what the model may have seen of them."""

    source: str = ""  # their file's name or the hub's, never a path
    held_out: bool | None = None  # not trained on, nothing selected on them; None if unknown
    shared: dict[str, int] = {}  # another split -> how many of these rows are in it too, verbatim
    drawn: bool = False  # development rows drawn from the training rows: a teacher from elsewhere may know them
    chose: list[str] = []  # what the run's development rows chose: "epoch", "start", "hyper-parameters"


class TeacherLevel(_Line):
    """How good the teacher is on the development rows, and whether it was trained enough."""

    metric: str
    score: float
    rows: int
    word_counts: float | None = None  # of TF-IDF of one and two words with a linear model
    word_count_rows: int = 0  # that it learned from
    still_rising: bool = False  # the teacher's last epoch was its best, by more than chance


class RunRecord(_Line):
    """What ran, on what, where."""

    record: Literal["run"] = "run"
    name: str
    created: str  # ISO 8601, UTC
    recipe: dict[str, Any]
    rows: dict[str, int]  # split -> rows
    teacher: ModelSource | None = None  # the recipe's model: the teacher, or the encoder that was fine-tuned
    teachers: list[ModelSource] = []  # of several teachers each, the first among them
    lead: int = 0  # the index of the one whose layers students start from and whose states they learn
    starts: list[ModelSource] = []  # encoders that students are, instead of teacher layers
    sources: dict[str, list[Source]] = {}  # split -> sources of its rows
    fingerprints: dict[str, str]  # "teacher", "data train", ... -> sha256
    versions: dict[str, str]  # library -> version
    hardware: dict[str, str]
    labels: list[str]
    problem_type: ProblemType = "single_label_classification"
    evaluated_on: Literal["test", "eval"]
    teacher_level: TeacherLevel | None = None  # None without development rows
    warnings: list[str] = []


class TermShare(_Line):
    """The size of one term of a student's loss at its start."""

    name: str  # "ce", "kd", "pt"
    weight: float  # in the mean loss over all rows; of patience it is β
    share: float  # of the sum of the weighted terms' gradient norms
    asked: float | None = None  # the requested share, from which its weight follows
    needed: float | None = None  # of a small one: the α or β that would give it 5 %


class RaceHeat(_Line):
    """One round of a race between a student's starts."""

    epochs: float  # of each training
    scores: dict[str, float | None]  # start -> dev score; None for a training that diverged
    kept: list[str]  # the starts that went on, the better first; of the last round the start that is kept


class Race(_Line):
    """How `start: auto` chose a student's start; controls share their student's start and have no race."""

    seed: int  # that all its trainings had
    starts: dict[str, str]  # start -> how it was made, in words
    heats: list[RaceHeat]


class ModelRecord(_Line):
    """The teacher, a further teacher or the mean of several, or one student with one seed."""

    record: Literal["model"] = "model"
    role: Literal["teacher", "student", "control"]
    name: str  # "teacher", which is the first of several, "teacher 2", "teachers' mean", "pkd-skip-L3-spread", ...
    folder: str  # relative to the run folder where it lies in it
    seed: int | None = None
    method: str | None = None  # "pkd-skip", "pkd-last", "pkd-map", "kd", "ft"
    layers: int
    width: float = 1.0  # share of the teacher's feed-forward neurons that each layer keeps
    start: str | None = None  # "spread", "first", "1.3.5", or the last part of the encoder's name
    start_layers: list[int] | None = None  # of the teacher, or of the encoder
    encoder: str | None = None  # the pretrained encoder that the student is, as in the run's `starts`
    layer_map: list[tuple[int, int]] | None = None
    labelled_rows: int = 0  # that it learned from
    unlabelled_rows: int = 0  # the user's, which it learned from besides
    augmented_rows: int = 0  # and those made of the labelled ones
    settings: dict[str, Any] = {}  # loss and training settings, written out
    terms: list[TermShare] = []  # of the loss, as it starts; of plain fine-tuning none
    split: Literal["test", "eval"]
    rows: int
    measured_on: MeasuredOn = MeasuredOn()
    scores: dict[str, Score]  # accuracy, macro_f1, mcc, cross_entropy, ece; agreement and kl for students
    blind_spots: BlindSpots = BlindSpots()  # one answer for all rows, classes that are never found
    selection: dict[str, Any] = {}  # {"metric", "score", "epoch", "on"}: which epoch was kept, and why
    starts_tried: dict[str, float] = {}  # start -> dev score, where several were named and trained in full
    race: Race | None = None  # how the start was chosen, where it was `auto`
    parameters: int
    bytes: int  # of the saved weights
    runtime: Runtime = "torch"  # what answered: PyTorch, or what runs an exported folder
    precision: str = "float32"  # what most products of these answers are computed in: float32, int8
    rows_per_second: float | None = None  # side by side in one run
    train_seconds: float | None = None
    devices: dict[str, str] = {}  # figure ("scores", "rows_per_second", "train_seconds") -> what computed it
    # logged steps: step, epoch, loss, loss/ce, loss/kd, loss/pt, eval_accuracy, ...
    history: list[dict[str, float]] = []


class ClassesRecord(_Line):
    """Figures of each class, for one model with one seed; regression and multiple choice have none.

    Of tags a class is a type of span, and what is counted are spans.

    The two matrices hold their cells above 0 as (row, column, how many rows), by the index of the classes in
    `classes`; sets of labels and spans have none, as each label there is a separate decision.
    """

    record: Literal["classes"] = "classes"
    model: str
    seed: int | None = None
    classes: list[ClassFigures]
    confusion: Cells = []  # (label, prediction, rows)
    against_teacher: Cells = []  # (the teacher's prediction, the model's prediction, rows)
    unit: Unit = "row"


class PairedTest(_Line):
    """Exact McNemar test of two models on the same examples: of one seed, or a seed's and a fixed one."""

    seed: int
    only_a: int  # rows that a alone has right
    only_b: int
    p: float


class ComparisonRecord(_Line):
    """Did it help? `a` against `b`: difference of gains per row (a − b) averaged over seeds, with its interval.

    A classifier's gain on a row is 1 if it is right, of tags if all spans are; in regression it is the negative squared
    error, so that more is better too. `metric` is the name of the gains' mean. The interval is over rows, and over the
    seeds of a method that has several; for a method with one seed the verdict is UNCLEAR.
    """

    record: Literal["comparison"] = "comparison"
    question: str  # "patience", "kd", "start first against spread", "augmented rows", "against the teacher", ...
    a: str
    b: str
    metric: str = "accuracy"
    difference: Score
    seeds_a: int | None  # of method a; None where it is one fixed model, as a teacher is
    seeds_b: int | None
    verdict: Literal["HELPS", "DOES NOT", "UNCLEAR"]
    examples: float  # what the difference amounts to, in rows, averaged over seeds
    rows: int
    tests: list[PairedTest]


class FlipRecord(_Line):
    """A negative flip: the teacher was right, the student is not; for sets and scores, the teacher was better."""

    record: Literal["flip"] = "flip"
    model: str
    seed: int
    row: int
    text: str
    label: str
    teacher: str
    student: str
    confidence: float | None = None  # of the student in its answer, of tags in its least certain word; a score has none
    marked: bool = False  # label and answers are the text with its spans marked


Record = RunRecord | ModelRecord | ClassesRecord | ComparisonRecord | FlipRecord
_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="record")])


def write_results(records: Iterable[Record], folder: Path) -> Path:
    """Write `results.jsonl` into `folder`, one record per line, whole or not at all."""
    path = RunFolder(folder).results
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))
    return path


def read_results(folder: Path) -> list[Record]:
    """Read `results.jsonl` from a run folder.

    Raises:
        CacheError: if the file is missing, of another version of pkd, or a line is not a record.
    """
    path = RunFolder(folder).results if folder.is_dir() else folder
    if not path.is_file():
        work = RunFolder.beside(folder.absolute()) if folder.absolute().name else None
        if work is not None and work.results.is_file():
            raise CacheError(f"{path} does not exist, but {work.results} does: give {work.path}.")
        raise CacheError(f"{path} does not exist. Run `pkd run` first, or name a run folder that has a {RESULTS}.")
    refuse_other_schema(path.parent)
    records: list[Record] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            records.append(_ADAPTER.validate_python(json.loads(line)))
        except (ValueError, ValidationError, RecursionError) as error:
            raise CacheError(
                f"{path}, line {number}, is not a record of this version of pkd: {error}. "
                "Run `pkd run` again to make it anew."
            ) from error
    return records


def folder_in_run(run_folder: Path, model: ModelRecord) -> Path:
    """The folder of a student of a run; a record's path is never followed out of the run folder.

    Raises:
        CacheError: if it would lead there.
    """
    place = run_folder / model.folder
    if not is_inside(model.folder) or not place.resolve().is_relative_to(run_folder.resolve()):
        raise CacheError(
            f"{RunFolder(run_folder).results}: {model.name} is said to lie in {model.folder!r}, outside the run. "
            "The file was changed by hand; run `pkd run` again to make it anew."
        )
    return place


def best_student(records: Sequence[Record]) -> ModelRecord:
    """The student's seed with the best development score; the first if there is no such score."""
    students = [record for record in records if isinstance(record, ModelRecord) and record.role == "student"]
    return max(students, key=lambda record: float(record.selection.get("score", 0.0)))


class Summary(_Line):
    """One model over its seeds, as tables show it: scores are mean and standard deviation (None for one seed)."""

    name: str
    role: Literal["teacher", "student", "control"]
    method: str | None
    layers: int
    width: float
    start: str | None
    seeds: list[int]
    mean: dict[str, float]
    deviation: dict[str, float | None]
    interval: dict[str, tuple[float, float] | None]  # mean over seeds of the bootstrap bounds
    unlabelled_rows: int
    parameters: int
    bytes: int
    precision: str
    rows_per_second: float | None


def summarise(records: Sequence[Record]) -> list[Summary]:
    """Summarise the model records by name, in their order, the teachers' first."""
    by_name: dict[str, list[ModelRecord]] = {}
    for record in records:
        if isinstance(record, ModelRecord):
            by_name.setdefault(record.name, []).append(record)
    return [_summary(models) for models in by_name.values()]


def _summary(models: list[ModelRecord]) -> Summary:
    first = models[0]
    speeds = [model.rows_per_second for model in models if model.rows_per_second]
    metrics = list(first.scores)
    values = {metric: [model.scores[metric].value for model in models] for metric in metrics}
    return Summary(
        name=first.name,
        role=first.role,
        method=first.method,
        layers=first.layers,
        width=first.width,
        start=first.start,
        seeds=[model.seed for model in models if model.seed is not None],
        mean={metric: _mean(values[metric]) for metric in metrics},
        deviation={metric: _deviation(values[metric]) for metric in metrics},
        interval={metric: _interval([model.scores[metric] for model in models]) for metric in metrics},
        unlabelled_rows=first.unlabelled_rows,
        parameters=first.parameters,
        bytes=first.bytes,
        precision=first.precision,
        rows_per_second=_mean(speeds) if speeds else None,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _interval(scores: Sequence[Score]) -> tuple[float, float] | None:
    if any(score.low is None or score.high is None for score in scores):
        return None
    return _mean([score.low or 0.0 for score in scores]), _mean([score.high or 0.0 for score in scores])
