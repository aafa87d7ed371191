"""Spool examples from a stream, or from files larger than memory, to disk.

The result is an ordinary memory-mapped dataset, so that later steps need no streaming variant. Files are read in parts
by the usual readers; `datasets` streams saved folders and the hub. Each part's texts go straight to disk. Decisions
over all rows, such as what labels mean, are made at the end by the code that makes them for sources read whole: both
ways give the same rows, or the same error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import datasets
import pyarrow as pa

from pkd import progress, ranks
from pkd.data.clean import RowCleaner
from pkd.data.examples import encode_splits
from pkd.data.find_columns import Columns, find_columns
from pkd.data.outputs import Outputs
from pkd.data.read_labels import LabelReader
from pkd.data.sources import SUFFIXES, choose_columns, name_and_split, read_file, require_sources
from pkd.data.tables import RawTable
from pkd.data.typed_tables import choose_split, load_saved, raw_rows
from pkd.errors import DataError, RecipeError, first_line
from pkd.recipe.places import local_path
from pkd.recipe.settings import DataSettings

_ROWS_A_CHUNK = 4096
_ROWS, _TEXTS = "rows-{:06d}.arrow", "texts-{:06d}.arrow"  # texts, before it is decided which rows are kept


@contextlib.contextmanager
def spooled(
    source: str | datasets.IterableDataset,
    settings: DataSettings,
    outputs: Outputs | None,
    output: Path,
    on_columns: Callable[[Columns], None] = lambda columns: None,
) -> Iterator[datasets.Dataset]:
    """A stream's rows on the disk beside the output, for as long as they are needed; the first rank reads them.

    The arguments are those of `spool`.
    """
    folder = output.with_name(f"{output.name}.rows")

    def require_room() -> None:
        if not is_spool(folder):
            raise RecipeError(
                f"{folder.absolute()} is where the stream's rows are kept meanwhile, and holds something else. Move it "
                "away, or choose another output folder."
            )

    def read() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with progress.stage("read the stream", unit="rows") as stage:
            spool(source, settings, outputs, folder, stage, on_columns)

    ranks.on_first(require_room)
    try:
        ranks.on_first(read)
        yield open_spool(folder)
    finally:
        if ranks.is_first():
            shutil.rmtree(folder, ignore_errors=True)


def spool(
    source: str | datasets.IterableDataset,
    settings: DataSettings,
    outputs: Outputs | None,
    folder: Path,
    stage: progress.Stage,
    on_columns: Callable[[Columns], None] = lambda columns: None,
) -> datasets.Dataset:
    """Write a stream's rows into `folder` as they come, with only one chunk of texts in memory.

    Args:
        source: a stream, or a .csv, .tsv, .jsonl, .parquet or .txt file, a folder saved by `datasets` or a hub name.
        settings: names of the columns, and how files are read.
        outputs: the teacher's, to whose names labels are matched; a stream without labels is unlabelled text. None
            keeps no labels: they only decide which rows stay, as where rows without one are left out.
        folder: an empty folder for the rows.
        stage: counts the rows that are read.
        on_columns: called with the columns that are read.

    Returns:
        The rows, memory-mapped: text columns and, where there are labels, `label`.

    Raises:
        DataError: if rows cannot be used; names them.
    """
    name = source if isinstance(source, str) else "the stream"
    file = _file_of(source)
    reader = LabelReader(settings, outputs)
    if outputs is not None:
        settings = dataclasses.replace(settings, problem_type=outputs.problem_type)
    if file is not None and file.suffix.lower() == ".txt":
        settings = dataclasses.replace(settings, on_empty="drop")  # blank lines separate paragraphs
    cleaner = RowCleaner(settings, on_empty=settings.on_empty, reader=reader)
    parts: list[Path] = []
    for raw in _tables(source, file, settings, name, on_columns):
        stage.advance(len(raw.texts[0]))
        if (texts := cleaner.add(raw)) is not None and len(texts):
            parts.append(folder / _TEXTS.format(len(parts) + 1))
            _write(texts, parts[-1])
    decided = cleaner.decide()
    split = "train" if isinstance(source, str) else "stream"  # a stream of one class may be part of a larger set
    if decided.labels is None or outputs is None:
        labels = None
    else:
        labels = _encoded(decided.labels, _names(parts[0]), reader, split, name)
    begin = stayed = 0
    for number, part in enumerate(parts, start=1):
        with pa.memory_map(str(part)) as file_of_part:
            texts = pa.ipc.open_stream(file_of_part).read_all()
            rows = decided.rows_of(texts, begin, stayed, labels)
            begin, stayed = begin + len(texts), stayed + len(rows)
            if len(rows):
                _write(rows, folder / _ROWS.format(number))
        part.unlink()
    return open_spool(folder)


def _encoded(labels: pa.Array, columns: Sequence[str], reader: LabelReader, split: str, name: str) -> pa.Array:
    """Encode the labels of all rows; null columns stand in for their texts, which are on disk."""
    texts = {column: pa.nulls(len(labels)) for column in columns}
    data = datasets.DatasetDict({split: datasets.Dataset(pa.table({**texts, "label": labels}))})
    encode_splits(data, reader, {split: name})
    column = data[split].with_format("arrow")[:]["label"].combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _names(part: Path) -> list[str]:
    with pa.memory_map(str(part)) as file:
        return list(pa.ipc.open_stream(file).schema.names)


def _write(table: pa.Table, path: Path) -> None:
    table = table.replace_schema_metadata(None).combine_chunks()
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)


def is_spool(folder: Path) -> bool:
    """Whether a folder holds only files of `spool`, for instance of a killed process, or does not exist."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(
        path.match("rows-*.arrow") or path.match("texts-*.arrow") for path in folder.iterdir()
    )


