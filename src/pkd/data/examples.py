"""A job's examples, ready for a model: read, labelled by name, checked, and fingerprinted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc

from pkd import progress
from pkd.data.check_splits import check_splits
from pkd.data.hold_out import hold_out
from pkd.data.labels import encode_labels, find_label_names, other_class
from pkd.data.match_names import visible
from pkd.data.outputs import Outputs, outputs_of
from pkd.data.read_labels import LabelReader
from pkd.data.sources import Source, read_data
from pkd.data.tokenize import fingerprint_rows, text_columns
from pkd.data.windows import has_words
from pkd.errors import DataError, RecipeError
from pkd.recipe.faults import shown
from pkd.recipe.keywords import place_keywords
from pkd.recipe.naming import fields_of
from pkd.recipe.places import AnyPath
from pkd.recipe.reading import recipe_from
from pkd.recipe.settings import DataSettings, ProblemType
from pkd.recipe.spelling import named, set_to
from pkd.recipe.suggestions import hint_for
from pkd.tasks import SINGLE_LABEL, kind_of

_CLASSES_SHOWN = 20
_MAY_KNOW_THEM = "A teacher from elsewhere may have learned from them: no verdict rests on them."
_SPLITS = {"train": "training", "eval": "development", "test": "test", "unlabelled": "unlabelled"}


@dataclass(frozen=True)
class Examples:
    """Splits with encoded labels, and the names of the head's outputs in their order.

    Attributes:
        warnings: what `check_splits` found.
        sources: split -> where its rows came from.
        shared: split -> other split -> number of its rows that are also in the other, word for word.
    """

    splits: datasets.DatasetDict
    label_names: tuple[str, ...]
    problem_type: ProblemType = SINGLE_LABEL.name
    warnings: list[str] = field(default_factory=list)
    sources: dict[str, list[Source]] = field(default_factory=dict)
    shared: dict[str, dict[str, int]] = field(default_factory=dict)
    drawn: bool = False

    @property
    def outputs(self) -> Outputs:
        """The outputs of a head for these examples."""
        return Outputs(self.problem_type, self.label_names)

    @cached_property
    def fingerprints(self) -> dict[str, dict[str, str]]:
        """Each split's part in the fingerprints of what is made from it."""
        return {split: fingerprint_rows(rows) for split, rows in self.splits.items()}


def load_examples(
    settings: DataSettings,
    splits: Sequence[str] = ("train", "eval", "test", "unlabelled"),
    teacher: Outputs | None = None,
    *,
    seed: int | None = None,
) -> Examples:
    """Read the splits that the settings name.

    Args:
        settings: where the examples are.
        splits: which of them to read.
        teacher: the outputs of the teacher's head; without it they are derived from the training rows.

    Raises:
        DataError: if a file cannot be used, or its labels are not the teacher's.
        RecipeError: if the settings name another kind of problem than the teacher's.
    """
    reader = LabelReader(settings, teacher)
    sources: dict[str, list[Source]] = {}

    def on_source(split: str, source: Source) -> None:
        sources.setdefault(split, []).append(source)
        progress.note(f"{_SPLITS[split]}: {source}")

    data = read_data(
        settings if teacher is None else dataclasses.replace(settings, problem_type=teacher.problem_type),
        tuple(splits),
        reader,
        on_source=on_source,
    )
    _check_same_kind(data)
    outputs = encode_splits(data, reader, {split: str(getattr(settings, split)) for split in data})
    drawn = False
    if seed is not None and "eval" in splits and "eval" not in data:
        drawn = _draw_development_rows(data, sources, seed, "" if teacher is None else f" {_MAY_KNOW_THEM}")
    checked = check_splits(data)
    for warning in checked.warnings:
        progress.warn(warning)
    return Examples(data, outputs.label_names, outputs.problem_type, checked.warnings, sources, checked.shared, drawn)


def _draw_development_rows(
    data: datasets.DatasetDict, sources: dict[str, list[Source]], seed: int, caveat: str
) -> bool:
    """Hold out a tenth of the training rows as development rows, in place; return whether there were enough rows."""
    parts = hold_out(data["train"], seed)
    if parts is None:
        return False
    others = {split: rows for split, rows in data.items() if split != "train"}
    data.clear()
    data.update({"train": parts[0], "eval": parts[1], **others})
    for split, rows in zip(("train", "eval"), parts, strict=True):
        sources[split] = [dataclasses.replace(source, rows=len(rows)) for source in sources["train"]]
    all_rows = len(parts[0]) + len(parts[1])
    progress.note(
        f"No development rows were named ({named('data.eval')}): {len(parts[1]):,} of the {all_rows:,} training rows, "
        f"held out, choose the epoch and do not train.{caveat}"
    )
    return True


def encode_splits(data: datasets.DatasetDict, reader: LabelReader, sources: Mapping[str, str]) -> Outputs:
    """Encode the labels of all labelled splits, in place.

    Args:
        data: rows from `read_data`.
        reader: the label reader that read them.
        sources: split -> source, for messages.

    Returns:
        The outputs of a head for these rows.

    Raises:
        DataError: if labels are not the classifier's, or not of one kind.
    """
    outputs, names_from = _outputs_of_examples(data, reader)
    for split in data:
        if split != "unlabelled":
            data[split] = encode_labels(
                data[split],
                outputs.label_names,
                split=split,
                source=sources[split],
                kind=outputs.kind,
                ids_are_teacher_ids=reader.settings.label_ids_are_teacher_ids,
                names_from=names_from,
            )
    return outputs


