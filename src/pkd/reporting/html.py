"""The report page: one HTML file that opens with no network, in light and dark, on a phone too.

A content security policy allows only the page's own scripts, by their hashes, so nothing in the data can run or load
anything, even if escaping failed.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from altair.utils.schemapi import debug_mode
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from pkd import progress
from pkd.evaluation.metric_facts import facts_of
from pkd.recipe.faults import value_text
from pkd.recipe.sweeping import short_name
from pkd.reporting import amounts, charts, heatmaps, wording
from pkd.reporting.blind_spots import blind_sentences, blind_words, blindness
from pkd.reporting.classes import (
    MEASURES,
    TITLES,
    class_rows,
    confusion_of,
    has_classes,
    nouns_of,
    set_counts_of,
)
from pkd.reporting.confusion import MOST, confusion_chart, set_chart
from pkd.reporting.front import Compressed, read_front
from pkd.reporting.front_chart import front_chart
from pkd.reporting.front_gains import gain_sentences
from pkd.reporting.front_tables import candidate_rows, heat_epochs, heat_title, other_rows, point_rows
from pkd.reporting.front_words import (
    cores_text,
    drop_limit,
    headline_sentences,
    key_figures,
    latency_limit,
    search_sentences,
    word_count_sentence,
)
from pkd.reporting.results import FlipRecord, Record, RunRecord, read_results
from pkd.reporting.start_race import race_tables, start_lines
from pkd.reporting.teacher_level import teacher_sentences
from pkd.reporting.term_sizes import term_lines
from pkd.reporting.trials import TrialRecord, leaderboard, luck_sentences, read_trials, swept
from pkd.runs.folder import FRONT, RESULTS, RunFolder
from pkd.runs.seal import write_text

_NO_CHARTS = """"use strict";
window.vegaEmbed = function () {
  return Promise.reject(new Error("vl-convert-python was not installed where this page was made."));
};"""
_FIRST_POINTS = 10  # of a sweep; the others are folded away


def write_report(folder: Path) -> Path:
    """Write `report.html` of a run folder from its `results.jsonl`, or of a search from its `front.json`, atomically.

    Raises:
        CacheError: if the folder has neither, or one that cannot be read.
    """
    run = RunFolder(folder if folder.is_dir() else folder.parent)
    found = read_front(run.path) if run.front.is_file() else None
    records = read_results(folder) if found is None or run.results.is_file() else []
    trials = read_trials(run.path) if found is None else []  # its heats are trials too, and have a table of their own
    page = report_page(records, trials, found, run.title)
    write_text(run.report, page)
    return run.report


def report_page(
    records: Sequence[Record],
    trials: Sequence[TrialRecord] = (),
    found: Compressed | None = None,
    title: str = "evaluation",
) -> str:
    """The report of these records, and of a sweep's trials, as one self-contained HTML page.

    Args:
        records: of a run; a search within a budget may have none.
        trials: of a sweep.
        found: of a search, whose front then comes first.
        title: of a page without the record of a run.
    """
    with debug_mode(
        False
    ):  # checking each part of a chart against a schema takes longer than making it; the tests do so
        return self_contained_page(
            "report.html.jinja",
            **_results(records, title) | ({} if found is None else _front_head(found, records)),
            front=None if found is None else _front(found),
            made_from=" and ".join([FRONT] * (found is not None) + [RESULTS] * (found is None or bool(records))),
            **_charts(records),
            **_classes(records),
            **_provenance(records, found),
            comparisons=[_comparison(comparison) for comparison in wording.comparisons_of(records)],
            findings=[text for comparison in wording.comparisons_of(records) if (text := wording.finding(comparison))],
            flips=_flips(records),
            sweep=_sweep(records, trials),
        )


def self_contained_page(template: str, **values: Any) -> str:
    """Render a template as a page with its style, its scripts and its policy; its `chart` macros are drawn."""
    environment = _environment()
    scripts = [_vega_script(), environment.get_template("report.js.jinja").render()]
    page: str = environment.get_template(template).render(
        **values,
        style=Markup(environment.get_template("report.css.jinja").render()),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
        themes=charts.THEMES,
    )
    return page.replace("&#39;", "'")  # attributes are in double quotes here, so ' need not be escaped


@functools.cache  # and with it the templates as they were compiled
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pkd.reporting", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "ensure_ascii": True, "allow_nan": False}
    return environment


@functools.cache
def _vega_script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from vl-convert; without it, a script that reports its absence."""
    try:
        import vl_convert
    except ImportError:
        progress.warn(
            "The page is written without its charts: vl-convert-python, which draws them, is not installed. Run: "
            "pip install vl-convert-python, and then `pkd report`."
        )
        return _NO_CHARTS
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=charts.vega_lite_version())
    # A script element ends at the first "</script", wherever it stands; "<!--" changes how the rest is read.
    return re.sub(r"<(?=/script|!--)", r"\\x3C", bundle, flags=re.IGNORECASE)


