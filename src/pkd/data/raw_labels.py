"""What stands in a label column becomes classes, scores or sets of names, by what is learned.

Every label that does not fit is told with its line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pkd import progress
from pkd.data.spelling import plain
from pkd.data.tables import RawTable, places
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import named, offers

Kept = np.ndarray[Any, np.dtype[np.bool_]] | None

_WHOLE = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LEADING_ZERO = re.compile(r"[-+]?0\d+")
_TRUTH = {"true": 1, "false": 0}
_YES_OR_NO = {**_TRUTH, "1": 1, "0": 0, "1.0": 1, "0.0": 0, "yes": 1, "no": 0}
_SET_SEPARATORS = ("|", ";", ",")


def read_labels(raw: RawTable, settings: DataSettings, kept: Kept, class_names: Sequence[str] = ()) -> pa.Array:
    """The labels of a table: int64 or string classes, float64 scores, or lists of the names of a set.

    Args:
        raw: the table.
        settings: `problem_type` says what they must be, "auto" takes scores for what has a fraction and sets for what
            is a list; `label_names` names integer classes.
        kept: the rows that are kept; the others need no label, and get null.
        class_names: of the classifier, if there is one; true and false are words where it calls classes so, else 1, 0.

    Raises:
        DataError: if a row has no label, or one that does not fit.
    """
    if settings.label_columns:
        return _sets_of_columns(raw, settings.label_columns, kept)
    values = raw.labels if isinstance(raw.labels, list) else raw.labels.to_pylist() if raw.labels is not None else []
    if settings.problem_type == "multi_label_classification":
        return _sets(raw, values, settings.label_sep)
    values = [_stripped(value) for value in values]
    if kept is not None:
        values = [value if keep else None for value, keep in zip(values, kept, strict=True)]
    missing = [
        row for row, value in enumerate(values) if (value is None or value != value) and (kept is None or kept[row])
    ]
    if missing:
        raise DataError(
            f"{raw.source}: {len(missing):,} of {len(values):,} rows have no label ({places(raw, missing)}). Label "
            f"them, or take them out{or_as_unlabelled()}."
        )
    if settings.problem_type == "regression":
        return _scores(raw, values)
    if settings.problem_type == "auto" and all(isinstance(value, list) for value in values if value is not None):
        return _sets(raw, values, settings.label_sep)
    named = {name.casefold() for name in (*class_names, *settings.label_names)}
    if named & _TRUTH.keys() and all(str(value).casefold() in _TRUTH for value in values if value is not None):
        return pa.array([None if value is None else str(value).casefold() for value in values], pa.string())
    classes = _classes(raw, values, may_be_scores=settings.problem_type == "auto")
    if settings.label_names and pa.types.is_int64(classes.type):
        return _named(raw, classes.to_pylist(), settings.label_names)
    return classes


def or_as_unlabelled() -> str:
    """What else can be done with rows without a label, where the job takes unlabelled text; to go on after advice."""
    return f", or give them as unlabelled text ({named('data.unlabelled')})" if offers("data.unlabelled") else ""


def _named(raw: RawTable, values: Sequence[int | None], names: Sequence[str]) -> pa.Array:
    """Integer classes by their names, so that they are aligned by name with a classifier's."""
    for row, value in enumerate(values):
        if value is not None and not 0 <= value < len(names):
            raise DataError(
                f"{raw.source}, {places(raw, [row])}: the label is {value}, but {named('data.label_names')} names "
                f"the classes 0 to {len(names) - 1} ({', '.join(names)})."
                + (" −1 marks hidden labels: the rows can be predicted, not trained or measured on." * (value == -1))
            )
    return pa.array([None if value is None else names[value] for value in values], pa.string())


def _scores(raw: RawTable, values: Sequence[Any]) -> pa.Array:
    for row, value in enumerate(values):
        is_number = isinstance(value, int | float) or (isinstance(value, str) and _DECIMAL.fullmatch(value))
        if value is not None and (not is_number or not np.isfinite(float(value))):
            raise DataError(
                f"{raw.source}, {places(raw, [row])}: the label is {value!r}, which is no number; regression "
                "(problem_type) learns a score a row."
            )
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _sets(raw: RawTable, values: Sequence[Any], separator: str | None) -> pa.Array:
    """Sets of names: lists, or text that is parted; a row with no label has the empty set."""
    if separator is None:
        found = [mark for mark in _SET_SEPARATORS if any(isinstance(value, str) and mark in value for value in values)]
        separator = found[0] if found else _SET_SEPARATORS[0]
    sets: list[list[str]] = []
    for row, value in enumerate(values):
        if isinstance(value, str):
            value = value.strip().removeprefix("[").removesuffix("]").split(separator)
        if value is not None and not isinstance(value, list | tuple):
            value = [value]
        names = [plain(str(name)).strip("'\"") for name in value or ()]
        if any(isinstance(name, dict | list) for name in value or ()):
            raise DataError(f"{raw.source}, {places(raw, [row])}: a label is {value!r}; give a list of names.")
        sets.append(sorted({name for name in names if name}))
    return pa.array(sets, pa.list_(pa.string()))


