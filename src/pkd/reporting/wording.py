"""The wording of results, the same for terminal, page and model card.

Records go in; sentences and table cells come out, as plain text that each view escapes in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pkd.evaluation.metric_facts import facts_of
from pkd.reporting.amounts import (
    NONE,
    _scale,
    confidence_text,
    count_text,
    difference_text,
    examples_text,
    interval_of,
    is_share,
    mean_text,
    metric_title,
    p_text,
    score_text,
    shown_difference,
)
from pkd.reporting.blind_spots import blindness
from pkd.reporting.evaluated_rows import rows_in_words, rows_warning
from pkd.reporting.results import ComparisonRecord, ModelRecord, Record, RunRecord, Summary, summarise
from pkd.reporting.runtimes import RUNTIME_TITLES

AGAINST_TEACHER = "against the teacher"
AGAINST_ALONE = "against the same encoder fine-tuned alone"
TEACHER, TEACHERS_MEAN = "teacher", "teachers' mean"  # in results

# (unlabelled text, augmented rows) -> what a student without them is compared for
TRANSFER = {
    (True, False): "unlabelled text",
    (False, True): "augmented rows",
    (True, True): "unlabelled text and augmented rows",
}
_SUBJECTS = {"patience": "Patience", "kd": "The teacher's softened output (KD)", AGAINST_ALONE: "Distillation"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the results table, as text."""

    name: str
    role: str
    seeds: int
    layers: str  # "3", or "3, width 0.5" of a narrow student
    scores: dict[str, str]  # metric -> "82.9 ± 0.3", or "–" if not measured
    means: dict[str, str]  # metric -> "82.9"
    rows_per_second: str
    speed: str  # against the teacher's, "2.1×"
    parameters: str  # "17.3 M"
    share: str  # of the teacher's parameters, "76 %"
    size: str  # "69 MB"


def run_of(records: Sequence[Record]) -> RunRecord | None:
    """The record of the run itself; None if there is none."""
    return next((record for record in records if isinstance(record, RunRecord)), None)


def rows_of(model: ModelRecord) -> str:
    """The rows behind a model's scores, in words."""
    return rows_in_words(model.split, model.rows, model.measured_on)


def warning_of_rows(records: Sequence[Record]) -> str:
    """Why the scores are too high, and what to do; empty if they are not, or it is not known."""
    models = (record for record in records if isinstance(record, ModelRecord))
    warnings = (rows_warning(model.split, model.rows, model.measured_on) for model in models)
    return next((warning for warning in warnings if warning), "")


def comparisons_of(records: Sequence[Record]) -> list[ComparisonRecord]:
    """The comparisons in their order, with the difference of the two scores as tables show them."""
    means = {summary.name: summary.mean for summary in summarise(records)}
    return [_as_tabled(record, means) for record in records if isinstance(record, ComparisonRecord)]


def _as_tabled(comparison: ComparisonRecord, means: Mapping[str, Mapping[str, float]]) -> ComparisonRecord:
    """The comparison with a difference that agrees with the table to the last digit."""
    scores = [means.get(name, {}).get(comparison.metric) for name in (comparison.a, comparison.b)]
    if scores[0] is None or scores[1] is None:
        return comparison
    gained = shown_difference(comparison.metric, scores[0], scores[1])
    value = -gained if facts_of(comparison.metric).is_error else gained
    scale, decimals = _scale(comparison.metric)
    if abs(value - comparison.difference.value) * scale > 10**-decimals:  # of other seeds than the table's
        return comparison
    return comparison.model_copy(update={"difference": comparison.difference.model_copy(update={"value": value})})


def main_metric(records: Sequence[Record]) -> str:
    """The metric that chose the best epoch, if every model has it; else the first that they have."""
    run = run_of(records)
    metric = str((run.recipe.get("evaluation") or {}).get("metric", "accuracy")) if run else ""
    models = [record for record in records if isinstance(record, ModelRecord)]
    if models and not all(metric in model.scores for model in models):
        return next(iter(models[0].scores))  # the first is that of the kind of problem
    return metric or "accuracy"


def confidence_of(records: Sequence[Record]) -> float:
    """The confidence of the run's intervals."""
    run = run_of(records)
    return float((run.recipe.get("evaluation") or {}).get("confidence", 0.95)) if run else 0.95


def teachers_named(run: RunRecord | None) -> list[str]:
    """The names of a run's teachers, of fine-tuned ones with their numbers; empty if unknown."""
    if run is None or run.teacher is None:
        return []
    names = [source.name for source in run.teachers]
    if len(set(names)) < len(names):
        return [f"{name}, fine-tuning {number}" for number, name in enumerate(names, start=1)]
    return names or [run.teacher.name]


def teacher_of(records: Sequence[Record]) -> Summary | None:
    """The teacher, the first of several; None if it was not measured."""
    return next((summary for summary in summarise(records) if summary.role == "teacher"), None)


