"""Read RACE in its authors' format: folders `middle` and `high` of JSON files, one per article with its questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from pkd.data.choices import RACE_GROUPS, Readings, answer_by_letter
from pkd.data.tables import RawTable
from pkd.errors import DataError


def is_race_split(folder: Path) -> bool:
    """Whether a folder holds one split of RACE."""
    return any((folder / group).is_dir() for group in RACE_GROUPS)


def read_race(folder: Path) -> RawTable:
    """Read one split, for instance RACE/train; each question is a row, and its group is the school.

    Raises:
        DataError: naming the file, if it is no article with questions.
    """
    asked: list[tuple[str, str]] = []
    choices: list[list[str]] = []
    labels: list[Readings] = []
    groups: list[str] = []
    for group in RACE_GROUPS:
        for path in sorted((folder / group).glob("*.txt")):
            for article, question, options, answer in _questions(path):
                asked.append((article, question))
                choices.append(options)
                labels.append(Readings(letter=answer_by_letter(answer, options, str(path)), position=None, text=None))
                groups.append(group)
    if not asked:
        raise DataError(f"{folder} has 0 rows; RACE has files such as middle/1000.txt there.")
    return RawTable(
        source=str(folder),
        texts=tuple(pa.chunked_array([list(column)], pa.string()) for column in zip(*asked, strict=True)),
        labels=labels,
        choices=pa.chunked_array([choices], pa.list_(pa.string())),
        groups=groups,
    )


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
            f"{path} is no RACE article, which is a JSON object with article, questions, options and answers, equally "
            f"many of each ({type(error).__name__}: {error})."
        ) from error
