"""The record of `pkd compress`: the shapes it looked at, the students it trained, and the one it chose.

It is the file `front.json` of the work folder; chart, page, card and terminal table are views of it. Times are
milliseconds, sizes bytes, shares between 0 and 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pkd.errors import CacheError
from pkd.recipe.schema import depth_label, encoder_label
from pkd.reporting.results import Score
from pkd.runs.folder import RunFolder
from pkd.runs.seal import refuse_other_schema, write_text

Precision = Literal["float32", "int8"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Shape(_Part):
    """What decides how fast and how large a student is: its layers, their width, and the precision of its weights.

    >>> Shape(layers=3).name, Shape(layers=3, width=0.5, precision="int8").name
    ('L3', 'L3-w0.5-int8')
    >>> Shape(layers=2, student="some/tiny-encoder", precision="int8").name
    'tiny-encoder-L2-int8'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int
    width: float = 1.0  # share of the feed-forward neurons that each layer keeps
    student: str | None = None  # the pretrained encoder that it is; None: cut from the teacher
    precision: Precision = "float32"

    @property
    def name(self) -> str:
        """The shape in tables and names of folders."""
        encoder = "" if self.student is None else f"{encoder_label(self.student)}-"
        precision = "" if self.precision == "float32" else f"-{self.precision}"
        return f"{encoder}{depth_label(self.layers, self.width)}{precision}"

    @property
    def trained(self) -> Shape:
        """The shape as it is trained: both precisions come from one training."""
        return self.model_copy(update={"precision": "float32"})


class Figures(_Part):
    """How fast and how large an exported graph is."""

    latency: Score  # median of one text, the graph alone
    p95: Score  # of one text
    throughput: Score | None = None  # rows per second, at the best of the batch sizes
    batch: int | None = None  # that batch size
    speed_up: Score | None = None  # the teacher's float32 forward pass in PyTorch over this graph, in turns
    bytes: int  # all files of the folder
    call: Score | None = None  # median of a whole call on one text, tokenising included; of real exports alone


class HeatScore(_Part):
    """The development score of a shape in one heat."""

    epochs: float  # of the heat's training
    score: float | None  # None for a training that diverged


REFUSED_EXPORT = "its int8 was refused"  # by the limits on what an export may change


class Candidate(_Part):
    """A shape of the search's space: what it would cost, and how far it came."""

    shape: Shape
    predicted: Figures  # with random weights
    over: list[str] = []  # the constraints that it breaks, in words; empty within the budget
    scores: list[HeatScore] = []  # of the heats it was in
    stopped: str = ""  # why it did not go on: "dominated by L2", "heat 1"; empty for finalists, those over budget

    @property
    def is_refused(self) -> bool:
        """Whether its export was refused."""
        return self.stopped == REFUSED_EXPORT


class Point(_Part):
    """A student trained with full effort, exported and measured."""

    number: int  # from the fastest, from 1
    shape: Shape
    folder: str  # of the export, relative to the work folder
    student: str  # the ordinary folder, relative to the work folder
    predicted: Figures | None = None
    measured: Figures
    score: Score  # of the exported model, on the development rows
    drop: Score  # the teacher's score minus it, paired
    epochs: tuple[float, float] | None = None  # done, of how many, where the time ended its training; None: whole
    test: Score | None = None  # its score on the test rows
    over: list[str] = []  # the constraints that it breaks, in words
    on_front: bool = True  # no other point is both as fast and as good
    ties: bool = False  # level with the best: the paired interval of their difference holds 0
    chosen: bool = False
    nearest: bool = False  # the one that is least beyond the budget, where none keeps to it


class Baseline(_Part):
    """Word counts with a linear model: what a user could have for nothing."""

    score: Score  # on the development rows
    latency: Score  # median of one text
    bytes: int


class TeacherFigures(_Part):
    """The model to compress."""

    name: str
    score: Score  # on the development rows
    latency: Score  # median of one text, the float32 forward pass in PyTorch
    test: Score | None = None


class Compressed(_Part):
    """A search within a budget, whole."""

    budget: dict[str, Any]  # the constraints that were given, and the limits of the space
    metric: str
    teacher: TeacherFigures
    candidates: list[Candidate]  # the fastest first
    points: list[Point]  # the fastest first
    words: Baseline | None = None
    effort: str
    seeds: list[int]
    rows: dict[str, int]  # split -> rows
    hardware: dict[str, str]
    threads: int  # cores that one text is answered on
    cpu_shares: dict[str, float] = {}  # shapes, exports -> share of the cores that the process got as it timed them
    seconds: dict[str, float] = {}  # phase -> how long it took

    @property
    def chosen(self) -> Point | None:
        """The point that is deployed; None where no student is within the drop."""
        return next((point for point in self.points if point.chosen), None)

    @property
    def nearest(self) -> Point | None:
        """The point that is least beyond the budget; None where one keeps to it."""
        return next((point for point in self.points if point.nearest), None)


def write_front(compressed: Compressed, folder: Path) -> Path:
    """Write `front.json` into a work folder, whole or not at all."""
    path = RunFolder(folder).front
    write_text(path, compressed.model_dump_json(indent=2) + "\n")
    return path


def read_front(folder: Path) -> Compressed:
    """Read the record of a search from its work folder.

    Raises:
        CacheError: if there is none, or it is not a record of this version.
    """
    path = RunFolder(folder).front
    if not path.is_file():
        raise CacheError(f"{path} does not exist. Run `pkd compress` first, or name the work folder of one.")
    refuse_other_schema(folder)
    try:
        return Compressed(**json.loads(path.read_bytes()))
    except (ValueError, TypeError, ValidationError, RecursionError) as error:
        raise CacheError(
            f"{path} is not a record of this version of pkd: {error}. Run `pkd compress` again to make it anew."
        ) from error