def featured(records: Sequence[Record]) -> Summary | None:
    """The student of the headline: the best on development data, never on the reported rows.

    The first student if nothing was selected on development data, the first model if there is no student.
    """
    summaries = summarise(records)
    students = [summary for summary in summaries if summary.role == "student"]
    if not students:
        return next((summary for summary in summaries if summary.role == "control"), None) or next(
            iter(summaries), None
        )
    selected = {student.name: _selection_score(records, student.name) for student in students}
    if any(score is None for score in selected.values()):
        return students[0]
    return max(students, key=lambda student: selected[student.name] or 0.0)


def headline(records: Sequence[Record]) -> str:
    """The result in a sentence or two."""
    return " ".join(headline_sentences(records))


def headline_sentences(records: Sequence[Record]) -> list[str]:
    """The featured student's score, the share of the teacher's it kept, its cost; then what its score may hide."""
    student, teacher = featured(records), teacher_of(records)
    if student is None:
        return ["No model was measured."]
    metric = main_metric(records)
    score, bracket, interval = score_text(student, metric).partition(" (")
    measured = f"{score}{' %' if is_share(metric) else ''} {metric_title(metric)}{bracket}{interval}"
    sentence = f"{student.name}: {measured} on {_rows_text(records, student.name)}"
    blind = [f"It {words}."] if (words := blindness(records, student.name)) else []
    if teacher is None or teacher.name == student.name:
        return [f"{sentence}.", *blind]
    sentence += f", {_beside_teacher(records, student, teacher, metric)}"
    costs = [f"{student.parameters / teacher.parameters:.0%}".replace("%", " %") + " of its parameters"]
    if student.precision != teacher.precision:
        costs.append(f"{student.bytes / teacher.bytes:.0%}".replace("%", " %") + " of its size")
    if student.rows_per_second and teacher.rows_per_second:
        costs.insert(0, f"{student.rows_per_second / teacher.rows_per_second:.1f} times its speed")
    return [f"{sentence}, at {' and '.join(costs)}.", *blind]


def weights_words(selection: Mapping[str, Any]) -> str:
    """Whether the raw weights or their average were kept, behind the epoch; empty where nothing was averaged."""
    if "weights" not in selection:
        return ""
    return ", the raw weights" if selection["weights"] == "raw" else f", the averaged weights ({selection['weights']})"


def weights_lines(records: Sequence[Record]) -> list[str]:
    """Which weights were kept, for each student with averaged weights and each seed."""
    return [
        f"{record.name}, seed {record.seed}: epoch {record.selection['epoch']:g}{weights_words(record.selection)}"
        for record in records
        if isinstance(record, ModelRecord) and "weights" in record.selection
    ]


def comparison_sentence(comparison: ComparisonRecord, confidence: float = 0.95) -> str:
    """Verdict, difference, interval and examples of one comparison, in one sentence."""
    difference, metric = comparison.difference, metric_title(comparison.metric)
    size = difference_text(comparison.metric, abs(difference.value))
    if float(size) == 0:
        beside = f"is level with {comparison.b} in {metric}"
    elif is_share(comparison.metric):
        beside = f"is {size} points {'above' if difference.value > 0 else 'below'} {comparison.b} in {metric}"
    else:
        beside = f"is {size} {'better' if difference.value > 0 else 'worse'} than {comparison.b} in {metric}"
    interval = interval_of(comparison)
    within = f" ({confidence_text(confidence)} interval {interval} {interval_over(comparison)})" if interval else ""
    examples = f", which is {examples_text(comparison.examples)} of {comparison.rows:,} rows"
    amounts = examples if facts_of(comparison.metric).counts_rows else f", over {comparison.rows:,} rows"
    needs = (
        "; one seed says too little of a method, --seeds 3 would give a verdict" if is_of_one_seed(comparison) else ""
    )
    return f"{subject(comparison)} {verdict_text(comparison)}: {comparison.a} {beside}{within}{amounts}{needs}."


def finding(comparison: ComparisonRecord) -> str | None:
    """The conclusion if a term or a start did not help; None if it did, or with one seed."""
    if is_of_models(comparison) or is_of_one_seed(comparison) or comparison.verdict == "HELPS":
        return None
    if comparison.verdict == "DOES NOT":
        return f"{subject(comparison)} did not help here, it hurt: {comparison.b} is better than {comparison.a}."
    return (
        f"{subject(comparison)} gave nothing that these rows and seeds can show: "
        f"{comparison.a} and {comparison.b} differ by no more than chance does."
    )


def subject(comparison: ComparisonRecord) -> str:
    """The subject of a comparison, as the start of a sentence; a model's name stays as it is."""
    question = comparison.question
    if question.startswith(f"{comparison.a} against "):
        return question
    of_methods = None if is_of_models(comparison) else _SUBJECTS.get(question)
    return of_methods or question[:1].upper() + question[1:]


def is_of_models(comparison: ComparisonRecord) -> bool:
    """Whether a comparison has a fixed model on either side, instead of two methods."""
    return comparison.question == AGAINST_TEACHER or (comparison.seeds_a, comparison.seeds_b) == (None, None)


def is_of_one_seed(comparison: ComparisonRecord) -> bool:
    """Whether a method has one seed, so that there can be no verdict on it."""
    return 1 in (comparison.seeds_a, comparison.seeds_b)


