"""A search on the page, in the terminal and on a model card: each is a view of the same record."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from pkd.cli.output import show_front
from pkd.reporting.front import Baseline, write_front
from pkd.reporting.front_card import searched_card
from pkd.reporting.front_gains import gain_sentences
from pkd.reporting.front_words import headline_sentences
from pkd.reporting.html import report_page, write_report
from pkd.reporting.results import Record, Score, write_results
from pkd.reporting.terminal import print_front
from reporting.searches import search

ENOUGH = Baseline(score=Score(value=0.9), latency=Score(value=0.2), bytes=1_000_000)
CARD = "---\ntags: [pkd]\n---\n\n# served\n\nA text classifier.\n\n## This folder: ONNX\n\ntext\n\n## Citation\n\nx\n"


class Text(HTMLParser):
    """The headings and the text of a page, without its scripts and its style."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.headings, self._tag = "", [""], ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag in ("h1", "h2"):
            self.headings[-1] += data
        if self._tag not in ("script", "style"):
            self.text += data


def test_the_page_of_a_search_begins_with_the_front(tmp_path: Path) -> None:
    write_front(search(), tmp_path)
    page = Text(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.headings[1].replace("\u00a0", " ") == headline_sentences(search())[0]
    assert page.headings[2:5] == ["Score against time", "Students to choose from", "How the search went"]
    for sentence in gain_sentences(search()):
        assert sentence in page.text
    assert "Made by pkd from front.json." in page.text


def test_a_page_whose_word_counts_are_enough_says_so_first() -> None:
    page = Text(report_page([], found=search(words=ENOUGH)))
    assert page.headings[1].startswith("You may need no student: word counts")


def test_the_page_of_a_search_has_the_results_of_its_finalists_too(tmp_path: Path, records: list[Record]) -> None:
    write_front(search(), tmp_path)
    write_results(records, tmp_path)
    page = Text(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.headings[1].startswith("L3 (point 2) is chosen")
    assert page.headings.index("Score against time") < page.headings.index("What was kept of the teacher")
    assert "Made by pkd from front.json and results.jsonl." in page.text


def test_a_search_without_a_student_has_a_page(tmp_path: Path) -> None:
    page = Text(report_page([], found=search(points=[])))
    assert page.headings[1] == "No student was trained in full, so nothing is chosen."
    assert "Students to choose from" not in page.headings


def test_names_in_a_search_are_text_on_the_page() -> None:
    candidates = [each.model_copy(update={"stopped": "<script>alert(1)</script>"}) for each in search().candidates]
    assert "<script>alert(1)" not in report_page([], found=search(candidates=candidates))


def printed(width: int | None = None) -> str:
    console = Console(file=io.StringIO(), force_terminal=width is not None, width=width, no_color=True, highlight=False)
    print_front(search(), console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_a_terminal_gets_the_numbered_table_within_100_columns() -> None:
    lines = printed().splitlines()
    assert max(map(len, lines)) <= 100
    rows = [line.split() for line in lines if line.startswith(("1 L2-int8", "2 L3"))]
    assert rows[0] == ["1", "L2-int8", "1.25", "1.88", "19.2", "×", "20.0", "MB", "87.6", "2.4", "(1.4", "to", "3.4)", "86.6"]  # fmt: skip
    assert rows[1][:6] == ["2", "L3", "2.5", "3.75", "9.6", "×"]
    assert "2: chosen" in lines


def test_a_narrow_terminal_loses_no_number() -> None:
    narrow = printed(50)
    for number in ("19.2", "87.6", "86.6", "24"):
        assert number in narrow


def test_json_is_the_record_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_front(search(), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert [each["shape"]["layers"] for each in told["points"]] == [2, 3]
    assert told["words"]["score"]["value"] == 0.8


def test_a_card_has_the_front_with_its_own_point_in_bold_and_keeps_the_rest() -> None:
    first, second = search().points
    card = searched_card(CARD, search(), first)
    assert "This folder is point 1, L2-int8, in bold." in card
    assert "| **1 L2-int8** | 1.25 (1.23 to 1.27) |" in card
    assert "| 2 L3 |" in card
    assert card.index("## This folder: ONNX") < card.index("## Where it stands") < card.index("## Citation")
    again = searched_card(card, search(), second)
    assert again.count("## Where it stands") == 1
    assert "| **2 L3** |" in again