def _sets_of_columns(raw: RawTable, names: Sequence[str], kept: Kept) -> pa.Array:
    sets: list[list[str]] = []
    for row, values in enumerate(raw.labels or ()):
        if kept is not None and not kept[row]:
            sets.append([])
            continue
        answers = [_YES_OR_NO.get(str(value).strip().casefold()) for value in values]
        if None in answers:
            at = answers.index(None)
            raise DataError(
                f"{raw.source}, {places(raw, [row])}: '{names[at]}' is {values[at]!r}; columns of "
                f"{named('data.label_columns')} hold 1 where a row has the label and 0 where it has not."
            )
        sets.append([name for name, answer in zip(names, answers, strict=True) if answer])
    return pa.array(sets, pa.list_(pa.string()))


def _classes(raw: RawTable, values: list[Any], *, may_be_scores: bool) -> pa.Array:
    """The labels as int64 or strings, or as float64 where they have fractions and may be scores."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return _classes_of_strings(raw, values, may_be_scores=may_be_scores)
    if kinds == {bool}:
        return _truth(raw, values)
    if kinds == {int}:
        return _int64(raw, values)
    if kinds <= {int, float}:
        return _classes_of_floats(raw, values, may_be_scores=may_be_scores)
    raise DataError(_mixed_message(raw, values))


def _stripped(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return plain(value) or None


def _classes_of_strings(raw: RawTable, values: list[str | None], *, may_be_scores: bool) -> pa.Array:
    distinct = {value for value in values if value is not None}
    if {value.casefold() for value in distinct} <= _TRUTH.keys():
        return _truth(raw, [None if value is None else _TRUTH[value.casefold()] for value in values])
    if all(_WHOLE.fullmatch(value) for value in distinct):
        if any(_LEADING_ZERO.fullmatch(value) for value in distinct):
            progress.note(f"{raw.source}: labels such as '{min(distinct)}' begin with a zero; they are read as names.")
            return pa.array(values, pa.string())
        return _int64(raw, [None if value is None else int(value[:30]) for value in values])  # Python reads no 5,000
    if all(_DECIMAL.fullmatch(value) for value in distinct):
        scores = [None if value is None else float(value) for value in values]
        return _classes_of_floats(raw, scores, may_be_scores=may_be_scores)
    return pa.array(values, pa.string())


def _truth(raw: RawTable, values: Sequence[int | None]) -> pa.Array:
    progress.note(f"{raw.source}: the labels are true and false; they are read as 1 and 0.")
    return pa.array([None if value is None else int(value) for value in values], pa.int64())


def _classes_of_floats(raw: RawTable, values: Sequence[float | None], *, may_be_scores: bool) -> pa.Array:
    for row, value in enumerate(values):
        if value is not None and not float(value).is_integer():
            if may_be_scores:
                return _scores(raw, values)
            raise DataError(
                f"{raw.source}, {places(raw, [row])}: the label is {value}; labels must be classes, one a row. Scores "
                "are learned by a classifier of one output (problem_type regression)."
            )
    progress.note(f"{raw.source}: the labels are whole numbers written as decimals; they are read as integers.")
    return _int64(raw, [None if value is None else int(value) for value in values])


def _int64(raw: RawTable, values: list[int | None]) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise DataError(f"{raw.source}: a label is a number of more than 64 bits; labels must be classes.") from error


def _mixed_message(raw: RawTable, values: Sequence[Any]) -> str:
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(type(value).__name__, row)
    told = ", ".join(f"{kind} ({places(raw, [row])})" for kind, row in first.items())
    several = "" if len(first) == 1 else " Write them all as names, or all as numbers."
    return f"{raw.source}: labels must be classes, one name or integer a row; found {told}.{several}"