def interval_over(comparison: ComparisonRecord) -> str:
    """What the interval of a comparison is over."""
    if is_of_one_seed(comparison):
        return "over rows alone"
    return "over rows" if (comparison.seeds_a, comparison.seeds_b) == (None, None) else "over rows and seeds"


def verdict_text(comparison: ComparisonRecord) -> str:
    """The verdict; for two models, or beside the teacher, ABOVE or BELOW, as no method is judged."""
    if is_of_models(comparison):
        return {"HELPS": "ABOVE", "DOES NOT": "BELOW"}.get(comparison.verdict, "UNCLEAR")
    return {"DOES NOT": "DOES NOT HELP"}.get(comparison.verdict, comparison.verdict)


def table(records: Sequence[Record]) -> list[Row]:
    """The results table: one row per model, the teacher's first."""
    teacher = teacher_of(records)
    metrics = metric_columns(records)
    return [_row(summary, teacher, metrics) for summary in summarise(records)]


def device_sentence(records: Sequence[Record]) -> str:
    """The devices that scored and timed the models, in a sentence or two; empty if no record names them."""
    models = [record for record in records if isinstance(record, ModelRecord)]
    told = []
    for figure, verb in (("scores", "scored"), ("rows_per_second", "timed")):
        if on := list(dict.fromkeys(model.devices[figure] for model in models if figure in model.devices)):
            told.append((verb, " and ".join(on)))
    if len({on for _, on in told}) == 1:
        told = [(" and ".join(verb for verb, _ in told), told[0][1])]
    text = "; ".join(f"{verb} on {on}" for verb, on in told)
    sentences = [f"{text[0].upper()}{text[1:]}."] if text else []
    return " ".join([*sentences, *_runtimes(models)])


def _runtimes(models: Sequence[ModelRecord]) -> list[str]:
    """Which models ran where, in a sentence, if any of them was exported."""
    if all(model.runtime == "torch" for model in models):
        return []
    names: dict[str, list[str]] = {}
    for model in models:
        names.setdefault(f"{RUNTIME_TITLES[model.runtime]} ({model.precision})", []).append(model.name)
    told = "; ".join(f"{', '.join(dict.fromkeys(of))} in {where}" for where, of in names.items())
    return [f"What ran them: {told}."]


def metric_columns(records: Sequence[Record]) -> list[str]:
    """The metrics that any model has, the main one first, then in their order."""
    names = [metric for summary in summarise(records) for metric in summary.mean]
    return list(dict.fromkeys([main_metric(records), *names])) if names else []


def _row(summary: Summary, teacher: Summary | None, metrics: Sequence[str]) -> Row:
    speed = share = NONE
    if teacher is not None:
        share = f"{summary.parameters / teacher.parameters * 100:.0f} %"
        if summary.rows_per_second and teacher.rows_per_second:
            speed = f"{summary.rows_per_second / teacher.rows_per_second:.1f}×"
    return Row(
        name=summary.name,
        role=summary.role,
        seeds=len(summary.seeds),
        layers=str(summary.layers) if summary.width == 1 else f"{summary.layers}, width {summary.width:g}",
        scores={metric: score_text(summary, metric) for metric in metrics},
        means={metric: mean_text(summary, metric) for metric in metrics},
        rows_per_second=f"{summary.rows_per_second:,.0f}" if summary.rows_per_second else NONE,
        speed=speed,
        parameters=count_text(summary.parameters),
        share=share,
        size=f"{summary.bytes / 1e6:,.0f} MB" if summary.bytes >= 1e6 else f"{summary.bytes / 1e3:,.0f} kB",
    )


def _beside_teacher(records: Sequence[Record], student: Summary, teacher: Summary, metric: str) -> str:
    difference = shown_difference(metric, student.mean[metric], teacher.mean[metric])
    size = difference_text(metric, abs(difference)) + (" points" if is_share(metric) else "")
    text = (
        "level with the teacher" if not difference else f"{size} {'above' if difference > 0 else 'below'} the teacher"
    )
    values = [
        test.p
        for comparison in comparisons_of(records)
        if comparison.question == AGAINST_TEACHER and comparison.a == student.name and comparison.metric == metric
        for test in comparison.tests
    ]
    if not values:
        return text
    low, high = p_text(min(values)), p_text(max(values))
    if low == high:
        return f"{text} (McNemar's p {low if low.startswith('<') else '= ' + low})"
    return f"{text} (McNemar's p from {low} to {high} for the models of {len(values)} seeds)"


def _rows_text(records: Sequence[Record], name: str) -> str:
    model = next(record for record in records if isinstance(record, ModelRecord) and record.name == name)
    return rows_of(model)


def _selection_score(records: Sequence[Record], name: str) -> float | None:
    scores = [
        record.selection.get("score") for record in records if isinstance(record, ModelRecord) and record.name == name
    ]
    known = [float(score) for score in scores if isinstance(score, int | float)]
    return sum(known) / len(known) if known and len(known) == len(scores) else None
