"""Examples that come as a stream, or lie in files larger than the memory, become rows on the disk, a chunk at a time.

What comes out is an ordinary memory-mapped dataset, so that everything after it needs no second way of doing things.
Files are read by `datasets`, which streams them; what a row must be is checked chunk by chunk as everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from pkd import progress
from pkd.data.columns import clean_rows
from pkd.data.delimited import dialect_of, read_header
from pkd.data.labels import Outputs, encode_labels
from pkd.data.sources import DELIMITED, JSON_LINES, SUFFIXES, choose_columns, parted, require_sources
from pkd.data.tasks import find_columns
from pkd.data.typed_tables import choose_split, load_saved, raw_rows
from pkd.errors import DataError, first_line
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
    stream = open_stream(source, settings) if isinstance(source, str) else source
    number = 0
    for number, chunk in enumerate(_chunks(stream, name), start=1):
        rows = _clean(chunk, settings, outputs, f"{name}, rows {stage.done + 1:,} to {stage.done + len(chunk):,}")
        table = rows.with_format("arrow")[:].replace_schema_metadata(None)
        path = str(folder / f"rows-{number:06d}.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        stage.advance(len(chunk))
    if not number:
        raise DataError(f"{name} has 0 rows; give a source with examples.")
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


def open_stream(source: str, settings: DataSettings) -> datasets.IterableDataset:
    """A source as a stream of its rows.

    Raises:
        DataError: if it does not exist or cannot be streamed.
    """
    require_sources(DataSettings(train=source), ("train",))
    name, part = parted(source)
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return load_saved(path, "train", part, SUFFIXES).to_iterable_dataset()
        if path.is_file():
            kind, options = _reader(path, settings)
            return datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True, **options)
        owner, dataset, *config = name.split("/")
        hub = f"{owner}/{dataset}"
        split = part or choose_split(datasets.get_dataset_split_names(hub, *config), name, "train", None)
        return datasets.load_dataset(hub, *config, split=split, streaming=True)
    except DataError:
        raise
    except Exception as error:  # whatever a hub, a network or a parser raises
        raise DataError(f"{source} cannot be streamed: {first_line(error).rstrip('.')}.") from error


def _reader(path: Path, settings: DataSettings) -> tuple[str, dict[str, Any]]:
    """The reader of `datasets` for a file, told to guess nothing: "NA" is a text, 01 is not 1."""
    suffix = path.suffix.lower()
    if suffix in DELIMITED:
        names = settings.column_names or read_header(path, settings.sep, settings.encoding)
        delimiter, quoting = dialect_of(path, settings.sep)
        return "csv", {
            "sep": delimiter, "quoting": quoting, "encoding": settings.encoding, "keep_default_na": False,
            "column_names": names, "skiprows": 0 if settings.column_names else 1,
            "features": datasets.Features(dict.fromkeys(names, datasets.Value("string"))),
        }  # fmt: skip
    if suffix in JSON_LINES:
        return "json", {}
    if suffix in (".parquet", ".txt"):
        return suffix.strip(".").replace("txt", "text"), {}
    raise DataError(f"{path.absolute()} ends in '{path.suffix}', which cannot be streamed.")


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


def _clean(chunk: datasets.Dataset, settings: DataSettings, outputs: Outputs, where: str) -> datasets.Dataset:
    labelled = bool(find_columns(chunk.column_names, settings, where, labelled=False).labels)
    raw = raw_rows(
        chunk, lambda columns: choose_columns(columns, settings=settings, source=where, labelled=labelled), where
    )
    rows = clean_rows(raw, settings, on_empty=settings.on_empty)
    if not labelled:
        return rows
    return encode_labels(
        rows,
        outputs.label_names,
        split="stream",
        source=where,
        problem_type=outputs.problem_type,
        ids_are_teacher_ids=settings.label_ids_are_teacher_ids,
        is_part=True,
    )
