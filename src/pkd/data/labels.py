"""Encode labels as class ids, matched by class name and never by position.

A teacher's id 0 and a file's label 0 may be different classes, and a wrong guess would silently train on wrong labels.
So labels that match no name are refused, unless the user declares that the ids are the teacher's.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pkd import progress
from pkd.data.arrays import column_array, column_values
from pkd.data.choices import choice_names
from pkd.data.label_kinds import IGNORED_LABEL
from pkd.data.match_names import covers, listed, lookalikes, match_names, visible
from pkd.data.outputs import REGRESSION_NAME, has_placeholder_names
from pkd.data.tags import ordered_names
from pkd.data.tokenize import count_choices
from pkd.data.windows import has_words
from pkd.errors import DataError
from pkd.recipe.spelling import named, set_to
from pkd.tasks import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SINGLE_LABEL, TOKEN_CLASSIFICATION, TaskKind

if TYPE_CHECKING:
    import datasets

_SHOWN = 10
_ROWS_THAT_SHOW_CLASSES = 20  # if a split this large has only one class, its labels may be a filler
_PERHAPS_NO_LABEL = ("nan", "null", "na", "nil")  # written by programs for no label, but also names of classes


def kind_of_rows(train: datasets.Dataset) -> TaskKind:
    """The kind of problem of rows whose labels were read."""
    dtype = str(train.features["label"].dtype if hasattr(train.features["label"], "dtype") else "list")
    if count_choices(train.column_names):
        return MULTIPLE_CHOICE
    if has_words(train.column_names):
        return TOKEN_CLASSIFICATION
    if dtype.startswith("float"):
        return REGRESSION
    return MULTI_LABEL if dtype == "list" else SINGLE_LABEL


def find_label_names(
    train: datasets.Dataset,
    kind: TaskKind = SINGLE_LABEL,
    ordered: Sequence[str] = (),
) -> tuple[str, ...]:
    """The names of the classes in their order.

    Classes: words sorted; integers by value and named by their digits. Sets: `ordered`, or the names sorted. Choices:
    A, B, C, ... A score: "score". Tags of words: O, then B-X and I-X of each type, sorted.

    Raises:
        DataError: if the rows have only one class, a class not in `ordered`, or more than two in a binary
            classification.
    """
    if kind.has_scores:
        return (REGRESSION_NAME,)
    if kind.has_choices:
        return choice_names(count_choices(train.column_names))
    if ordered and kind_of_rows(train) is not kind and not kind.tells_two_classes:
        return tuple(ordered)  # `encode_labels` raises that the rows are of another kind
    if kind.has_sets:
        found = {name for names in column_values(train, "label") for name in names}
        numbers = all(name.isdecimal() for name in found)
        names = _all_named(found, ordered) or tuple(sorted(found, key=int if numbers else str))
        if len(names) < 2:
            raise DataError(f"The labels of train name {len(names)} classes; sets of labels need at least two.")
        return names
    if kind.has_tokens:
        return _names_of_tags(train, ordered)
    distinct = set(train.unique("label"))
    if ordered:
        return _all_named(distinct, ordered) if _is_text(train) else tuple(ordered)
    if len(distinct) < 2:
        raise DataError(_one_class_message("train", next(iter(distinct)), len(train)))
    names = tuple(str(label) for label in sorted(distinct))
    if kind.tells_two_classes and len(names) > 2:
        raise DataError(
            f"The labels of train are {len(names)} classes ({_listed(names)}); a single output distinguishes two."
        )
    folded = Counter(name.casefold() for name in names)
    alike = [name for name in names if folded[name.casefold()] > 1]
    if alike:
        progress.warn(f"train: classes differ only in upper and lower case: {_listed(alike)}.")
    for sentence in lookalikes(names, names)[:_SHOWN]:
        progress.warn(f"train: {sentence} They are learned as two classes.")
    if odd := [name for name in names if name.casefold() in _PERHAPS_NO_LABEL and name not in ordered]:
        progress.warn(
            f"train: {_listed(odd)} is learned as a class. If it means that a row has no label, leave it empty."
        )
    return names


def _names_of_tags(train: datasets.Dataset, ordered: Sequence[str]) -> tuple[str, ...]:
    """The classes of words: `ordered` where it names them as they are read, with the other half of each pair."""
    counts = _tag_counts(train)
    tags = list(map(str, counts))
    if len(counts) < 2:
        raise DataError(_one_tag_message("train", next(iter(counts), "?"), counts.total()))
    names = ordered_names(tags)
    if not ordered or not covers(ordered, tags):
        return names
    return (*ordered, *(name for name in names if name not in ordered))


def _tag_counts(rows: datasets.Dataset) -> Counter[str | int]:
    """How many words have each tag."""
    return Counter(tag for tags in column_values(rows, "label") for tag in tags or ())


def _all_named(labels: Iterable[str], ordered: Sequence[str]) -> tuple[str, ...]:
    """`ordered` (data.label_names), checked to contain every label."""
    known = match_names(labels, ordered)
    if ordered and (unknown := sorted(label for label in labels if label not in known)):
        raise DataError(
            f"train has labels that {named('data.label_names')} does not name: {_listed(unknown)}. It names "
            f"{_listed(ordered)}. Name every class as the file writes it, or leave the setting out."
        )
    return tuple(ordered)


def other_class(rows: datasets.Dataset, classes: Sequence[str]) -> str | None:
    """The rows' name of the first of two classes, for a classifier with one output, which names only the second.

    None unless both occur and exactly one label is not the second class.
    """
    if not _is_text(rows) or not classes[0].startswith("not "):
        return None
    labels = rows.unique("label")
    known = match_names(labels, classes)
    others = [label for label in labels if label not in known]
    return str(others[0]) if len(others) == 1 and 1 in known.values() else None


def encode_labels(
    dataset: datasets.Dataset,
    names: Sequence[str],
    *,
    split: str,
    source: str,
    kind: TaskKind = SINGLE_LABEL,
    ids_are_teacher_ids: bool = False,
    names_from: str = "classifier",
) -> datasets.Dataset:
    """Encode labels as class ids (int64; of words a list), scores (float32), or 0 and 1 for each class (float32 [C]).

    Args:
        dataset: rows from `read_data`.
        names: the classifier's classes, in the order of their ids.
        kind: the classifier's kind of problem.
        split: its name; "train" must have every label and more than one class.
        source: where it was read from.
        ids_are_teacher_ids: integers index `names`, whatever the names are.
        names_from: where `names` come from, for messages: "classifier" or "training rows".

    Raises:
        DataError: if a label matches no class (the message shows both lists), or labels are of another kind of problem
            than the classifier's.
    """
    where = f"{source} ({split})"
    if "label" not in dataset.column_names:
        raise DataError(f"{where} has no labels: it can be used for prediction, not for training or evaluation.")
    _check_kind(dataset, kind, where)
    if kind.has_scores:
        scores = dataset.with_format("arrow")[:]["label"].cast(pa.float32())
        if split == "train" and len(pc.unique(scores)) < 2:
            raise DataError(
                f"{where} has the same score in all of its {len(dataset):,} rows; there is nothing to learn."
            )
        return _with_labels(dataset, scores)
    if kind.has_sets:
        return _with_labels(dataset, _sets_of_ids(dataset, names, where, names_from))
    if kind.has_tokens:
        return _with_labels(dataset, _ids_of_tags(dataset, names, split, where, names_from))
    if kind.has_choices:
        if (largest := int(column_array(dataset, "label").max())) >= len(names):
            raise DataError(f"{where} has {largest + 1} choices, but the classifier has {len(names)}.")
        return dataset
    counts: Counter[str | int] = Counter(column_values(dataset, "label"))
    numbers = not _is_text(dataset)
    if kind.tells_two_classes and numbers:
        ids: dict[str | int, int] = {label: int(label) for label in counts if label in (0, 1)}
    elif numbers:
        ids = _ids_of_integers(counts, names, ids_are_teacher_ids=ids_are_teacher_ids)
    else:
        ids = match_names(counts, names)
    _refuse_unknown(counts, ids, names, where, names_from, numbers_for_names=numbers)
    _check_classes(counts, names, split, where)
    return _with_labels(dataset, pa.array((ids[label] for label in column_values(dataset, "label")), pa.int64()))


def label_array(dataset: datasets.Dataset) -> np.ndarray[Any, Any]:
    """The labels that `encode_labels` made: class ids or scores [N], sets [N, C], tags of words [N, W].

    W is the length of the longest row; shorter ones end in -100.
    """
    if has_words(dataset.column_names):
        rows = list(column_values(dataset, "label"))
        padded = np.full((len(rows), max(map(len, rows), default=0)), IGNORED_LABEL, dtype=np.int64)
        for row, ids in zip(padded, rows, strict=True):
            row[: len(ids)] = ids
        return padded
    labels: np.ndarray[Any, Any] = column_array(dataset, "label")
    return labels


def _check_kind(dataset: datasets.Dataset, kind: TaskKind, where: str) -> None:
    found = kind_of_rows(dataset)
    if found is kind or (found.has_classes and kind.has_classes) or (found.has_tokens and kind.has_tokens):
        return
    if kind.has_scores and _is_number(dataset):
        return
    raise DataError(
        f"{where} has labels of {found.labels_in_words}, but {kind.labels_in_words} are learned. Give other rows, or "
        f"choose what is learned with {set_to('data.problem_type')}."
    )


def _with_labels(dataset: datasets.Dataset, labels: pa.Array | pa.ChunkedArray) -> datasets.Dataset:
    import datasets

    table = dataset.with_format("arrow")[:]
    position = table.schema.get_field_index("label")
    return datasets.Dataset(table.set_column(position, "label", labels).replace_schema_metadata(None))


def _sets_of_ids(dataset: datasets.Dataset, names: Sequence[str], where: str, names_from: str) -> pa.FixedSizeListArray:
    counts: Counter[str | int] = Counter(name for row in column_values(dataset, "label") for name in row)
    ids = match_names(counts, names)
    _refuse_unknown(
        counts, ids, names, where, names_from, numbers_for_names=all(str(each).isdecimal() for each in counts)
    )
    wanted = np.zeros((len(dataset), len(names)), dtype=np.float32)
    for row, labels in enumerate(column_values(dataset, "label")):
        wanted[row, [ids[name] for name in labels]] = 1
    if never := [name for name, count in zip(names, wanted.sum(axis=0), strict=True) if not count]:
        progress.warn(f"{where}: no row has the label {_listed(never)}; it cannot be learned or measured.")
    return pa.FixedSizeListArray.from_arrays(pa.array(wanted.reshape(-1)), len(names))


def _ids_of_tags(dataset: datasets.Dataset, names: Sequence[str], split: str, where: str, names_from: str) -> pa.Array:
    """The class of each word, [W] per row."""
    counts = _tag_counts(dataset)
    ids = match_names(counts, names)
    ids |= _without_beginnings(dataset, [tag for tag in counts if tag not in ids], names, where)
    _refuse_unknown(counts, ids, names, where, names_from, numbers_for_names=False, counted="words")
    if len(counts) < 2 and split == "train":
        raise DataError(_one_tag_message(where, next(iter(counts), "?"), counts.total()))
    if len(counts) == 1 and counts.total() >= _ROWS_THAT_SHOW_CLASSES:
        progress.warn(f"{where}: all {counts.total():,} words have the tag {_listed(counts)}. Are the tags hidden?")
    tags = column_values(dataset, "label")
    return pa.array(([ids[tag] for tag in row] for row in tags), pa.list_(pa.int64()))


def _without_beginnings(
    dataset: datasets.Dataset, unknown: Iterable[str | int], names: Sequence[str], where: str
) -> dict[str | int, int]:
    """Tags B-X as the class I-X of a classifier that has no class B-X, where that loses nothing.

    Raises:
        DataError: if two spans of a type stand side by side, which such classes cannot tell from one.
    """
    types = [str(tag)[2:] for tag in unknown if str(tag).startswith("B-")]
    ids = match_names([f"I-{type}" for type in types], names)
    inside = {type: ids[f"I-{type}"] for type in types if f"I-{type}" in ids}
    if not inside:
        return {}
    lost = [
        number
        for number, tags in enumerate(column_values(dataset, "label"), start=1)
        if any(tag[0] == "B" and tag[2:] in inside and tag[2:] == last[2:] for last, tag in itertools.pairwise(tags))
    ]
    if lost:
        raise DataError(
            f"{where}: in {len(lost):,} rows, first in row {lost[0]:,}, two spans of one type stand side by side, but "
            f"the classifier's classes have only I- for {_listed(sorted(inside))}, and cannot tell them from one span. "
            "Leave these rows out, or take a classifier that also has B- classes."
        )
    progress.note(f"{where}: the classifier has only I- for {_listed(sorted(inside))}; B- is read as that.")
    return {f"B-{type}": number for type, number in inside.items()}


def _is_number(dataset: datasets.Dataset) -> bool:
    return str(getattr(dataset.features["label"], "dtype", "")).startswith(("int", "float"))


def _is_text(dataset: datasets.Dataset) -> bool:
    return str(getattr(dataset.features["label"], "dtype", "")) in ("string", "large_string")


def _ids_of_integers(
    counts: Iterable[str | int], names: Sequence[str], *, ids_are_teacher_ids: bool
) -> dict[str | int, int]:
    if not ids_are_teacher_ids:
        by_name = match_names(counts, names)
        if by_name or not has_placeholder_names(names):
            return by_name
    return {label: int(label) for label in counts if 0 <= int(label) < len(names)}


def _refuse_unknown(
    counts: Counter[str | int],
    ids: Mapping[str | int, int],
    names: Sequence[str],
    where: str,
    names_from: str,
    *,
    numbers_for_names: bool,
    counted: str = "rows",
) -> None:
    unknown = [label for label in counts if label not in ids]
    if not unknown:
        return
    unmatched = [
        f"{visible(str(label))} ({counts[label]:,} {counted})"
        for label in sorted(unknown, key=lambda label: -counts[label])
    ]
    advice = "Labels are matched by name: rename them, or take a classifier that was trained on these classes."
    if names_from != "classifier":
        advice = "Remove these rows, or add training rows of these classes."
    elif any(name == f"LABEL_{number}" for number, name in enumerate(names)) or (
        tuple(names) == ("0", "1") and not numbers_for_names
    ):
        advice = (
            "Not all of the classifier's outputs have names: name them in their order, output 0 first, with "
            f"{set_to('data.label_names')}."
        )
    elif numbers_for_names and not ids:
        advice = (
            "Write the names instead of numbers; or, if the numbers are the classifier's own class ids, set "
            f"{set_to('data.label_ids_are_teacher_ids', True)}."
        )
    alike = lookalikes(sorted(map(str, unknown)), names)[:_SHOWN]
    raise DataError(
        f"{where} has labels that are not among those of the {names_from}: {_some(unmatched)}. Classes of the file: "
        f"{_listed(sorted(counts, key=str))}. Classes of the {names_from}: {_listed(names)}. "
        + " ".join([*alike, advice])
    )


def _check_classes(counts: Counter[str | int], names: Sequence[str], split: str, where: str) -> None:
    if split == "train":
        if len(counts) < 2:
            raise DataError(_one_class_message(where, next(iter(counts), "?"), counts.total()))
        once = [label for label, count in counts.items() if count == 1]
        if once:
            progress.warn(f"{where}: {_listed(once)} has only one example; that class can hardly be learned.")
    elif len(counts) == 1 and len(names) > 1 and counts.total() >= _ROWS_THAT_SHOW_CLASSES:
        progress.warn(
            f"{where} has the label {visible(str(next(iter(counts))))} in all of its {counts.total():,} rows, while "
            f"the classes are {_listed(names)}. If the labels are hidden, as in benchmarks' test files, scores mean "
            "nothing: leave the file out."
        )


def _one_class_message(where: str, label: str | int, rows: int) -> str:
    return (
        f"{where} has only 1 class: all {rows:,} rows have the label '{label}'. A classifier needs at least two; is "
        f"another column the label ({set_to('data.label_column')})?"
    )


def _one_tag_message(where: str, tag: str | int, words: int) -> str:
    return (
        f"{where} has only 1 tag: all {words:,} words have {visible(str(tag))}. A classifier needs at least two; is "
        f"another column the tag ({set_to('data.label_column')})?"
    )


def _listed(labels: Iterable[str | int]) -> str:
    return listed(labels, _SHOWN)


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
