from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pkd import progress
from pkd.errors import CacheError
from pkd.reporting import html
from pkd.reporting.html import report_page, write_report
from pkd.reporting.results import FlipRecord, ModelRecord, Record, RunRecord, Score, write_results


class Page(HTMLParser):
    """The page as a browser's parser sees it: its elements, its text, its scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str, str]] = []
        self.text = ""
        self._raw = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)
        elif not self._raw:
            self.text += data


def page_of(records: list[Record]) -> Page:
    return Page(report_page(records))


def test_the_page_lies_beside_the_results_and_replaces_the_old_one_whole(tmp_path: Path, records: list[Record]) -> None:
    write_results(records, tmp_path)
    (tmp_path / "report.html").write_text("old")
    assert write_report(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.jsonl"]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"results\.jsonl does not exist"):
        write_report(tmp_path)


def test_without_the_library_that_draws_charts_the_page_is_whole_and_says_so(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(progress, "warn", told.append)
    whole = page_of(records)
    html._vega_script.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as Python finds a package that is not installed
    try:
        page = page_of(records)
    finally:
        html._vega_script.cache_clear()
    assert page.text == whole.text
    assert [kind for kind, script in page.scripts if "vl-convert-python was not installed" in script] == [""]
    assert len(told) == 1
    assert "without its charts" in told[0]
    assert "pip install vl-convert-python" in told[0]


def test_nothing_is_loaded_from_anywhere(records: list[Record]) -> None:
    loading = [
        (tag, value)
        for tag, attributes in page_of(records).elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data") and value != "data:,"
    ]
    assert loading == []


def test_only_the_two_scripts_of_the_policy_can_run(records: list[Record]) -> None:
    page = page_of(records)
    policy = next(
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    assert len(re.findall(r"'sha256-[^']+'", policy)) == 2
    assert "unsafe-eval" not in policy
    assert sum(kind == "" for kind, _ in page.scripts) == 2


@pytest.mark.parametrize(
    "attack", ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--<script>", "</title><b>"]
)
def test_markup_in_the_data_stays_text_everywhere(attack: str, records: list[Record]) -> None:
    run, model = records[0], records[2]
    assert isinstance(run, RunRecord)
    assert isinstance(model, ModelRecord)
    infected: list[Record] = [
        run.model_copy(update={"name": attack, "warnings": [attack], "labels": [attack], "recipe": {"name": attack}}),
        model.model_copy(update={"name": attack}),
        FlipRecord(
            model=attack, seed=1, row=1, text=attack, label=attack, teacher=attack, student=attack, confidence=0.5
        ),
    ]
    clean, page = page_of([run, model]), page_of(infected)
    assert len(page.scripts) == len(clean.scripts)
    assert not any(tag == "img" for tag, _ in page.elements)
    assert "Results" in page.text
    assert page.text.count(attack) >= 8
    for kind, script in page.scripts:
        if kind == "application/json":
            assert "<" not in script
            json.loads(script)


def test_the_page_has_every_section_and_says_what_did_not_help(records: list[Record]) -> None:
    text = page_of(records).text
    for title in (
        "What was kept of the teacher",
        "Results",
        "Did it help?",
        "What did not help",
        "Scores by seed",
        "Learning curves",
        "Where teacher and student part",
        "Warnings",
        "Where these numbers come from",
    ):
        assert title in text, title
    assert "Start first against spread did not help here, it hurt" in text
    assert "model: sentence-transformers/all-MiniLM-L6-v2" in text  # the recipe as YAML
    assert "12 rows of train occur in test too." in text
    assert "Not held out." not in text


def test_the_page_says_when_nothing_was_held_out(selected_records: list[Record]) -> None:
    assert "Not held out." in page_of(selected_records).text


def test_what_a_score_hides_stands_in_headline_table_and_callout(collapsed_records: list[Record]) -> None:
    page = page_of(collapsed_records)
    assert page.text.count("answers 'fine' for all 10 rows and finds none of 3 'unsafe'") == 3
    assert "What the scores hide." in page.text
    assert "What the scores hide." not in page_of(collapsed_records[:1]).text


def test_the_classes_stand_in_a_table_and_two_charts(collapsed_records: list[Record]) -> None:
    page = page_of(collapsed_records)
    words = " ".join(page.text.split())
    assert "Class by class" in words
    assert "unsafe3100.0 → 0.0100.0 → 0.0100.0 → 0.0−100.0 fine7" in words  # cells
    assert len([attrs for _, attrs in page.elements if (attrs.get("id") or "").startswith("chart-confusion-")]) == 2
    assert "Counts are sums over the 3 seeds." in words


def test_a_run_whose_classes_were_not_measured_has_no_such_section(records: list[Record]) -> None:
    assert "Class by class" not in page_of(records).text


def test_the_page_can_be_read_by_ear(records: list[Record]) -> None:
    elements = page_of(records).elements
    assert ("html", {"lang": "en"}) in elements
    tags = [tag for tag, _ in elements]
    assert tags.count("h1") == 1
    assert tags.count("caption") == tags.count("table") == 3
    drawn = [attributes for tag, attributes in elements if tag == "div" and "data-spec" in attributes]
    assert len(drawn) == 6
    assert all(attributes.get("aria-label") for attributes in drawn)


def test_a_page_of_models_alone_leaves_out_what_is_not_known(records: list[Record]) -> None:
    text = page_of(records[1:3]).text
    assert "Results" in text
    for title in ("Did it help?", "Warnings", "Where these numbers come from", "Where teacher and student part"):
        assert title not in text


def test_a_page_without_models_still_opens(records: list[Record]) -> None:
    assert "No model was measured." in page_of(records[:1]).text


def test_no_share_is_taken_of_a_teachers_correlation_of_nought_or_less(records: list[Record]) -> None:
    assert "of the teacher's accuracy" in Page(report_page(records)).text
    of_scores = [
        each.model_copy(update={"scores": {"pearson": Score(value=-0.01 if each.role == "teacher" else 0.2)}})
        for each in records
        if isinstance(each, ModelRecord)
    ]
    assert "of the teacher's Pearson's r" not in Page(report_page(of_scores)).text


def test_tags_are_shown_by_types_and_flips_are_sentences_with_their_spans_marked(records_of_tags: list[Record]) -> None:
    page = page_of(records_of_tags)
    text = " ".join(page.text.split())
    assert "Type by type" in text
    assert "type spans precision" in " ".join(re.sub(r"<[^>]+>", " ", report_page(records_of_tags)).split())
    assert "spans found, missed and given wrongly" in text
    assert "[Rick Morty](creative-work) is on" in text
    assert "[Rick](creative-work) Morty is on" in text
    assert "Ada Lovelace" not in text  # the teacher had it wrong too
