"""Read sources whose columns have types: Parquet files, folders saved by `datasets`, and hub datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pkd.data.choices import Readings, listed_choices, read_answer
from pkd.data.find_columns import Columns
from pkd.data.json_shapes import advice_for_format
from pkd.data.tables import WORD_OFFSETS, RawTable
from pkd.data.words import word_offsets, words_of
from pkd.errors import DataError, first_line

if TYPE_CHECKING:
    import datasets

_SPLIT_NAMES = {  # names of a split in saved datasets and on the hub, the likeliest first
    "train": ("train",),
    "eval": ("validation", "dev", "valid", "val", "eval", "test"),
    "test": ("test",),
    "unlabelled": ("unlabelled", "unlabeled", "unsupervised", "train"),
    "predict": ("test", "predict", "validation", "train"),
}


def parquet_columns(path: Path) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        DataError: if it cannot be read.
    """
    import pyarrow.parquet as pq

    try:
        return list(pq.ParquetFile(path, memory_map=True).schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def read_parquet(path: Path, choose: Any, *, rows_a_table: int | None = None) -> Iterator[RawTable]:
    """The columns of a Parquet file that `choose` selects; `rows_a_table` as in `read_delimited`.

    Raises:
        DataError: if it cannot be read.
    """
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, memory_map=True)
        columns = choose(list(file.schema_arrow.names))
        names = _names_in(file.schema_arrow, columns)
        begin, wanted = 0, list(columns.all)
        if rows_a_table is None or file.metadata.num_rows == 0:
            yield _of_table(file.read(columns=wanted), columns, str(path), 0, names)
            return
        for batch in file.iter_batches(rows_a_table, columns=wanted):
            yield _of_table(pa.Table.from_batches([batch]), columns, str(path), begin, names)
            begin += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.absolute()} cannot be read as Parquet: {first_line(error).rstrip('.')}.")


def load_saved(path: Path, split: str, part: str | None, suffixes: Sequence[str]) -> datasets.Dataset:
    """A split of a dataset saved by `datasets`: `part` if given, else the likeliest for `split`.

    Args:
        path: the folder.
        split: the recipe's name.
        part: the dataset's name.
        suffixes: of files that the advice may name instead.

    Raises:
        DataError: if there is none.
    """
    import datasets

    if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        if any(path.glob("shard-*.arrow")):
            raise DataError(
                f"{path.absolute()} holds rows made by `pkd annotate`, for PatientTrainer in Python. Name the file "
                "that they were made from; `pkd distill --output NAME` reuses them if they are in "
                "NAME.work/annotated/train, and `pkd run` if they are in the run folder's annotated/train."
            )
        inside = sorted(file.name for file in path.iterdir() if file.suffix.lower() in suffixes)
        advice = f"Name one of its files: {', '.join(inside[:5])}." if inside else "Name a file."
        advice = advice_for_format(path) or advice
        raise DataError(f"{path.absolute()} is a folder that `datasets` did not save (save_to_disk). {advice}")
    try:
        saved = datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataError(
            f"{path.absolute()} cannot be loaded as a saved dataset: {first_line(error).rstrip('.')}. Save it again."
        ) from error
    if isinstance(saved, datasets.Dataset):
        if part is not None:
            raise DataError(f"{path.absolute()} holds one dataset without splits; leave out ':{part}'.")
        return saved
    return _take_split(saved, str(path), split, part)


def load_from_hub(name: str, split: str, part: str | None) -> datasets.Dataset:
    """A split of a hub dataset, "owner/name" or "owner/name/config".

    Raises:
        DataError: if it cannot be loaded.
    """
    import datasets

    owner, dataset, *config = name.split("/")
    try:
        loaded = datasets.load_dataset(f"{owner}/{dataset}", *config, split=part)
    except Exception as error:  # the network, the hub and the files raise many types
        raise DataError(
            f"'{name}' is neither a file or folder here ({Path(name).absolute()}) nor can it be loaded from the hub: "
            f"{first_line(error).rstrip('.')}."
        ) from error
    return loaded if isinstance(loaded, datasets.Dataset) else _take_split(loaded, name, split, None)


def _take_split(saved: datasets.DatasetDict, source: str, split: str, part: str | None) -> datasets.Dataset:
    return saved[choose_split(list(saved), source, split, part)]


def choose_split(names: Sequence[str], source: str, split: str, part: str | None) -> str:
    """Choose one of a dataset's splits: `part` if given, else the likeliest for `split`.

    Raises:
        DataError: if there is none.
    """
    wanted = (part,) if part is not None else _SPLIT_NAMES[split]
    for name in wanted:
        if name in names:
            return name
    raise DataError(
        f"{source} has no split '{wanted[0]}'; its splits: {', '.join(names)}. Name one, such as {source}:{names[0]}."
    )


def raw_rows(rows: datasets.Dataset, choose: Any, source: str, begin: int = 0) -> RawTable:
    """The columns of a dataset that `choose` selects; class ids become names if it has them.

    `begin`: number of rows of the source before these.
    """
    columns = choose(rows.column_names)
    wanted = list(columns.all)
    kept = rows.select_columns(wanted)
    table = (
        kept.with_format("arrow")[:] if len(kept) else pa.table({name: pa.array([], pa.string()) for name in wanted})
    )
    if columns.label is not None and len(kept):
        named = _with_names(table.column(columns.label), rows.features[columns.label], columns, source)
        table = table.set_column(table.schema.get_field_index(columns.label), columns.label, named)
    return _of_table(table, columns, source, begin)


