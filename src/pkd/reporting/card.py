"""The model card: the README.md of a saved student, for people and for the Hugging Face hub.

The front matter is the hub's (`huggingface_hub.ModelCardData`); the text says how to use the model, how good it is,
how it was made, and what helped.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from ruamel.yaml import YAML

from pkd.distillation.terms import describe_objective
from pkd.encoder.hub import ModelSource
from pkd.evaluation.metric_facts import METRICS
from pkd.recipe.settings import LossSettings
from pkd.reporting import amounts, wording
from pkd.reporting.blind_spots import blind_sentences, blind_words
from pkd.reporting.classes import MEASURES, TITLES, class_rows, losses_heading, nouns_of
from pkd.reporting.evaluated_rows import rows_warning
from pkd.reporting.results import ClassesRecord, ModelRecord, Record, RunRecord
from pkd.reporting.start_race import start_sentence
from pkd.reporting.teacher_level import teacher_sentences
from pkd.reporting.term_sizes import shares_text, weak_sentences
from pkd.tasks import SINGLE_LABEL, TaskKind, kind_of

_SOURCES = {
    "train": "Training data",
    "unlabelled": "Unlabelled text, which teaches by the teacher's answers alone",
    "eval": "Development data, which chose the epoch",
}


_CLASSES = 10  # those that lost most
CHART_FILE, RECIPE_FILE = "chart.png", "recipe.yaml"  # beside a card that shows them


def model_card(
    records: Sequence[Record],
    model: ModelRecord,
    *,
    title: str | None = None,
    chart: bool = False,
    recipe: bool = False,
) -> str:
    """The README.md of one saved student.

    Args:
        records: of the run that made it.
        model: the student, with its seed, that the card belongs to.
        title: its name; by default its folder's.
        chart: whether `chart.png` is in the card's folder.
        recipe: whether `recipe.yaml` is in the card's folder.

    Returns:
        Markdown with YAML front matter. What is not known, such as the licence, is left out.
    """
    run = wording.run_of(records)
    title = title or Path(model.folder).name or model.name
    metrics = wording.metric_columns(records)
    mine = [comparison for comparison in wording.comparisons_of(records) if model.name in (comparison.a, comparison.b)]
    confidence = wording.confidence_of(records)
    card: str = _template().render(
        front_matter=_front_matter(run, model, title),
        model=model,
        kind=_kind_of(run),
        title=title,
        is_pair=_is_pair(run),
        chart=CHART_FILE if chart else "",
        recipe=RECIPE_FILE if recipe else "",
        blind=list(blind_sentences(records).values()),
        classes=_classes(records, model),
        limits=_limits(run, model, wording.main_metric(records)),
        labels=run.labels if run else [],
        rows=wording.table(records),
        columns=[(metric, amounts.metric_title(metric, unit=True)) for metric in metrics],
        verdicts=[wording.comparison_sentence(comparison, confidence) for comparison in mine],
        findings=[text for comparison in mine if (text := wording.finding(comparison))],
        confidence=amounts.confidence_text(confidence),
        rows_measured=wording.rows_of(model),
        teacher_level=[sentence for sentence in teacher_sentences(records) if sentence],
        not_held_out=rows_warning(model.split, model.rows, model.measured_on),
        devices=wording.device_sentence(records),
        teachers=wording.teachers_named(run),
        lead=run.lead if run else 0,
        mean=_kind_of(run).mean_formula,
        sources=_sources(run, model),
        objective=_objective(_kind_of(run), model),
        seeds=_seeds(records, model),
        settings=model.settings,
        shares=shares_text(model.terms),
        weak=weak_sentences(model.terms),
        start_chosen=start_sentence(model),
        licences=_licences(run, model),
    )
    return card


@functools.cache
def _template() -> Template:
    environment = Environment(  # Markdown, not HTML: names are escaped by the filters `cell` and `code`
        loader=PackageLoader("pkd.reporting", ""),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "code": _code}
    return environment.get_template("card.md.jinja")


def _classes(records: Sequence[Record], model: ModelRecord) -> dict[str, Any] | None:
    """The classes that lost most, for this model's seed; None if classes were not measured."""
    others = (ClassesRecord, ModelRecord)
    own = [each for each in records if not isinstance(each, others) or _is_of(each, model) or _is_of_teacher(each)]
    rows = class_rows(own, model.name)
    if not rows:
        return None
    return {
        "heading": losses_heading(own, model.name),
        "nouns": nouns_of(own, model.name),
        "titles": [TITLES[measure] for measure in MEASURES],
        "measures": MEASURES,
        "compared": bool(rows[0].teacher),
        "rows": rows[:_CLASSES],
        "others": max(0, len(rows) - _CLASSES),
    }


