"""The section of a model card on the search that found the model: the front with its place in it."""

from __future__ import annotations

import re

from pkd.reporting.amounts import is_share, metric_title
from pkd.reporting.front import Compressed, Point
from pkd.reporting.front_gains import gain_sentences
from pkd.reporting.front_tables import OtherRow, PointRow, other_rows, point_rows
from pkd.reporting.front_words import headline_sentences, search_sentences, word_count_sentence

_BEGIN, _END = "<!-- pkd compress: begin -->", "<!-- pkd compress: end -->"


def searched_card(card: str, found: Compressed, point: Point) -> str:
    """The card of an exported folder with a section on the search, before the card's other sections but the first.

    Args:
        card: the README.md of the folder.
        found: the search.
        point: what the folder holds, which need not be the chosen one.
    """
    card = re.sub(rf"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n*", "", card, flags=re.DOTALL)
    headings = [heading.start() for heading in re.finditer(r"^## ", card, flags=re.MULTILINE)]
    at = headings[1] if len(headings) > 1 else len(card)
    section = "\n".join([_BEGIN, *_section(found, point), _END])
    return f"{card[:at].rstrip()}\n\n{section}\n\n{card[at:]}".rstrip() + "\n"


def _section(found: Compressed, point: Point) -> list[str]:
    metric, unit = metric_title(found.metric, unit=True), ", points" if is_share(found.metric) else ""
    tested = found.teacher.test is not None
    heads = ["student", "one text, ms", "speed", "size", metric, f"below the teacher{unit}", *(["test"] * tested)]
    rows = [_line(row, row.number == str(point.number), tested) for row in point_rows(found)]
    rows += [_line(row, False, tested) for row in other_rows(found)]
    told = [*headline_sentences(found), word_count_sentence(found), *gain_sentences(found), *search_sentences(found)]
    then_test = ", then of the test rows, which chose nothing" if tested else ""
    return [
        "## Where it stands: score against time",
        "",
        f"`pkd compress` searched for it. This folder is point {point.number}, {point.shape.name}, in bold. The "
        f"{metric_title(found.metric)} is of the development rows{then_test}; brackets hold intervals.",
        "",
        f"| {' | '.join(heads)} |",
        f"| --- |{' ---: |' * (len(heads) - 1)}",
        *rows,
        "",
        *(f"- {_escaped(sentence)}" for sentence in told if sentence),
    ]


def _line(row: PointRow | OtherRow, bold: bool, tested: bool) -> str:
    name = f"{row.number} {row.name}" if isinstance(row, PointRow) else row.name
    latency = (
        f"{row.latency} ({row.latency_interval})" if isinstance(row, PointRow) and row.latency_interval else row.latency
    )
    drop = f"{row.drop} ({row.drop_interval})" if isinstance(row, PointRow) and row.drop_interval else row.drop
    score = f"{row.score} ({row.score_interval})" if row.score_interval else row.score
    cells = [f"**{_escaped(name)}**" if bold else _escaped(name), latency, row.speed_up, row.size, score, drop]
    return f"| {' | '.join([*cells, *([row.test] * tested)])} |"


def _escaped(text: str) -> str:
    """Text that makes no column, tag or link of its own."""
    return " ".join(re.sub(r"([\\|\[\]])", r"\\\1", text.replace("<", "&lt;")).splitlines())
