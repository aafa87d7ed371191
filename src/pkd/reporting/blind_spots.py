"""Classes that a model never predicts, in words, to be shown beside every score, which may hide them.

A classifier that predicts the commonest class for every row can have a fine accuracy and is useless.
"""

from __future__ import annotations

from collections.abc import Sequence

from pkd.evaluation.by_class import BlindSpots
from pkd.reporting.results import ModelRecord, Record

_CLASSES_NAMED = 3
_LONGEST_NAME = 60


def blindness(records: Sequence[Record], name: str) -> str:
    """A model's blind spots, as the rest of a sentence about it; empty if it has none.

    Seeds are named unless all have the same blind spots.
    """
    models = [record for record in records if isinstance(record, ModelRecord) and record.name == name]
    told: dict[str, list[int]] = {}
    for model in models:
        if words := blind_words(model.blind_spots, model.rows):
            told.setdefault(words, []).append(model.seed or 0)
    return "; ".join(
        words
        + (f" (seed{'s' * (len(seeds) > 1)} {_listed(list(map(str, seeds)))})" if len(seeds) < len(models) else "")
        for words, seeds in told.items()
    )


def blind_sentences(records: Sequence[Record]) -> dict[str, str]:
    """A sentence for each model that has blind spots, by its name, in the order of the records."""
    names = dict.fromkeys(record.name for record in records if isinstance(record, ModelRecord))
    return {name: f"{name} {words}." for name in names if (words := blindness(records, name))}


def blind_words(spots: BlindSpots, rows: int) -> str:
    """The blind spots of one model on so many rows, as the rest of a sentence.

    >>> blind_words(BlindSpots("fine", {"unsafe": 7}), 200)
    "answers 'fine' for all 200 rows and finds none of 7 'unsafe'"
    >>> blind_words(BlindSpots("O", {"person": 7}, unit="span"), 200)
    "answers 'O' for every word of all 200 rows and finds none of 7 'person'"
    """
    told = []
    of_words, others, counted = (
        ("every word of ", "types", "spans") if spots.unit == "span" else ("", "classes", "rows")
    )
    if spots.one_answer is not None:
        told.append(f"answers '{_short(spots.one_answer)}' for {of_words}all {rows:,} rows")
    if spots.never_found:
        named = [f"{count:,} '{_short(label)}'" for label, count in spots.never_found.items()]
        more = list(spots.never_found.values())[_CLASSES_NAMED:]
        if len(more) > 1:
            named[_CLASSES_NAMED:] = [f"{len(more):,} other {others} ({sum(more):,} {counted})"]
        told.append(f"finds none of {_listed(named)}")
    return " and ".join(told)


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
