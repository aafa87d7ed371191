"""Rows that were made become a file that is read as the file of the rows that they were made from."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pkd.errors import DataError, first_line
from pkd.recipe.settings import DataSettings
from pkd.runs.seal import PARTIAL, flush_file, flush_folder

FORMATS = {".csv": "csv", ".jsonl": "json", ".parquet": "parquet"}  # suffix → what `datasets` calls it

Write = Callable[[pa.Table], Any]


def write_rows(tables: Iterable[pa.Table], path: Path, settings: DataSettings) -> None:
    """Write tables of the same columns into a file, whole or not at all.

    Args:
        tables: one at least.
        path: a .csv, .jsonl or .parquet file; one that is there is replaced.
        settings: how files are read here: text has the same encoding, CSV the same separator and quotes.

    Raises:
        DataError: if a text cannot be written so.
    """
    partial = path.with_name(path.name + PARTIAL)
    remaining = iter(tables)
    first = next(remaining)
    try:
        with _writer(path.suffix.lower(), partial, first.schema, settings) as write:
            write(first)
            for table in remaining:
                write(table)
        flush_file(partial)
        partial.replace(path)
    except (csv.Error, UnicodeEncodeError) as error:
        raise DataError(
            f"{path.absolute()} cannot hold a text as files are read here ({first_line(error)}): it needs quotes, "
            "which are text, or another encoding. Name a .parquet file, which holds any text."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    flush_folder(path.absolute().parent)


def csv_options(settings: DataSettings) -> dict[str, Any]:
    """How CSV is written and read, by the names of the module `csv`."""
    quotes = {"quoting": csv.QUOTE_NONE, "quotechar": None} if settings.quotes == "text" else {}
    return {"delimiter": settings.sep or ",", **quotes}


@contextlib.contextmanager
def _writer(suffix: str, path: Path, schema: pa.Schema, settings: DataSettings) -> Iterator[Write]:
    if suffix == ".parquet":
        with pq.ParquetWriter(path, schema) as parquet:
            yield parquet.write_table
        return
    with path.open("w", encoding=settings.encoding, newline="") as file:
        if suffix == ".csv":
            lines = csv.writer(file, lineterminator="\n", **csv_options(settings))
            lines.writerow(schema.names)
            yield lambda table: lines.writerows(zip(*_columns(table), strict=True))
        else:
            yield lambda table: file.writelines(
                json.dumps(dict(zip(schema.names, row, strict=True)), ensure_ascii=False) + "\n"
                for row in zip(*_columns(table), strict=True)
            )


def _columns(table: pa.Table) -> Sequence[list[Any]]:
    return [column.to_pylist() for column in table.columns]


def renamed(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """The table with other names for some of its columns."""
    return table.rename_columns([names.get(name, name) for name in table.column_names])