def _is_of(record: ClassesRecord | ModelRecord, model: ModelRecord) -> bool:
    name = record.model if isinstance(record, ClassesRecord) else record.name
    return (name, record.seed) == (model.name, model.seed)


def _is_of_teacher(record: ClassesRecord | ModelRecord) -> bool:
    return record.seed is None


def _front_matter(run: RunRecord | None, model: ModelRecord, name: str) -> str:
    """The hub's metadata as YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    task = _kind_of(run).pipeline_tag
    measured = {
        metric: (facts.hub_name, dict(facts.hub_arguments) or None)
        for metric, facts in METRICS.items()
        if facts.hub_name is not None and metric in model.scores
    }
    results = [
        EvalResult(
            task_type=task,
            dataset_type=model.measured_on.source,
            dataset_name=_dataset_name(model),
            dataset_split=model.split,
            metric_type=hub_name,
            metric_name=amounts.metric_title(metric),
            metric_value=round(model.scores[metric].value, 4),
            metric_args=arguments,
        )
        for metric, (hub_name, arguments) in measured.items()
    ]
    named = [source for of in run.sources.values() for source in of] if run else []
    metadata = ModelCardData(
        base_model=_base_models(run, model),
        datasets=list(dict.fromkeys(_dataset_of(source.name) for source in named if source.kind == "hub")) or None,
        library_name="transformers",
        pipeline_tag=task,
        tags=["patient-knowledge-distillation", "pkd"],
        metrics=list(dict.fromkeys(hub_name for hub_name, _ in measured.values())),
        model_name=name,
        eval_results=results or None,
    )
    return str(metadata.to_yaml()).strip()


def _base_models(run: RunRecord | None, model: ModelRecord) -> str | list[str] | None:
    """The names on the hub of the encoder that the model is, if it is one of its own, and of its teachers."""
    sources = [_encoder(run, model), run.teacher, *run.teachers] if run else []
    names = list(dict.fromkeys(source.name for source in sources if source is not None and source.hub))
    return names[0] if len(names) == 1 else names or None


def _encoder(run: RunRecord | None, model: ModelRecord) -> ModelSource | None:
    """The encoder that the model is, instead of layers of its teacher; None if it is cut from that."""
    return next((source for source in (run.starts if run else ()) if source.name == model.encoder), None)


def _licences(run: RunRecord | None, model: ModelRecord) -> dict[str, str]:
    """The licences of teachers and encoder by name, where they are known."""
    sources = [_encoder(run, model), run.teacher, *run.teachers] if run else []
    return {source.name: source.licence for source in sources if source is not None and source.licence}


def _kind_of(run: RunRecord | None) -> TaskKind:
    return kind_of(run.problem_type) if run else SINGLE_LABEL


def _is_pair(run: RunRecord | None) -> bool:
    """Whether the model reads two texts per row."""
    return any(len(source.text) == 2 for source in (run.sources.get("train", []) if run else []))


def _dataset_of(source: str) -> str:
    """The hub's OWNER/NAME of a source, which may name a configuration and a split too."""
    return "/".join(source.partition(":")[0].split("/")[:2])