def _with_names(values: pa.ChunkedArray, feature: Any, columns: Columns, source: str) -> pa.ChunkedArray | pa.Array:
    """Replace class ids by class names, to which labels are matched, if the column's type has them."""
    import datasets

    one = getattr(feature, "feature", feature)  # a set of labels is a list of classes
    if not isinstance(one, datasets.ClassLabel):
        return values
    rows = values.to_pylist()
    if one is not feature:
        sets = [None if row is None else [_class_name(one, value) for value in row] for row in rows]
        return pa.array(sets, pa.list_(pa.string()))
    names = [_class_name(one, value) for value in rows]
    numbers = [[str(first + number) for number in range(one.num_classes)] for first in (0, 1)]
    if columns.has_choices and one.names in numbers:
        return values  # the classes number the choices in order, from 0 or 1: the id is the position
    return pa.array(names, pa.string())


def _class_name(feature: datasets.ClassLabel, value: int | None) -> str | None:
    if value is None or value < 0:
        return None if value is None else str(value)  # the label is hidden or unknown
    return str(feature.int2str(int(value)))


def _names_in(schema: pa.Schema, columns: Columns) -> list[str]:
    """The names of the classes of tags in a Parquet file that `datasets` wrote; none for another file."""
    import datasets

    if not columns.has_tokens or columns.label is None:
        return []
    try:
        feature: Any = datasets.Features.from_arrow_schema(schema)[columns.label]
    except (ValueError, TypeError, KeyError):  # types that it does not know
        return []
    one = getattr(feature, "feature", None)
    return list(one.names) if isinstance(one, datasets.ClassLabel) else []


def _of_table(table: pa.Table, columns: Columns, source: str, begin: int, names: Sequence[str] = ()) -> RawTable:
    """The columns as a source has them; ids of tags become `names`."""
    labels: Any = table.column(columns.label) if columns.label is not None else None
    if columns.asks_for_words and _is_list(table.column(columns.text[0]).type):
        columns = columns.holding([])
    if columns.has_tokens:
        return _of_tokens(table, columns, source, begin, names)
    if columns.label_set:
        labels = [
            list(row) for row in zip(*(table.column(name).to_pylist() for name in columns.label_set), strict=True)
        ]
    if columns.has_choices:
        return _of_choices(table, columns, source, begin)
    return RawTable(
        source=source,
        texts=tuple(table.column(name) for name in columns.text),
        labels=labels,
        ids=table.column(columns.row_id) if columns.row_id is not None else None,
        has_spans=columns.has_spans,
        begin=begin,
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _of_tokens(table: pa.Table, columns: Columns, source: str, begin: int, names: Sequence[str]) -> RawTable:
    """Rows of lists of words, whose text is the words with a space between."""
    (name,) = columns.text
    held = table.column(name).to_pylist()
    rows = [words_of(value, name, f"{source}, row {row}") for row, value in enumerate(held, start=begin + 1)]
    tags = None if columns.label is None else table.column(columns.label).to_pylist()
    if tags is not None and names:
        tags = [row and [_name_of_id(names, tag) for tag in row] for row in tags]
    return RawTable(
        source=source,
        texts=(pa.chunked_array([[" ".join(words) for words in rows]], pa.string()),),
        labels=tags,
        ids=table.column(columns.row_id) if columns.row_id is not None else None,
        words=pa.chunked_array([[word_offsets(words) for words in rows]], WORD_OFFSETS),
        begin=begin,
    )


def _name_of_id(names: Sequence[str], tag: Any) -> Any:
    return names[tag] if isinstance(tag, int) and 0 <= tag < len(names) else tag


def _of_choices(table: pa.Table, columns: Columns, source: str, begin: int) -> RawTable:
    """Questions with choices, as one list column or one column per choice."""
    if columns.choice_set:
        sides = (table.column(name).to_pylist() for name in columns.choice_set)
        held = [list(row) for row in zip(*sides, strict=True)]
    else:
        held = table.column(str(columns.choices)).to_pylist()
    answers = [None] * len(held) if columns.label is None else table.column(columns.label).to_pylist()
    choices: list[list[str]] = []
    labels: list[Readings | None] = []
    for row, (value, answer) in enumerate(zip(held, answers, strict=True), start=begin + 1):
        listed = listed_choices(value)
        if listed is None:
            raise DataError(
                f"{source}, row {row}: '{columns.choices or columns.choice_set[0]}' must be a list of two or more "
                "choices, all texts."
            )
        choices.append(listed[0])
        labels.append(None if answer is None else read_answer(answer, listed[0], f"{source}, row {row}", listed[1]))
    return RawTable(
        source=source,
        texts=tuple(table.column(name) for name in columns.text),
        labels=None if columns.label is None else labels,
        choices=pa.chunked_array([choices], pa.list_(pa.string())),
        groups=[str(value) for value in table.column(columns.group).to_pylist()] if columns.group else None,
        begin=begin,
    )
