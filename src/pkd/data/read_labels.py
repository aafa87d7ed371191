"""Read label columns as classes, scores or sets of names, the same way for all files of a job.

Errors name the line of the label that does not fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pkd import progress
from pkd.data.label_kinds import HIDDEN_LABEL, IGNORED_LABEL, LabelKind, decide_kind, known_names
from pkd.data.label_sets import set_of
from pkd.data.label_survey import TRUTH, LabelSurvey, digits_of, is_decimal, is_whole, items_of, spelled
from pkd.data.match_names import plain, visible
from pkd.data.outputs import Outputs, as_problem, with_settings
from pkd.data.read_tags import TagReader
from pkd.data.tables import RawTable, name_rows
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import named, offers, set_to
from pkd.tasks import MULTIPLE_CHOICE, TOKEN_CLASSIFICATION

Kept = np.ndarray[Any, np.dtype[np.bool_]] | None

_YES_OR_NO = {**TRUTH, "1": 1, "0": 0, "1.0": 1, "0.0": 0, "yes": 1, "no": 0}
_SHOWN = 5


class LabelReader:
    """Read the label columns of a job's files; the first rows it sees decide what labels mean in all of them.

    Those are the training rows, if there are any. A source that is read in parts is surveyed whole (`look`) before its
    first part is read.

    Args:
        settings: the user's settings for labels.
        outputs: the classifier's, if there is one.

    Raises:
        RecipeError: if settings and classifier contradict each other.
    """

    def __init__(self, settings: DataSettings, outputs: Outputs | None = None) -> None:
        self.settings = settings
        self.kind: LabelKind | None = None
        self._said = None if outputs is None else with_settings(outputs, settings)
        self._names = known_names(settings, self._said)
        self._survey = LabelSurvey()
        self._tags = TagReader(settings.tag_scheme, self._names_of_ids())

    @property
    def outputs(self) -> Outputs | None:
        """The classifier's outputs, completed by what the labels decided."""
        if self._said is None or self.kind is None or self._said.is_declared:
            return self._said
        return as_problem(self._said, self.kind.problem_type)

    def _names_of_ids(self) -> Sequence[str]:
        """What class ids of tags stand for: the user's names, or the classifier's if he says so or it has no names."""
        said, settings = self._said, self.settings
        if said is not None and (settings.label_ids_are_teacher_ids or not said.is_named):
            return said.output_names
        return settings.label_names

    def look(self, raw: RawTable, kept: Kept = None) -> None:
        """Add a table's labels to the survey that decides what labels mean."""
        if self.kind is None and not self.settings.label_columns:
            values = [value for value in _values(raw, kept) if not _is_nothing(value)]
            self._survey.add(values, is_typed=raw.is_typed)

    def labelled(self, raw: RawTable, kept: Kept) -> Kept:
        """The mask of the kept rows: rows without a label are dropped if `on_no_label` is drop.

        Raises:
            DataError: if a row has no label and is not dropped, or labels are ambiguous.
        """
        kind = self._decided(raw, kept)
        lacking = {
            row: shown
            for row, value in enumerate(_values(raw))
            if (kept is None or kept[row]) and (shown := _shown_as_none(value, kind, raw)) is not None
        }
        if not lacking:
            return kept
        stays = np.ones(len(raw.texts[0]), dtype=bool) if kept is None else kept.copy()
        stays[list(lacking)] = False
        if self.settings.on_no_label == "drop" and stays.any():
            progress.note(f"{raw.source}: {len(lacking):,} of {len(stays):,} rows have no label; they were dropped.")
            return stays
        raise DataError(_message_of_none(raw, lacking, total=len(stays), all_lack=not stays.any()))

    def read(self, raw: RawTable, kept: Kept) -> pa.Array:
        """The labels of a table: int64 or string classes, float64 scores, or lists of names; null for dropped rows.

        Raises:
            DataError: naming the line of a label that does not fit.
        """
        kind = self._decided(raw, kept)
        values = _values(raw)
        if kept is not None:
            values = [value if keep else None for value, keep in zip(values, kept, strict=True)]
        if kind.form == "tags":
            return self._tags.read(raw, values)
        if kind.form == "scores":
            return _scores(raw, values, decimal_comma=kind.decimal_comma)
        if kind.form in ("names", "integers"):
            return _classes(raw, values, kind)
        if kind.form == "columns":
            sets = _sets_of_columns(raw, values, self.settings.label_columns)
        elif kind.form == "vectors":
            sets = _sets_of_vectors(raw, values, kind)
        else:
            sets = _sets(raw, values, kind, self._names)
        if kind.task.tells_two_classes:
            return _as_binary(raw, sets, values)
        return pa.array(sets, pa.list_(pa.string()))

    def _decided(self, raw: RawTable, kept: Kept) -> LabelKind:
        learned = self.kind.task if self.kind is not None else None if self._said is None else self._said.kind
        if learned is not None and learned.has_tokens != (raw.words is not None):
            found = TOKEN_CLASSIFICATION.labels_in_words if raw.words is not None else "one label a row"
            raise DataError(
                f"{raw.source} has {found}, but {learned.labels_in_words} are learned. Give files of one kind, or "
                "another classifier."
            )
        if self.kind is None and raw.words is not None:
            self.kind = LabelKind(TOKEN_CLASSIFICATION.name, "tags")
        if self.kind is None:
            if not self._survey.kinds:
                self.look(raw, kept)
            self.kind = (
                LabelKind(MULTIPLE_CHOICE.name, "integers")
                if raw.choices is not None
                else decide_kind(self._survey, self.settings, self._said, raw.source)
            )
        return self.kind