def _sources(run: RunRecord | None, model: ModelRecord) -> list[str]:
    """The names of the files or hub datasets that trained and selected it."""
    told = []
    for split, title in _SOURCES.items():
        if split == "unlabelled" and not model.unlabelled_rows:
            continue
        if of := (run.sources.get(split) if run else None):
            told.append(f"{title}: {', '.join(map(str, of))}")
    return told


def _dataset_name(model: ModelRecord) -> str:
    """The evaluated rows as named in the hub's table of results, with any warning about them."""
    told = [wording.rows_of(model)] if model.measured_on.shared else []
    if words := blind_words(model.blind_spots, model.rows):
        told.append(f"this model {words}")
    return ": ".join([Path(model.measured_on.source).name, *(["; ".join(told)] if told else [])])


def _source(model: ModelRecord) -> str:
    """The source of the evaluated rows, unless `rows_of` names it."""
    return "" if model.measured_on.held_out is None else f" of {model.measured_on.source}"


def shareable_recipe(run: RunRecord) -> str:
    """The recipe of a run as YAML, local paths cut to their last part, to keep this machine's paths private."""
    file = io.StringIO()
    of_data = {source.name for of in run.sources.values() for source in of if source.kind == "hub"}
    models = {model.name for model in (run.teacher, *run.teachers, *run.starts) if model is not None and model.hub}
    YAML().dump(_without_paths(run.recipe, of_data | models), file)
    return file.getvalue()


def _without_paths(value: Any, hub_names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(item, hub_names) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item, hub_names) for item in value]
    if isinstance(value, str) and re.search(r"[/\\]", value) and value not in hub_names:
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def _limits(run: RunRecord | None, model: ModelRecord, metric: str) -> list[str]:
    """The model's limits, as far as the run measured them."""
    told = []
    data = (run.recipe.get("data") or {}) if run else {}
    has_tokens = _kind_of(run).has_tokens
    if (max_length := data.get("max_length")) and has_tokens:
        told.append(
            f"Texts of more than {max_length} word pieces are read in windows that overlap, as in training; what lies "
            "further from a word than a window is not read with it."
        )
    elif max_length:
        told.append(f"Texts are cut at {max_length} word pieces, as in training; what stands behind them is not read.")
    if metric in model.scores:
        title = amounts.metric_title(metric)
        told.append(
            f"Its {title} was measured on {wording.rows_of(model)}{_source(model)}. On other kinds of text it is "
            "unknown; measure it on your own with pkd evaluate."
        )
    if agreement := model.scores.get("agreement"):
        otherwise = amounts.amount("agreement", amounts.shown_difference("agreement", 1.0, agreement.value))
        told.append(
            f"It answers otherwise than its teacher in {otherwise} % of {'the words of ' * has_tokens}those rows."
        )
    if words := blind_words(model.blind_spots, model.rows):
        told.append(f"On these rows it {words}.")
    if error := model.scores.get("ece"):
        told.append(f"Its probabilities are off by {100 * error.value:.1f} points on average (calibration error).")
    return [*told, "It has the biases of its teacher and of the texts it was trained on."]


def _seeds(records: Sequence[Record], model: ModelRecord) -> list[int]:
    return [
        record.seed
        for record in records
        if isinstance(record, ModelRecord) and record.name == model.name and record.seed is not None
    ]


def _objective(kind: TaskKind, model: ModelRecord) -> list[str]:
    """The loss that the model was trained with, in words."""
    values = {name: model.settings[name] for name in LossSettings.__dataclass_fields__ if name in model.settings}
    learnt_besides = model.unlabelled_rows + model.augmented_rows
    return describe_objective(LossSettings(**values), kind, unlabelled=learnt_besides > 0)


def _cell(text: str) -> str:
    """Escape text for a Markdown cell or line: it makes no column, line, tag, link, picture or code."""
    escaped = re.sub(r"([\\|`\[\]])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    return " ".join(escaped.splitlines())


def _code(text: str) -> str:
    """Text as inline code, between more backticks than its longest run of them."""
    line = " ".join(text.splitlines())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"