def _outputs_of_examples(data: datasets.DatasetDict, reader: LabelReader) -> tuple[Outputs, str]:
    """The outputs of a head for these rows, and where its class names come from: the teacher or the training rows.

    Rows without labels give no names.
    """
    first = next((rows for split, rows in data.items() if split != "unlabelled"), None)
    teacher, settings = reader.outputs, reader.settings
    if teacher is not None and (teacher.label_names or first is None):
        other = None
        if teacher.kind.tells_two_classes and first is not None:
            other = other_class(first, teacher.label_names)
        if other is not None:
            progress.note(f"The classifier's one output is that of '{teacher.label_names[1]}'; without it: '{other}'.")
            teacher = dataclasses.replace(teacher, label_names=(other, teacher.label_names[1]))
        return teacher, "classifier"
    if first is None or reader.kind is None:
        return Outputs(SINGLE_LABEL.name, ()), "training rows"
    problem_type = reader.kind.problem_type
    names = find_label_names(first, kind_of(problem_type), settings.label_columns or settings.label_names)
    shown_names = ", ".join(f"{index} {visible(name)[1:-1]}" for index, name in enumerate(names[:_CLASSES_SHOWN]))
    more = f" and {len(names) - _CLASSES_SHOWN:,} more" if len(names) > _CLASSES_SHOWN else ""
    progress.note(f"What is learned ({problem_type}), by output: {shown_names}{more}.")
    return Outputs(problem_type, names), "training rows"


def load_data(
    *,
    train: AnyPath | None = None,
    eval: AnyPath | None = None,
    test: AnyPath | None = None,
    teacher: Any = None,
    **settings: Any,
) -> datasets.DatasetDict:
    """Read examples for the Python API: rows with `text` (or `text_a`, `text_b`) and `label` as a class id.

    Args:
        train: file, folder or hub name of the training examples.
        eval: development examples.
        test: held-out examples.
        teacher: a classifier from `load_teacher` or transformers; labels are matched to its class names. Without it
            the classes are those of the training rows.
        settings: other fields of `DataSettings`, e.g. `label_column`, or `task`.

    Raises:
        DataError: if a file cannot be used.
        RecipeError: if a setting is none of the data's or out of its range, or nothing is named to read.
    """
    for name in settings:
        if name not in fields_of(DataSettings):
            raise RecipeError(f"load_data takes no {name}; {hint_for([name], DataSettings)}.")
    values = place_keywords({"train": train, "eval": eval, "test": test, **settings})
    data = recipe_from(values, where="load_data", required=()).data
    if not (data.train or data.eval or data.test or data.unlabelled):
        raise RecipeError("load_data has nothing to read. Name train, eval, test or unlabelled, or a task.")
    config = getattr(getattr(teacher, "model", teacher), "config", None)
    if teacher is not None and config is None:
        raise RecipeError(
            f"load_data: teacher is {shown(teacher)}; give the classifier itself, as pkd.load_teacher does."
        )
    return load_examples(data, teacher=None if config is None else outputs_of(config)).splits


def check_texts(rows: datasets.Dataset) -> None:
    """Check the text columns of rows that another reader than ours may have made.

    Raises:
        DataError: if there are none, or they hold anything but texts.
    """
    columns = text_columns(rows)
    if not columns:
        raise DataError(
            f"The rows have no column text (of pairs text_a and text_b), only {', '.join(rows.column_names)}. Rename "
            "the column, or read the file with `pkd.load_data`."
        )
    for name in columns:
        if (kind := str(getattr(rows.features[name], "dtype", "list"))) not in ("string", "large_string"):
            raise DataError(f"The rows' column {name} holds {kind}; it must hold texts. Is another column the text?")
        texts = rows.select_columns([name]).with_format("arrow")[:][name]
        if texts.null_count:
            row = pc.index(pc.is_null(texts), True).as_py() + 1
            raise DataError(
                f"The rows have no {name} in {texts.null_count:,} places, first in row {row:,}. Take these rows out."
            )


def with_unlabelled(labelled: datasets.Dataset, *unlabelled: datasets.Dataset | None) -> datasets.Dataset:
    """Append unlabelled rows to labelled ones; their label is null.

    Raises:
        DataError: if one has pairs and the other single texts.
    """
    parts = [labelled]
    for rows in unlabelled:
        if rows is None or len(rows) == 0:
            continue
        if text_columns(labelled) != text_columns(rows):
            raise DataError(
                f"The training rows have {', '.join(text_columns(labelled))}, but the unlabelled ones "
                f"{', '.join(text_columns(rows))}. Give both as single texts, or both as pairs."
            )
        if "label" not in rows.column_names:
            rows = rows.add_column("label", [None] * len(rows), feature=labelled.features["label"])
        parts.append(rows)
    return labelled if len(parts) == 1 else datasets.concatenate_datasets(parts)


def repeated(rows: datasets.Dataset, count: int, seed: int) -> datasets.Dataset:
    """So many rows that each comes equally often; which ones come once more where it does not divide, the seed says."""
    times, rest = divmod(count, len(rows))
    once_more = np.random.default_rng(seed).permutation(len(rows))[:rest]
    return rows.select(np.concatenate([np.tile(np.arange(len(rows)), times), np.sort(once_more)]))


def _check_same_kind(data: datasets.DatasetDict) -> None:
    words = {split: has_words(rows.column_names) for split, rows in data.items()}
    if len(set(words.values())) > 1:
        raise DataError(
            f"{' and '.join(split for split in words if words[split])} have tags of words, but "
            f"{' and '.join(split for split in words if not words[split])} whole texts. Give splits of one kind."
        )
    kinds = {split: text_columns(rows) for split, rows in data.items()}
    if len(set(kinds.values())) > 1:
        found = "; ".join(f"{split}: {', '.join(columns)}" for split, columns in kinds.items())
        raise DataError(
            f"The splits do not have the same text columns ({found}). Name the same columns with "
            f"{set_to('data.text_columns')}."
        )
