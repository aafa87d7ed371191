"""The paper's tables: our scores beside the published ones, as rows of text for the terminal and the page.

A published number is shown with the difference only if it is comparable: teacher and student of the published depths
and width, all rows. Elsewhere it is a reference, in brackets and without a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pkd.reporting.amounts import NONE, difference_text, metric_title, score_text, shown, shown_difference
from pkd.reporting.blind_spots import blind_sentences
from pkd.reporting.published import ModelKey, Published, PublishedScore, published
from pkd.reporting.results import ModelRecord, Record, Summary, summarise
from pkd.reporting.wording import main_metric, rows_of

METHODS = {"teacher": "teacher", "ft": "FT", "kd": "KD", "pkd-last": "PKD-Last", "pkd-skip": "PKD-Skip"}


@dataclass(frozen=True)
class TaskResult:
    """The results of a task's run.

    Attributes:
        task: GLUE's name of it, as "RTE".
        records: of its run.
        keys: name of a model in the records -> the paper's model.
        incomparable: why the published numbers are not comparable with ours; "" if they are.
        folder: of the run, relative to the table's.
    """

    task: str
    records: Sequence[Record]
    keys: Mapping[str, ModelKey]
    incomparable: str
    folder: str


@dataclass(frozen=True)
class PaperRow:
    """One model on one task: numbers in percent for programs, texts for people."""

    task: str
    name: str
    model: str  # "PKD-Skip"
    layers: int
    teacher_layers: int
    metric: str
    split: str
    rows: int
    seeds: int
    value: float
    deviation: float | None
    published: float | None
    published_of: str  # "12 → 6"
    comparable: bool
    difference: float | None
    rows_text: str
    ours_text: str
    published_text: str
    difference_text: str

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, without the texts."""
        return {name: value for name, value in vars(self).items() if not name.endswith("_text")}


def paper_rows(results: Sequence[TaskResult]) -> list[PaperRow]:
    """The table's rows: task by task, the models in the order in which they were trained."""
    facts = published()
    return [_row(result, summary, facts) for result in results for summary in summarise(result.records)]


def paper_notes(results: Sequence[TaskResult]) -> list[str]:
    """Notes for reading the table, one sentence each."""
    facts = published()
    rows = paper_rows(results)
    reasons = {result.incomparable for result in results}
    if len(reasons) == 1:  # once, if it holds for all tasks
        notes = [reason for reason in reasons if reason]
    else:
        notes = [f"{result.task}: {result.incomparable}" for result in results if result.incomparable]
    for result in results:
        blind = blind_sentences(result.records)
        notes += [f"{result.task}: {sentence}" for sentence in blind.values()]
        if _answers_one_class(result):
            notes.append(
                f"{result.task}: so its teacher learnt nothing, and its students could learn nothing from it. Train it "
                "on more rows or for longer."
            )
    if any(row.published is not None and not row.comparable for row in rows):
        notes.append(
            "[…] is published for BERT (teacher → student layers stand behind it), for reference: it is no result for "
            "the models above it, and no difference is taken."
        )
    if any(row.published is not None for row in rows):
        notes.append(f"Published: {facts.sources['reference-results']}.")
    if missing := [result.task for result in results if result.task not in facts.settings]:
        notes.append(f"No settings are published for {', '.join(missing)}: the recipe's defaults were taken.")
    if any(row.split == "eval" for row in rows):
        notes.append(
            "Ours, like the published ones, are measured on development rows, on which the best epoch was chosen too."
        )
    return notes


def hidden_test_sentences(tasks: Sequence[str]) -> list[str]:
    """The published scores on test servers, whose labels are hidden: for reference, without numbers of ours."""
    facts = published()
    metrics = {"accuracy": "accuracy", "f1": "F1"}
    return [
        f"{one.task}: {METHODS[one.model.method]}, {one.model.teacher} → {one.model.layers} layers, "
        f"{metrics[one.metric]} {one.value:g} ({facts.sources[one.source]})"
        for one in facts.test_scores((*tasks, *(["MNLI-mm"] if "MNLI" in tasks else [])))
    ]


def task_title(rows: Sequence[PaperRow]) -> str:
    """The title of one task: the rows it was measured on."""
    first = rows[0]
    return f"{first.task}: {metric_title(first.metric, unit=True)}, {first.rows_text}"


def rows_by_task(rows: Sequence[PaperRow]) -> Iterator[list[PaperRow]]:
    """The rows, task by task."""
    for task in dict.fromkeys(row.task for row in rows):
        yield [row for row in rows if row.task == task]


def _difference(metric: str, ours: float, published: PublishedScore) -> str:
    return difference_text(metric, shown_difference(metric, ours, published.value / 100), sign=True)


def _answers_one_class(result: TaskResult) -> bool:
    teachers = (one for one in result.records if isinstance(one, ModelRecord) and one.role == "teacher")
    return any(one.blind_spots.one_answer is not None for one in teachers)


def _row(result: TaskResult, summary: Summary, facts: Published) -> PaperRow:
    metric = main_metric(result.records)
    key = result.keys.get(summary.name)
    found = facts.dev_score(result.task, key) if key is not None and metric == "accuracy" else None
    teacher = next(one for one in summarise(result.records) if one.role == "teacher")
    model = next(one for one in result.records if isinstance(one, ModelRecord) and one.name == summary.name)
    value, deviation = shown(metric, summary.mean[metric]), summary.deviation[metric]
    comparable = found is not None and model.split == "eval" and not result.incomparable
    difference = value - found.value if found is not None and comparable else None
    of = "" if key is None else f"{key.teacher} → {key.layers}" if key.method != "teacher" else str(key.layers)
    return PaperRow(
        task=result.task,
        name=summary.name,
        model=METHODS.get("teacher" if summary.role == "teacher" else summary.method or "", summary.name),
        layers=summary.layers,
        teacher_layers=teacher.layers,
        metric=metric,
        split=model.split,
        rows=model.rows,
        rows_text=rows_of(model),
        seeds=len(summary.seeds),
        value=value,
        deviation=None if deviation is None else shown(metric, deviation),
        published=None if found is None else found.value,
        published_of=of,
        comparable=comparable,
        difference=difference,
        ours_text=score_text(summary, metric),
        published_text=NONE if found is None else f"{found.value:.1f}" if comparable else f"[{found.value:.1f}] {of}",
        difference_text=_difference(metric, summary.mean[metric], found) if comparable and found else NONE,
    )
