"""The few lines of `print(result)` in Python, since the records themselves would fill screens."""

from __future__ import annotations

from collections.abc import Sequence

from pkd.reporting.amounts import is_share, metric_title, score_text
from pkd.reporting.blind_spots import blindness
from pkd.reporting.results import ModelRecord, Record, Score, best_student, summarise
from pkd.reporting.wording import headline_sentences, main_metric, rows_of


class Records(list[Record]):
    """A list of records that prints one line per model."""

    def __str__(self) -> str:
        return "\n".join(_line(self, summary.name) for summary in summarise(self))

    __repr__ = __str__


def run_lines(records: Sequence[Record], **places: object) -> str:
    """The result of a run in a sentence, then its paths: `report="r.html"` gives the line "report: r.html"."""
    return "\n".join([*headline_sentences(records), *(f"{name}: {place}" for name, place in places.items())])


def main_score(records: Sequence[Record]) -> Score:
    """The best student's score by the metric that chose it, with its interval."""
    return best_student(records).scores[main_metric(records)]


def _line(records: Sequence[Record], name: str) -> str:
    models = [record for record in records if isinstance(record, ModelRecord) and record.name == name]
    summary = next(one for one in summarise(records) if one.name == name)
    metric = main_metric(records)
    score, bracket, interval = score_text(summary, metric).partition(" (")
    unit = " %" if is_share(metric) else ""
    blind = f"; it {words}" if (words := blindness(records, name)) else ""
    return (
        f"{name}: {score}{unit} {metric_title(metric)}{bracket}{interval} on {rows_of(models[0])}{blind} "
        f"[{models[0].folder}]"
    )
