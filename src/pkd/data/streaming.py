"""Examples that come as a stream, or lie in files larger than the memory, become rows on the disk, a chunk at a time.

What comes out is an ordinary memory-mapped dataset, so that everything after it needs no second way of doing things.
Files are read as everywhere, in parts; `datasets` streams Parquet, saved folders and the hub. What a row must be is
checked chunk by chunk.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import pyarrow as pa

from pkd import progress
from pkd.data.columns import clean_rows, has_texts
from pkd.data.labels import encode_labels
from pkd.data.outputs import Outputs
from pkd.data.raw_labels import LabelReader
from pkd.data.sources import SUFFIXES, choose_columns, parted, read_file, require_sources
from pkd.data.tables import RawTable
from pkd.data.tasks import Columns, find_columns
from pkd.data.typed_tables import choose_split, load_saved, raw_rows
from pkd.errors import DataError, first_line
from pkd.recipe.places import local_path
from pkd.recipe.settings import DataSettings

_ROWS_A_CHUNK = 4096


def spool(
    source: str | datasets.IterableDataset,
    settings: DataSettings,
    outputs: Outputs,
    folder: Path,
    stage: progress.Stage,
) -> datasets.Dataset:
    """Write a stream's rows into `folder` as they come; only a chunk of them is ever in the memory.

    Args:
        source: a stream, or a .csv, .tsv, .jsonl, .parquet or .txt file, a folder saved by `datasets` or a hub name.
        settings: names of the columns, and how files are read.
        outputs: of the teacher, by whose names labels are matched; a stream without labels is unlabelled text.
        folder: an empty folder for the rows.
        stage: told of the rows that are read.

    Returns:
        The rows, memory-mapped: text columns and, where there are labels, `label`.

    Raises:
        DataError: saying what is wrong and in which rows.
    """
    name = source if isinstance(source, str) else "the stream"
    file = _file_of(source)
    if file is not None and file.suffix.lower() == ".txt":
        settings = dataclasses.replace(settings, on_empty="drop")  # blank lines part paragraphs there
    reader = LabelReader(settings, outputs)
    settings = dataclasses.replace(settings, problem_type=outputs.problem_type)
    parts = 0
    for raw in _tables(source, file, settings, name):
        where = f"{name}, rows {stage.done + 1:,} to {stage.done + len(raw.texts[0]):,}"
        stage.advance(len(raw.texts[0]))
        if settings.on_empty == "drop" and not has_texts(raw):
            continue
        rows = _clean(dataclasses.replace(raw, source=where), settings, reader)
        parts += 1
        table = rows.with_format("arrow")[:].replace_schema_metadata(None)
        path = str(folder / f"rows-{parts:06d}.arrow")
        with pa.OSFile(path, "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table.combine_chunks())
    if not parts:
        raise DataError(f"{name} has 0 rows with a text; give a source with examples.")
    return open_spool(folder)


def is_spool(folder: Path) -> bool:
    """Whether a folder holds nothing but what `spool` wrote, as one that a killed process left, or is not there."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(path.match("rows-*.arrow") for path in folder.iterdir())


def open_spool(folder: Path) -> datasets.Dataset:
    """The rows that `spool` wrote, memory-mapped."""
    parts = [datasets.Dataset.from_file(str(path)) for path in sorted(folder.glob("rows-*.arrow"))]
    return datasets.concatenate_datasets(parts)


def _file_of(source: str | datasets.IterableDataset) -> Path | None:
    """The file that a source is, if it is one.

    Raises:
        DataError: if it names nothing that there is.
    """
    if not isinstance(source, str):
        return None
    require_sources(DataSettings(train=source), ("train",))
    path = local_path(parted(source)[0])
    return path if path.is_file() else None


def _tables(
    source: str | datasets.IterableDataset, file: Path | None, settings: DataSettings, name: str
) -> Iterator[RawTable]:
    """The columns that are used, some rows at a time."""

    def choose(columns: Sequence[str]) -> Columns:
        named = settings.label_column is not None  # and must be there: its rows are no unlabelled text
        labelled = named or bool(find_columns(columns, settings, name, labelled=False).labels)
        return choose_columns(columns, settings=settings, source=name, labelled=labelled)

    if file is not None and file.suffix.lower() != ".parquet":
        yield from read_file(file, choose, settings, labelled=False, rows_a_table=_ROWS_A_CHUNK)
        return
    stream = _open_stream(source, file) if isinstance(source, str) else source
    for rows in _chunks(stream, name):
        yield raw_rows(rows, choose, name)


def _open_stream(source: str, file: Path | None) -> datasets.IterableDataset:
    """A Parquet file, a saved folder or a dataset of the hub as a stream of its rows.

    Raises:
        DataError: if it does not exist or cannot be streamed.
    """
    name, part = parted(source)
    path = local_path(name)
    try:
        if file is not None:
            return datasets.load_dataset("parquet", data_files=str(file), split="train", streaming=True)
        if path.is_dir():
            return load_saved(path, "train", part, SUFFIXES).to_iterable_dataset()
        owner, dataset, *config = name.split("/")
        hub = f"{owner}/{dataset}"
        split = part or choose_split(datasets.get_dataset_split_names(hub, *config), name, "train", None)
        return datasets.load_dataset(hub, *config, split=split, streaming=True)
    except DataError:
        raise
    except Exception as error:  # whatever a hub, a network or a parser raises
        raise DataError(f"{source} cannot be streamed: {first_line(error).rstrip('.')}.") from error


def _chunks(stream: datasets.IterableDataset, name: str) -> Iterator[datasets.Dataset]:
    batches = iter(stream.with_format("arrow").iter(batch_size=_ROWS_A_CHUNK))
    for number in itertools.count(1):
        try:
            table = next(batches, None)
        except Exception as error:  # a row that its reader cannot read, or a connection that broke
            at = f"behind row {(number - 1) * _ROWS_A_CHUNK:,}"
            raise DataError(f"{name} cannot be read on {at}: {first_line(error).rstrip('.')}.") from error
        if table is None:
            return
        yield datasets.Dataset(table) if stream.features is None else datasets.Dataset(table).cast(stream.features)


def _clean(raw: RawTable, settings: DataSettings, reader: LabelReader) -> datasets.Dataset:
    raw = dataclasses.replace(raw, groups=None)  # whether they part anything, only all of the rows would tell
    rows = clean_rows(raw, settings, on_empty=settings.on_empty, reader=reader)
    outputs = reader.outputs
    if raw.labels is None or outputs is None:
        return rows
    return encode_labels(
        rows,
        outputs.label_names,
        split="stream",
        source=raw.source,
        problem_type=outputs.problem_type,
        ids_are_teacher_ids=settings.label_ids_are_teacher_ids,
        is_part=True,
    )
