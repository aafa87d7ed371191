"""RACE as its authors give it: folders `middle` and `high` of JSON files, one an article with its questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from pkd.data.choices import RACE_GROUPS, answer_by_letter, choice_texts
from pkd.data.tables import RawTable
from pkd.errors import DataError


def is_race_split(folder: Path) -> bool:
    """Whether a folder holds one split of RACE."""
    return any((folder / group).is_dir() for group in RACE_GROUPS)


def read_race(folder: Path) -> RawTable:
    """Read one split, for instance RACE/train; each question is a row, and its group tells the school.

    Raises:
        DataError: naming the file, if it is no article with questions.
    """
    texts: list[list[str]] = []
    labels: list[int] = []
    groups: list[str] = []
    for group in RACE_GROUPS:
        for path in sorted((folder / group).glob("*.txt")):
            for article, question, options, answer in _questions(path):
                texts.append(choice_texts([article, question], options))
                labels.append(answer_by_letter(answer, options, str(path)))
                groups.append(group)
    if len({len(row) for row in texts}) > 1:
        raise DataError(f"{folder}: questions have different numbers of options; every one must have as many.")
    columns = [pa.chunked_array([list(column)], pa.string()) for column in zip(*texts, strict=True)]
    if not columns:
        raise DataError(f"{folder} has 0 rows; RACE has files as middle/1000.txt there.")
    return RawTable(source=str(folder), texts=tuple(columns), labels=labels, choices=True, groups=groups)


def _questions(path: Path) -> list[tuple[str, str, list[str], Any]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        article = str(record["article"])
        asked = zip(record["questions"], record["options"], record["answers"], strict=True)
        return [
            (article, str(question), [str(each) for each in options], answer) for question, options, answer in asked
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no article of RACE: a JSON object with article, questions, options and answers, as many of "
            f"each ({type(error).__name__}: {error})."
        ) from error