def _values(raw: RawTable, kept: Kept = None) -> list[Any]:
    labels = raw.labels
    values = labels if isinstance(labels, list) else labels.to_pylist() if labels is not None else []
    return values if kept is None else [value for value, keep in zip(values, kept, strict=True) if keep]


def _is_nothing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not plain(value))


def _shown_as_none(value: Any, kind: LabelKind, raw: RawTable) -> str | None:
    """The marker of an unlabelled row, "" if the field is empty; None for a labelled row."""
    if kind.form == "columns":
        marks = {plain(str(each)) for each in value if not _is_nothing(each)}
        return None if marks - {str(HIDDEN_LABEL)} else next(iter(marks), "")
    if _is_nothing(value):
        return None if kind.form == "sets" and kind.task.has_sets else ""
    if raw.choices or not isinstance(value, str | int | float) or (isinstance(value, float) and value >= 0):
        return None
    text = spelled(value)
    return text if text.casefold() in kind.no_label else None


def _message_of_none(raw: RawTable, lacking: Mapping[int, str], *, total: int, all_lack: bool) -> str:
    marks = Counter(lacking.values())
    share = f"in {len(lacking):,} of {total:,} rows ({name_rows(raw, list(lacking))})"
    if marks.keys() == {str(HIDDEN_LABEL)}:
        problem = f"{raw.source} has hidden labels ({HIDDEN_LABEL}) {share}, as in benchmarks' test splits."
    elif marks.keys() == {str(IGNORED_LABEL)}:
        problem = f"{raw.source} has the label {IGNORED_LABEL} {share}, which losses silently ignore."
    else:
        written = "".join(f"{visible(mark)} in {count:,}; " for mark, count in marks.most_common(_SHOWN) if mark)
        where = written + name_rows(raw, list(lacking))
        problem = f"{raw.source}: {len(lacking):,} of {total:,} rows have no label ({where})."
    if all_lack:
        return (
            f"{problem} They can be used for prediction, not for training or evaluation. Use a split with "
            f"labels{or_as_unlabelled()}."
        )
    mark = next((mark for mark in marks if mark), None)
    classes = f" If {visible(mark)} is a class, name all classes with {set_to('data.label_names')}." if mark else ""
    dropped = f"leave them out with {set_to('data.on_no_label', 'drop')}"
    return f"{problem} Label them, or {dropped}{or_as_unlabelled()}.{classes}"


def _classes(raw: RawTable, values: Sequence[Any], kind: LabelKind) -> pa.Array:
    """Integers, or names; integers that have names become names."""
    _check_one_kind(raw, values)
    distinct = {(type(value), value) for value in values if value is not None}
    if kind.form == "integers" and all(_is_integer(value) for _, value in distinct):
        read = {key: int(digits_of(_as_digits(key[1]))) for key in distinct}
        numbers = [None if value is None else read[type(value), value] for value in values]
        if kind.positions:
            return _named(raw, numbers, kind.positions)
        return _int64(raw, numbers)
    if kind.form == "integers":
        _refuse_fractions(raw, values)
    names = {key: _name_of(key[1]) for key in distinct}
    return pa.array([None if value is None else names[type(value), value] for value in values], pa.string())


def _refuse_fractions(raw: RawTable, values: Sequence[Any]) -> None:
    for row, value in enumerate(values):
        text = plain(value) if isinstance(value, str) else str(value)
        is_number = isinstance(value, int | float) or (value is not None and is_decimal(text) and not is_whole(text))
        if is_number and not float(text).is_integer():
            raise DataError(
                f"{raw.source}, {name_rows(raw, [row])}: the label is {text}; labels must be classes, one per row. "
                "Scores are learned by a classifier with one output (problem_type regression); class names that look "
                "like numbers must be text."
            )


def _is_integer(value: Any) -> bool:
    if isinstance(value, str):
        return is_whole(plain(value)) or plain(value).casefold() in TRUTH
    return isinstance(value, int) or float(value).is_integer()


def _as_digits(value: Any) -> str:
    return str(TRUTH.get(plain(value).casefold(), plain(value))) if isinstance(value, str) else spelled(value)


def _name_of(value: Any) -> str:
    return str(value).casefold() if isinstance(value, bool) else spelled(value)


