"""The tasks of the paper's benchmarks as plain data: where their files and columns are, and how they are scored.

GLUE (Wang et al. 2019) as its own tab-separated files or as `nyu-mll/glue` on the hub; RACE (Lai et al. 2017) as its
own folders of JSON or as `ehovy/race`. GLUE's test labels are hidden: the development rows are measured on, and MNLI's
mismatched rows serve as test rows, on which nothing is selected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pkd.recipe.faults import Fault
from pkd.recipe.places import local_path
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import Metric, ProblemType
from pkd.recipe.spelling import named

_LEFT_OPEN: tuple[Any, ...] = (None, [], "auto")  # values that `pkd recipe` writes for unset keys


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task.

    Attributes:
        folder: of its files, within the benchmark's folder.
        hub: its dataset on the hub.
        files: split → file, in `folder`.
        hub_splits: split → split of the hub's dataset.
        columns: names of the columns, where the labelled files have no header.
        text_columns: in the files; on the hub they are found by their usual names.
        label_column: in the files.
        label_names: classes in the order of their ids, which integer labels stand for.
        metric: the benchmark's.
        problem_type: what is learned.
        test_files: the leaderboard's file → the file of unlabelled rows to predict for it.
        answers: the leaderboard's format: class ids, class names, or scores from 0 to 5.
        max_length: word pieces, the paper's limit.
    """

    folder: str
    hub: str
    files: dict[str, str]
    hub_splits: dict[str, str]
    columns: tuple[str, ...] = ()
    text_columns: tuple[str, ...] = ()
    label_column: str | None = None
    label_names: tuple[str, ...] = ()
    metric: Metric = "accuracy"
    problem_type: ProblemType = "single_label_classification"
    test_files: dict[str, str]
    answers: Literal["ids", "names", "scores"] = "ids"
    max_length: int = 128


def _glue(folder: str, config: str, label_names: tuple[str, ...] = (), **more: Any) -> Task:
    values: dict[str, Any] = {
        "files": {"train": "train.tsv", "eval": "dev.tsv"},
        "hub_splits": {"train": "train", "eval": "validation"},
        "test_files": {f"{folder}.tsv": "test.tsv"},
        **more,
    }
    return Task(folder=folder, hub=f"nyu-mll/glue/{config}", label_names=label_names, **values)


_ENTAILMENT = ("entailment", "not_entailment")

TASKS = {
    "cola": _glue(
        "CoLA", "cola", ("unacceptable", "acceptable"), metric="mcc",
        columns=("source", "label", "star", "sentence"), text_columns=("sentence",), label_column="label",
    ),
    "sst2": _glue("SST-2", "sst2", ("negative", "positive"), text_columns=("sentence",), label_column="label"),
    "mrpc": _glue(
        "MRPC", "mrpc", ("not_equivalent", "equivalent"),
        text_columns=("#1 String", "#2 String"), label_column="Quality",
    ),
    "stsb": _glue(
        "STS-B", "stsb", metric="pearson", problem_type="regression", answers="scores",
        text_columns=("sentence1", "sentence2"), label_column="score",
    ),
    "qqp": _glue(
        "QQP", "qqp", ("not_duplicate", "duplicate"),
        text_columns=("question1", "question2"), label_column="is_duplicate",
    ),
    "mnli": _glue(
        "MNLI", "mnli", ("entailment", "neutral", "contradiction"),
        files={"train": "train.tsv", "eval": "dev_matched.tsv", "test": "dev_mismatched.tsv"},
        hub_splits={"train": "train", "eval": "validation_matched", "test": "validation_mismatched"},
        test_files={"MNLI-m.tsv": "test_matched.tsv", "MNLI-mm.tsv": "test_mismatched.tsv"},
        text_columns=("sentence1", "sentence2"), label_column="gold_label", answers="names",
    ),
    "ax": _glue(  # the benchmark's diagnostic rows, unlabelled, predicted by a classifier of MNLI
        "AX", "ax", ("entailment", "neutral", "contradiction"), files={}, hub_splits={},
        test_files={"AX.tsv": "AX.tsv"}, text_columns=("sentence1", "sentence2"), answers="names",
    ),
    "qnli": _glue(
        "QNLI", "qnli", _ENTAILMENT, text_columns=("question", "sentence"), label_column="label", answers="names"
    ),
    "rte": _glue(
        "RTE", "rte", _ENTAILMENT, text_columns=("sentence1", "sentence2"), label_column="label", answers="names"
    ),
    "wnli": _glue(
        "WNLI", "wnli", ("not_entailment", "entailment"),
        text_columns=("sentence1", "sentence2"), label_column="label",
    ),
    "race": Task(
        folder="RACE", hub="ehovy/race/all",
        files={"train": "train", "eval": "dev", "test": "test"},
        hub_splits={"train": "train", "eval": "validation", "test": "test"},
        problem_type="multiple_choice", test_files={}, max_length=512,
    ),
}  # fmt: skip


def task_of(name: str) -> Task | None:
    """Look up a task by name; "SST-2", "sst2" and "sst_2" are the same."""
    return TASKS.get(name.lower().replace("-", "").replace("_", ""))


def place_of(task: Task, folder: str) -> Path:
    """The task's own folder, whether `folder` is it or holds it."""
    inside = local_path(folder) / task.folder
    some = next(iter({**task.files, **task.test_files}.values()))
    return inside if inside.is_dir() or not (inside.parent / some).exists() else inside.parent


def leaderboard_sources(task: Task, folder: str | None) -> dict[str, str]:
    """The leaderboard's file → the source of its rows, in the benchmark's folder or on the hub."""
    if folder is not None:
        return {name: str(place_of(task, folder) / file) for name, file in task.test_files.items()}
    return {  # test_matched.tsv is the hub's split test_matched; the diagnostic rows are a test split like others
        name: f"{task.hub}:{Path(file).stem if file.startswith('test') else 'test'}"
        for name, file in task.test_files.items()
    }


def fill_in_task(recipe: Recipe, given: Collection[str]) -> Iterator[Fault]:
    """Fill in the keys that `data.task` stands for, unless they were given.

    `given` are the keys of `data` that were written: their values win, even defaults, unless they are open (null, [] or
    auto).
    """
    data = recipe.data
    if data.task is None:
        if data.folder is not None:
            yield Fault(
                ("data", "folder"), f"is given without {named('data.task')}, whose files it would hold; name the task"
            )
        return
    task = task_of(data.task)
    if task is None:
        yield Fault(("data", "task"), f"is {data.task}, which is no task known here; they are {', '.join(TASKS)}")
        return
    found: dict[str, Any] = {"label_names": list(task.label_names), "problem_type": task.problem_type}
    if data.folder is not None:
        place = place_of(task, data.folder)
        found |= {split: str(place / file) for split, file in task.files.items()}
        found |= {
            "text_columns": list(task.text_columns), "label_column": task.label_column,
            "column_names": list(task.columns), "on_uneven": "drop",
        }  # fmt: skip
    else:
        found |= {split: f"{task.hub}:{part}" for split, part in task.hub_splits.items()}
    found["max_length"] = task.max_length
    for name, value in found.items():
        if name not in given or getattr(data, name) in _LEFT_OPEN:
            setattr(data, name, value)
    if recipe.evaluation.metric == "auto":
        recipe.evaluation.metric = task.metric
