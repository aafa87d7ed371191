"""A job's examples, ready for a model: read, labelled by name, checked, and fingerprinted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import datasets

from pkd import progress
from pkd.data.encoding import fingerprint_rows, text_columns
from pkd.data.labels import check_splits, encode_labels, find_label_names, label_names_of
from pkd.data.sources import read_data
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings

_CLASSES_TOLD = 20


@dataclass(frozen=True)
class Examples:
    """Splits whose `label` is a class id, and the names of the classes in the order of the ids."""

    splits: datasets.DatasetDict
    label_names: tuple[str, ...]
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def fingerprints(self) -> dict[str, dict[str, str]]:
        """What each split adds to the fingerprint of whatever is made from it."""
        return {split: fingerprint_rows(rows) for split, rows in self.splits.items()}


def load_examples(
    settings: DataSettings,
    splits: Sequence[str] = ("train", "eval", "test", "unlabelled"),
    label_names: Sequence[str] | None = None,
) -> Examples:
    """Read the splits that the settings name.

    Args:
        settings: where the examples are.
        splits: which of them are wanted.
        label_names: the teacher's classes; without them they are found in the training rows.

    Raises:
        DataError: if a file cannot be used, or its labels are not the teacher's.
    """
    data = read_data(settings, splits=tuple(splits))
    _check_same_kind(data)
    if label_names is not None:
        names, names_from = tuple(label_names), "classifier"
    else:
        names, names_from = find_label_names(data["train"]), "training rows"
        told = ", ".join(f"{index} {name}" for index, name in enumerate(names[:_CLASSES_TOLD]))
        more = f" and {len(names) - _CLASSES_TOLD:,} more" if len(names) > _CLASSES_TOLD else ""
        progress.note(f"The classes and their ids: {told}{more}.")
    for split in data:
        if split != "unlabelled":
            data[split] = encode_labels(
                data[split],
                names,
                split=split,
                source=str(getattr(settings, split)),
                ids_are_teacher_ids=settings.label_ids_are_teacher_ids,
                names_from=names_from,
            )
    warnings = check_splits(data)
    for warning in warnings:
        progress.warn(warning)
    return Examples(data, names, warnings)


def load_data(
    *,
    train: str | None = None,
    eval: str | None = None,
    test: str | None = None,
    teacher: Any = None,
    **settings: Any,
) -> datasets.DatasetDict:
    """Read examples for the Python API: rows with `text` (or `text_a`, `text_b`) and `label` as a class id.

    Args:
        train: file, folder or hub name of the training examples.
        eval: development examples.
        test: held-out examples.
        teacher: a classifier whose label names the labels are aligned with, by name; without it the classes are those
            of the training rows.
        settings: other fields of `DataSettings`, e.g. `label_column`.

    Raises:
        DataError: if a file cannot be used.
    """
    names = label_names_of(teacher.config) if teacher is not None else None
    return load_examples(DataSettings(train=train, eval=eval, test=test, **settings), label_names=names).splits


def with_unlabelled(labelled: datasets.Dataset, unlabelled: datasets.Dataset | None) -> datasets.Dataset:
    """Put unlabelled rows behind labelled ones; the label of such a row is null.

    Raises:
        DataError: if one has pairs and the other single texts.
    """
    if unlabelled is None or len(unlabelled) == 0:
        return labelled
    if text_columns(labelled) != text_columns(unlabelled):
        raise DataError(
            f"The training rows have {', '.join(text_columns(labelled))}, but the unlabelled ones "
            f"{', '.join(text_columns(unlabelled))}. Give both as single texts, or both as pairs."
        )
    if "label" not in unlabelled.column_names:
        nulls = [None] * len(unlabelled)
        unlabelled = unlabelled.add_column("label", nulls, feature=labelled.features["label"])
    return datasets.concatenate_datasets([labelled, unlabelled])


def _check_same_kind(data: datasets.DatasetDict) -> None:
    kinds = {split: text_columns(rows) for split, rows in data.items()}
    if len(set(kinds.values())) > 1:
        told = "; ".join(f"{split}: {', '.join(columns)}" for split, columns in kinds.items())
        raise DataError(
            f"The splits do not have the same text columns ({told}). Name the same columns with --text-columns."
        )