def _policy(scripts: Sequence[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _front_head(found: Compressed, records: Sequence[Record]) -> dict[str, Any]:
    """What the page of a search begins with, instead of a run's best student."""
    first, *others = headline_sentences(found)
    run = wording.run_of(records)
    return {
        "headline": _unbroken(first),
        "lead": [_unbroken(sentence) for sentence in others],
        "key_figures": key_figures(found),
        "warnings": run.warnings if run else [],
    }


def _front(found: Compressed) -> dict[str, Any]:
    """The front of a search, its table and its history."""
    return {
        "chart": charts.render(front_chart(found)),
        "has_limits": latency_limit(found) is not None or drop_limit(found) is not None,
        "for_nothing": word_count_sentence(found),
        "metric": amounts.metric_title(found.metric, unit=True),
        "metric_name": amounts.metric_title(found.metric),
        "unit": ", points" if amounts.is_share(found.metric) else "",
        "cores": cores_text(found),
        "points": point_rows(found),
        "others": other_rows(found),
        "has_calls": any(point.measured.call for point in found.points),
        "has_throughput": any(point.measured.throughput for point in found.points),
        "has_test": found.teacher.test is not None or any(point.test for point in found.points),
        "gains": gain_sentences(found),
        "history": search_sentences(found),
        "candidates": candidate_rows(found),
        "heats": [heat_title(epochs) for epochs in heat_epochs(found)],
    }


def _unbroken(text: str) -> str:
    """The text with its numbers and their signs on one line."""
    return text.replace(" %", "\u00a0%").replace(" ± ", "\u00a0±\u00a0")


def _results(records: Sequence[Record], title: str) -> dict[str, Any]:
    run, confidence = wording.run_of(records), wording.confidence_of(records)
    metrics = wording.metric_columns(records)
    main = wording.main_metric(records)
    first = [metric for metric in metrics if metric == main or facts_of(metric).short]  # the others in another table
    featured = wording.featured(records)
    return {
        "name": run.name if run else title,
        "created": run.created if run else "",
        "headline": _unbroken(wording.headline(records)),
        "lead": [],
        "key_figures": _key_figures(records),
        "blind": list(blind_sentences(records).values()),
        "blind_models": {row.name: words for row in wording.table(records) if (words := blindness(records, row.name))},
        "teacher_level": teacher_sentences(records),
        "not_held_out": wording.warning_of_rows(records),
        "rows": wording.table(records),
        "several_teachers": bool(run and run.teachers),
        "metrics": [(metric, amounts.metric_title(metric, unit=True)) for metric in metrics if metric in first],
        "more_metrics": [
            (metric, amounts.metric_title(metric, unit=True)) for metric in metrics if metric not in first
        ],
        "featured": featured.name if featured else "",
        "confidence": amounts.confidence_text(confidence),
        "devices": wording.device_sentence(records),
        "one_seed": any(wording.is_of_one_seed(one) for one in wording.comparisons_of(records)),
        "gain": next((amounts.metric_title(one.metric) for one in wording.comparisons_of(records)), ""),
        "warnings": run.warnings if run else [],
        "term_lines": term_lines(records),
        "weights_lines": wording.weights_lines(records),
        "races": race_tables(records),
        "start_lines": start_lines(records),
    }


def _key_figures(records: Sequence[Record]) -> list[tuple[str, str]]:
    """The featured student in three or four large numbers, each with its caption."""
    student, teacher, metric = wording.featured(records), wording.teacher_of(records), wording.main_metric(records)
    row = next((row for row in wording.table(records) if student and row.name == student.name), None)
    if row is None or student is None:
        return []
    unit = " %" if amounts.metric_title(metric, unit=True).endswith("%") else ""
    figures = [(row.means[metric] + unit, amounts.metric_title(metric))]
    if teacher is not None and teacher.name != student.name:
        if teacher.mean[metric] > 0:  # no share of a correlation of 0 or less
            kept = amounts.shown_ratio(metric, student.mean[metric], teacher.mean[metric])
            figures.append((f"{kept * 100:.1f} %", f"of the teacher's {amounts.metric_title(metric)}"))
        if row.speed != amounts.NONE:
            figures.append((row.speed, "the teacher's speed"))
        figures.append((row.share, "of its parameters"))
    return figures


def curve_specs(records: Sequence[Record]) -> list[tuple[str, dict[str, Any]]]:
    """The learning curves as the page draws them, without legends: one above all panels is drawn by the page."""
    specs = [(title, charts.render(chart)) for title, chart in charts.curve_panels(records)]
    for _, spec in specs:
        spec["encoding"]["color"]["legend"] = spec["encoding"]["strokeDash"]["legend"] = None
    return specs


def curve_legend(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Name and colour of each student."""
    colours = charts.colours_of(records)
    return [(row.name, colours[row.name]) for row in wording.table(records) if row.role != "teacher"]


def _charts(records: Sequence[Record]) -> dict[str, Any]:
    if not wording.table(records):
        return {"kept": None, "scores": None, "curves": [], "legend": []}
    return {
        "kept": charts.render(charts.kept_chart(records)),
        "scores": charts.render(charts.scores_chart(records)),
        "curves": curve_specs(records),
        "legend": curve_legend(records),
    }


def _classes(records: Sequence[Record]) -> dict[str, Any]:
    """The classes of the featured model with its confusions, and the tables of the other students."""
    featured = wording.featured(records)
    if featured is None or not has_classes(records, featured.name):
        return {"classes": None, "confusions": []}
    others = [row.name for row in wording.table(records) if row.role == "student" and row.name != featured.name]
    rows = class_rows(records, featured.name)
    return {
        "classes": {
            "name": featured.name,
            "compared": bool(rows[0].teacher),
            "titles": [TITLES[measure] for measure in MEASURES],
            "measures": MEASURES,
            "rows": rows,
            "first": MOST,
            "seeds": len(featured.seeds),
            "nouns": nouns_of(records, featured.name),
            "others": [(name, class_rows(records, name)) for name in others if has_classes(records, name)],
        },
        "confusions": _confusions(records, featured.name, compared=bool(rows[0].teacher)),
    }


def _confusions(records: Sequence[Record], name: str, *, compared: bool) -> list[tuple[str, dict[str, Any]]]:
    names, confusion, against_teacher = confusion_of(records, name)
    if confusion:
        drawn = [(f"{name}: label and answer", confusion_chart(names, confusion, "label", "answer"))]
        if compared:
            chart = confusion_chart(names, against_teacher, "teacher's answer", "student's answer")
            drawn.append((f"{name} against the teacher", chart))
    else:
        mine, teachers = set_counts_of(records, name)
        nouns = nouns_of(records, name)
        found = "spans" if nouns.counted == "spans" else "labels"
        drawn = [(f"{name}: {found} found, missed and given wrongly", set_chart(mine, counted=nouns.counted))]
        if compared:
            drawn.append((f"{name} against the teacher", set_chart(mine, teachers, counted=nouns.counted)))
    return [(title, charts.render(chart)) for title, chart in drawn]


def _sweep(records: Sequence[Record], trials: Sequence[TrialRecord]) -> dict[str, Any] | None:
    if not trials:
        return None
    keys = swept(trials)
    rows = [
        (
            amounts.NONE if trial.score is None else amounts.amount(trial.metric, trial.score),
            [value_text(trial.point[key]) for key in keys],
            len(trial.epochs),
            trial.status,
            trial.why or blind_words(trial.blind_spots, trial.rows),
        )
        for trial in leaderboard(trials)
    ]
    return {
        "sentences": luck_sentences(trials, records, wording.confidence_of(records)),
        "metric": amounts.metric_title(trials[0].metric, unit=True),
        "names": [short_name(key) for key in keys],
        "first": rows[:_FIRST_POINTS],
        "rest": rows[_FIRST_POINTS:],
        "maps": [(title, charts.render(chart)) for title, chart in heatmaps.heat_maps(trials)],
        "effects": [(title, charts.render(chart)) for title, chart in heatmaps.effect_charts(trials)],
    }


def _comparison(comparison: Any) -> dict[str, Any]:
    tests = [(test.seed, test.only_a, test.only_b, amounts.p_text(test.p)) for test in comparison.tests]
    return {
        "subject": wording.subject(comparison),
        "a": comparison.a,
        "b": comparison.b,
        "verdict": wording.verdict_text(comparison),
        "kind": {"HELPS": "good", "DOES NOT": "bad"}.get(comparison.verdict, "open"),
        "difference": amounts.difference_text(comparison.metric, comparison.difference.value, sign=True),
        "interval": amounts.interval_of(comparison) or amounts.NONE,
        "over": wording.interval_over(comparison),
        "examples": amounts.examples_text(comparison.examples)
        if facts_of(comparison.metric).counts_rows
        else amounts.NONE,
        "rows": f"{comparison.rows:,}",
        "tests": tests,
    }


def _flips(records: Sequence[Record]) -> list[tuple[str, list[FlipRecord]]]:
    """Negative flips by model, the featured student's first."""
    featured = wording.featured(records)
    by_model: dict[str, list[FlipRecord]] = {}
    for record in records:
        if isinstance(record, FlipRecord):
            by_model.setdefault(record.model, []).append(record)
    return sorted(by_model.items(), key=lambda item: featured is None or item[0] != featured.name)


def _rows_of(run: RunRecord, split: str) -> str:
    """The number of rows of a split, and their source."""
    return ", ".join(map(str, run.sources.get(split, []))) or f"{run.rows[split]:,}"


def _teachers(run: RunRecord) -> dict[str, str]:
    """Where each teacher is from."""
    sources = run.teachers or ([run.teacher] if run.teacher else [])
    names = [name + " (the hub)" * of.hub for name, of in zip(wording.teachers_named(run), sources, strict=True)]
    if len(names) < 2:
        return {"from": "".join(names)} if names else {}
    told = {str(number): name for number, name in enumerate(names, start=1)}
    return {**told, "layers and states": f"of {run.lead + 1}"}


def _provenance(records: Sequence[Record], found: Compressed | None) -> dict[str, Any]:
    run = wording.run_of(records)
    if run is None:
        facts = [] if found is None else [("Rows", found.rows), ("Hardware", found.hardware)]
        return {"recipe": "", "facts": facts}
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(run.recipe, text)
    facts = [
        ("Teacher", _teachers(run)),
        ("Rows", {split: _rows_of(run, split) for split in run.rows}),
        ("Labels", {str(index): label for index, label in enumerate(run.labels)}),
        ("Versions", run.versions),
        ("Hardware", run.hardware),
        ("Fingerprints", run.fingerprints),
    ]
    return {"recipe": text.getvalue(), "facts": [(title, values) for title, values in facts if values]}