def open_spool(folder: Path) -> datasets.Dataset:
    """The rows that `spool` wrote, memory-mapped."""
    parts = [datasets.Dataset.from_file(str(path)) for path in sorted(folder.glob("rows-*.arrow"))]
    return datasets.concatenate_datasets(parts)


def _file_of(source: str | datasets.IterableDataset) -> Path | None:
    """The path of a source that is a file, else None.

    Raises:
        DataError: if it does not exist.
    """
    if not isinstance(source, str):
        return None
    require_sources(DataSettings(train=source), ("train",))
    path = local_path(name_and_split(source)[0])
    return path if path.is_file() else None


def _tables(
    source: str | datasets.IterableDataset,
    file: Path | None,
    settings: DataSettings,
    name: str,
    on_columns: Callable[[Columns], None],
) -> Iterator[RawTable]:
    """Yield the columns that are used, chunk by chunk."""

    @functools.cache  # so that notes about the columns are logged once
    def chosen(columns: tuple[str, ...]) -> Columns:
        named = settings.label_column is not None  # then it must exist: the rows are not unlabelled text
        labelled = named or bool(find_columns(columns, settings, name, labelled=False).labels)
        found = choose_columns(columns, settings=settings, source=name, labelled=labelled)
        on_columns(found)
        return found

    def choose(columns: Sequence[str]) -> Columns:
        return chosen(tuple(columns))

    if file is not None:
        yield from read_file(file, choose, settings, labelled=None, rows_a_table=_ROWS_A_CHUNK)
        return
    stream, begin = _open_stream(source) if isinstance(source, str) else source, 0
    for rows in _chunks(stream, name):
        yield raw_rows(rows, choose, name, begin)
        begin += len(rows)


def _open_stream(source: str) -> datasets.IterableDataset:
    """A saved folder or a dataset of the hub as a stream of its rows.

    Raises:
        DataError: if it does not exist or cannot be streamed.
    """
    name, part = name_and_split(source)
    path = local_path(name)
    try:
        if path.is_dir():
            return load_saved(path, "train", part, SUFFIXES).to_iterable_dataset()
        owner, dataset, *config = name.split("/")
        hub = f"{owner}/{dataset}"
        split = part or choose_split(datasets.get_dataset_split_names(hub, *config), name, "train", None)
        return datasets.load_dataset(hub, *config, split=split, streaming=True)
    except DataError:
        raise
    except Exception as error:  # the hub, the network and parsers raise many types
        raise DataError(f"{source} cannot be streamed: {first_line(error).rstrip('.')}.") from error


def _chunks(stream: datasets.IterableDataset, name: str) -> Iterator[datasets.Dataset]:
    batches = iter(stream.with_format("arrow").iter(batch_size=_ROWS_A_CHUNK))
    for number in itertools.count(1):
        try:
            table = next(batches, None)
        except Exception as error:  # an unreadable row or a broken connection
            at = f"after row {(number - 1) * _ROWS_A_CHUNK:,}"
            raise DataError(f"{name} cannot be read {at}: {first_line(error).rstrip('.')}.") from error
        if table is None:
            return
        yield datasets.Dataset(table) if stream.features is None else datasets.Dataset(table).cast(stream.features)
