"""The paper's published numbers, each with its source, read from the one file that holds them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from pkd.errors import RecipeError

Method = Literal["teacher", "ft", "kd", "pkd-last", "pkd-skip"]
PUBLISHED_FILE = "published.yaml"
TABLES = {
    "table1": "GLUE: the teacher, and students by fine-tuning (FT), KD and PKD-Skip",
    "table2": "Which layers to learn from: PKD-Last against PKD-Skip",
    "table3": "RACE: the teacher, and students by fine-tuning (FT), KD and PKD-Skip",
    "table4": "Parameters and inference time by depth",
    "table5": "A larger teacher",
}
GLUE_TASKS = ("RTE", "MRPC", "SST-2", "QQP", "MNLI", "QNLI", "CoLA", "STS-B", "WNLI")
_PUBLISHED_TASKS = GLUE_TASKS[:6]  # the others have no published numbers that could be verified


def tasks_of(table: str, given: str | Sequence[str]) -> list[str]:
    """The requested tasks of a table, by the names of GLUE's folders; by default, all published.

    Raises:
        RecipeError: if the table has no task of that name.
    """
    words = [word.strip() for word in (given.split(",") if isinstance(given, str) else given) if word.strip()]
    known = ("RACE",) if table == "table3" else GLUE_TASKS
    by_name = {name.lower().replace("-", ""): name for name in known}
    named = [by_name.get(task.lower().replace("-", ""), "") for task in words]
    if wrong := [task for task, name in zip(words, named, strict=True) if not name]:
        raise RecipeError(f"{table} has no task {', '.join(wrong)}; choose from {', '.join(known)}.")
    return list(dict.fromkeys(named)) or list(known if table == "table3" else _PUBLISHED_TASKS)


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelKey(_Facts):
    """Which model of the paper a number is of.

    Attributes:
        method: how it was trained.
        layers: its depth.
        teacher: the depth of its teacher; a teacher's own is its depth.
        start: the depth of the encoder that its layers come from.
    """

    method: Method
    layers: int
    teacher: int = 12
    start: int = 12


class PublishedScore(_Facts):
    """One published number, in percent, and its source."""

    value: float
    task: str
    model: ModelKey
    metric: Literal["accuracy", "f1"]
    split: Literal["dev", "test"]
    source: str


class PublishedSize(_Facts):
    """How large a model of this depth is, and how many times smaller than that of 12 layers."""

    source: str
    layers: int
    parameters_millions: float
    smaller: float | None = None


class PublishedSpeed(_Facts):
    """How many times faster a model of this depth runs than that of 12 layers."""

    source: str
    layers: int
    faster: float


class WinningSettings(_Facts):
    """The settings that won on a task; `learning_rate` is the training's, the others are the loss's."""

    learning_rate: float
    temperature: float
    alpha: float
    beta: float
    normalize: bool

    def of_loss(self) -> dict[str, Any]:
        """Those that belong to a student's loss."""
        return self.model_dump(exclude={"learning_rate"})


class Published(_Facts):
    """The content of the file; `sources` describes each source."""

    sources: dict[str, str]
    scores: tuple[PublishedScore, ...]
    settings: dict[str, WinningSettings]
    sizes: tuple[PublishedSize, ...]
    speeds: tuple[PublishedSpeed, ...]

    def dev_score(self, task: str, model: ModelKey) -> PublishedScore | None:
        """The accuracy on the development set, as our own runs measure; None if none is published."""
        return next((one for one in self.scores if (one.task, one.model, one.split) == (task, model, "dev")), None)

    def test_scores(self, tasks: tuple[str, ...]) -> list[PublishedScore]:
        """The scores on test servers, whose labels are hidden: no number of ours compares with them."""
        return [one for one in self.scores if one.split == "test" and one.task in tasks]


@functools.cache
def published() -> Published:
    """The published numbers that come with the package."""
    text = (files("pkd.recipes") / "paper" / PUBLISHED_FILE).read_text(encoding="utf-8")
    values = YAML(typ="safe").load(text)
    scores = [
        {**{name: block[name] for name in ("source", "split", "metric")}, "task": task, "value": value, "model": model}
        for block in values.pop("results")
        for line in block["models"]
        for model in [{name: line[name] for name in ("method", "layers", "teacher", "start")}]
        for task, value in line["values"].items()
    ]
    return Published.model_validate({**values, "scores": scores, "settings": values["settings"]["tasks"]})
