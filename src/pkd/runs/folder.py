"""The layout of a run, declared once: the path of each stage.

RUN/
  recipe.yaml                   the recipe as it ran
  data/                         rows that the demo, or a quick look at a table, took
  teacher/, teacher-2/, ...     transformers folders
  word-counts/                  the word-count baseline's score
  word-counts-timed/            its answers to the development rows, and how fast it gives one
  encodings/SPLIT-KEY/          word pieces; a tokenizer has a key
  annotated/SPLIT/              the teacher's answers; annotated-2/SPLIT/, ... those of further teachers
  ensemble/SPLIT/               the rows with the mean of several teachers' answers
  importance/                   how much each feed-forward neuron of the teacher matters
  dropping/                     the order in which greedy dropping takes the teacher's layers
  races/NAME-roundR/            the score of a start in a round of its race
  sizes/NAME/                   how large each term of a student's loss is as it starts
  students/NAME-seedS/          transformers folders
  predictions/NAME-seedS/       logits on the evaluated rows
  trials/HASH/                  of a sweep
  sweep.jsonl                   of a sweep: a line per point
  shapes/                       of a search within a budget: how fast and how large each shape is
  exports/NAME/                 and its finalists as they would be deployed
  timings/                      and how fast they are, in turns
  front.json                    and its record
  results.jsonl, report.html    the record and its page, which the run's own manifest seals
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pkd.runs.seal import MANIFEST, PARTIAL, partial_of, was_set_aside

CARD = "README.md"
RESULTS = "results.jsonl"
FRONT = "front.json"
REPORT = "report.html"
VIEWS = (CARD, RESULTS, REPORT)  # rewritten when results change, so not sealed with a stage
_STUDENTS, _WORK = "students", ".work"
_STAGES = (
    "teacher",
    "teacher-[0-9]*",
    "word-counts",
    "word-counts-timed",
    "encodings/*",
    "annotated/*",
    "annotated-[0-9]*/*",
    "ensemble/*",
    "importance",
    "dropping",
    "races/*",
    "sizes/*",
    f"{_STUDENTS}/*",
    "predictions/*",
    "trials/*",
    "shapes",
    "exports/*",
    "timings",
)


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; iterating yields the folder of every stage, including unfinished and set-aside ones."""

    path: Path

    @classmethod
    def beside(cls, output: Path) -> RunFolder:
        """The run of a `pkd distill` output."""
        return cls(output.with_name(output.name + _WORK))

    @classmethod
    def holding(cls, student: Path) -> Iterator[RunFolder]:
        """The runs that may have made a student: the one beside it, then the one whose `students/` contains it."""
        student = student.absolute()
        yield cls.beside(student)
        if student.parent.name == _STUDENTS:
            yield cls(student.parent.parent)

    @property
    def title(self) -> str:
        """The title of a run without a name: its folder's, its student's, or the project's."""
        place = Path(os.path.abspath(self.path))  # noqa: PTH100 - `Path.resolve` would follow links
        is_default = place.parent.name == "runs" and place.name == "run"  # nobody called it so
        return (place.parent.parent.name if is_default else place.name).removesuffix(_WORK) or place.name

    @property
    def recipe(self) -> Path:
        """The recipe as it ran."""
        return self.path / "recipe.yaml"

    @property
    def data(self) -> Path:
        """The rows that the demo, or a quick look at a table, took."""
        return self.path / "data"

    @property
    def data_plan(self) -> Path:
        """The record of which rows those are."""
        return self.data / "plan.json"

    @property
    def teacher(self) -> Path:
        """The teacher, if the run fine-tuned it."""
        return self.path / "teacher"

    @property
    def word_counts(self) -> Path:
        """The word-count baseline, beside which a teacher that was not fine-tuned here is held."""
        return self.path / "word-counts"

    @property
    def timed_words(self) -> Path:
        """The same baseline as a model that could be deployed: its answers to the development rows, and how fast."""
        return self.path / "word-counts-timed"

    def teacher_of(self, number: int) -> Path:
        """The teacher of a number, from 1, if the run fine-tuned it."""
        return _numbered(self.teacher, number)

    def annotated(self, split: str, number: int = 1) -> Path:
        """A split with the logits and states of the teacher of a number, from 1."""
        return _numbered(self.path / "annotated", number) / split

    def encoding(self, split: str, key: str) -> Path:
        """The word pieces of a split, as readers of a key make them."""
        return self.path / "encodings" / f"{split}-{key}"

    def ensemble(self, split: str) -> Path:
        """A split with the mean of several teachers' logits, and the states of one of them."""
        return self.path / "ensemble" / split

    @property
    def importance(self) -> Path:
        """How much each feed-forward neuron of the teacher matters, for narrow students."""
        return self.path / "importance"

    @property
    def shapes(self) -> Path:
        """How fast and how large each shape of a student is, measured before any is trained."""
        return self.path / "shapes"

    @property
    def dropping(self) -> Path:
        """The order in which greedy dropping takes the teacher's layers."""
        return self.path / "dropping"

    def race(self, name: str, number: int) -> Path:
        """The score of a student from one start in a round of the race between its starts."""
        return self.path / "races" / f"{name}-round{number}"

    def sizes(self, name: str) -> Path:
        """How large each term of a student's loss is as it starts."""
        return self.path / "sizes" / name

    def student(self, name: str, seed: int) -> Path:
        """A trained student."""
        return self.path / _STUDENTS / f"{name}-seed{seed}"

    def student_so_far(self, name: str, seed: int) -> Path:
        """A student from the best epoch of a training that the time of a search ended."""
        return self.path / _STUDENTS / f"{name}-seed{seed}-so-far"

    def predictions(self, name: str, seed: int) -> Path:
        """A student's logits on the evaluated rows."""
        return self.path / "predictions" / f"{name}-seed{seed}"

    def export_predictions(self, name: str, split: str) -> Path:
        """A finalist's logits on a split, as it would be deployed."""
        return self.path / "predictions" / f"{name}-{split}"

    @property
    def timings(self) -> Path:
        """How fast the finalists of a search are, as they would be deployed."""
        return self.path / "timings"

    def trial(self, fingerprint: str) -> Path:
        """A point of a sweep, by the fingerprint of its inputs."""
        return self.path / "trials" / fingerprint[:16]

    @property
    def trials_table(self) -> Path:
        """The table of a sweep, one line per point."""
        return self.path / "sweep.jsonl"

    @property
    def trials_scratch(self) -> Path:
        """Ray's files during a sweep; inside the run, so that every node sees them."""
        return self.path / ".ray"

    def export(self, name: str) -> Path:
        """A finalist of a search as it would be deployed."""
        return self.path / "exports" / name

    @property
    def front(self) -> Path:
        """The record of a search within a budget."""
        return self.path / FRONT

    @property
    def results(self) -> Path:
        """The record of the run."""
        return self.path / RESULTS

    @property
    def report(self) -> Path:
        """The page of the run."""
        return self.path / REPORT

    def name_of(self, path: Path) -> str:
        """The name of a path in records: relative to the run's folder."""
        return path.relative_to(self.path).as_posix()

    def __iter__(self) -> Iterator[Path]:
        for pattern in _STAGES:
            found = {path for end in ("", ".*") for path in self.path.glob(pattern + end) if path.is_dir()}
            for path in sorted(found):
                if fnmatch(path.name, Path(pattern).name) or path.name.endswith(PARTIAL) or was_set_aside(path):
                    yield path

    def is_run(self) -> bool:
        """Whether the folder contains any part of a run."""
        return self.recipe.is_file() or self.results.is_file() or self.front.is_file() or any(self)

    def is_begun(self) -> bool:
        """Whether a run has begun here and so owns the folder: the demo first chooses rows, a search times shapes."""
        first = (self.recipe, self.teacher, self.annotated("train").parent, self.timed_words, self.shapes)
        return self.data_plan.exists() or any(
            path.with_name(path.name + end).exists() for path in first for end in ("", PARTIAL)
        )

    def is_sealed(self) -> bool:
        """Whether the run is finished: record and page are sealed."""
        return (self.path / MANIFEST).is_file()


def _numbered(path: Path, number: int) -> Path:
    """The path of the first of several has no number, as that of a single one."""
    return path if number == 1 else path.with_name(f"{path.name}-{number}")


def places_at(place: Path) -> Iterator[Path]:
    """The runs and stages at a path: the folder itself, its unfinished and work folders, and the folders inside."""
    place = Path(os.path.abspath(place))  # noqa: PTH100 - `.` gets a name, and links are not followed
    near = (
        [place]
        if RunFolder(place).is_run() or not place.name
        else [place, partial_of(place), RunFolder.beside(place).path]
    )
    for each in (*near, *(sorted(place.iterdir()) if place.is_dir() else ())):
        if each.is_dir() and (each == place or not was_set_aside(each)):
            is_stage = (each / MANIFEST).is_file() or each.name.endswith(PARTIAL)
            if is_stage or RunFolder(each).is_run():
                yield each