def _check_one_kind(raw: RawTable, values: Sequence[Any]) -> None:
    """Refuse a mix of words and numbers, and fractions, which are no classes."""
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(type(value).__name__, row)
    if not (first.keys() == {"bool"} or first.keys() == {"str"} or first.keys() <= {"int", "float"}):
        found = ", ".join(f"{kind} ({name_rows(raw, [row])})" for kind, row in first.items())
        several = "" if len(first) == 1 else " Write them all as names, or all as numbers."
        raise DataError(f"{raw.source}: labels must be classes, one name or integer per row; found {found}.{several}")


def or_as_unlabelled() -> str:
    """Further advice about unlabelled rows, for jobs that accept unlabelled text; else ""."""
    return f", or give them as unlabelled text ({named('data.unlabelled')})" if offers("data.unlabelled") else ""


def _named(raw: RawTable, values: Sequence[int | None], names: Sequence[str]) -> pa.Array:
    """Replace integer classes by their names, by which they are matched to a classifier's."""
    for row, value in enumerate(values):
        if value is not None and not 0 <= value < len(names):
            raise DataError(
                f"{raw.source}, {name_rows(raw, [row])}: the label is {value}, but {named('data.label_names')} names "
                f"the classes 0 to {len(names) - 1} ({', '.join(names)})."
            )
    return pa.array([None if value is None else names[value] for value in values], pa.string())


def _int64(raw: RawTable, values: list[int | None]) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise DataError(f"{raw.source}: a label does not fit into 64 bits; labels must be classes.") from error


def _scores(raw: RawTable, values: Sequence[Any], *, decimal_comma: bool) -> pa.Array:
    scores: list[float | None] = []
    for row, value in enumerate(values):
        if isinstance(value, str):
            text = plain(value).replace(",", ".") if decimal_comma else plain(value)
            score = float(text) if is_decimal(text) else None
        else:
            score = float(value) if isinstance(value, int | float) else None
        if value is not None and (score is None or not np.isfinite(score)):
            raise DataError(
                f"{raw.source}, {name_rows(raw, [row])}: the label is {value!r}, which is no number; regression "
                "(problem_type) learns one score per row, with a decimal point and without thousands separators."
            )
        scores.append(score)
    return pa.array(scores, pa.float64())


def _sets(raw: RawTable, values: Sequence[Any], kind: LabelKind, names: Sequence[str]) -> list[list[str]]:
    """Sets of names, from lists or separated text; the set of a row without labels is empty."""
    sets: list[list[str]] = []
    for row, value in enumerate(values):
        if isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
            raise DataError(f"{raw.source}, {name_rows(raw, [row])}: a label is {value!r}; give a list of names.")
        if _is_nothing(value):
            labels = []
        elif isinstance(value, str):
            labels = set_of(plain(value), kind.separator, names)
        else:
            labels = items_of(value, kind.separator)
        if kind.positions:
            labels = [_name_at(raw, row, label, kind.positions) for label in labels]
        sets.append(sorted(set(labels)))
    return sets


def _name_at(raw: RawTable, row: int, label: str, positions: Sequence[str]) -> str:
    if not label.isdecimal() or int(label) >= len(positions):
        raise DataError(
            f"{raw.source}, {name_rows(raw, [row])}: a label is {visible(label)}, but the classes are numbered from 0 "
            f"to {len(positions) - 1}."
        )
    return positions[int(label)]


def _sets_of_vectors(raw: RawTable, values: Sequence[Any], kind: LabelKind) -> list[list[str]]:
    sets: list[list[str]] = []
    for row, value in enumerate(values):
        bits = ["0"] * len(kind.positions) if value is None else items_of(value, kind.separator)
        if len(bits) != len(kind.positions) or not set(bits) <= {"0", "1"}:
            raise DataError(
                f"{raw.source}, {name_rows(raw, [row])}: the label is {value!r}, but labels are vectors of "
                f"{len(kind.positions)} zeros and ones, one for each class."
            )
        sets.append([name for name, bit in zip(kind.positions, bits, strict=True) if bit == "1"])
    return sets


def _sets_of_columns(raw: RawTable, values: Sequence[Any], names: Sequence[str]) -> list[list[str]]:
    sets: list[list[str]] = []
    for row, columns in enumerate(values):
        if columns is None:
            sets.append([])
            continue
        answers = [_YES_OR_NO.get(str(value).strip().casefold()) for value in columns]
        if None in answers:
            at = answers.index(None)
            raise DataError(
                f"{raw.source}, {name_rows(raw, [row])}: '{names[at]}' is {columns[at]!r}; columns of "
                f"{named('data.label_columns')} hold 1 if a row has the label and 0 if not."
            )
        sets.append([name for name, answer in zip(names, answers, strict=True) if answer])
    return sets


def _as_binary(raw: RawTable, sets: Sequence[list[str]], values: Sequence[Any]) -> pa.Array:
    """Sets of one label as the classes 0 and 1."""
    for row, labels in enumerate(sets):
        if len(labels) > 1:
            raise DataError(
                f"{raw.source}, {name_rows(raw, [row])}: the row has {len(labels)} labels ({', '.join(labels)}), but "
                "the classifier has one output."
            )
    return pa.array([None if value is None else len(of) for of, value in zip(sets, values, strict=True)], pa.int64())
