"""What is wrong with a source as far as its head shows: known within a second, before all of it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pkd import progress
from pkd.data.sources import DELIMITED, JSON_LINES, WITHOUT_LABELS, choose_columns, find_source, read_file
from pkd.data.tasks import Columns
from pkd.data.typed_tables import parquet_columns
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings

_ROWS = 64


def head_fault(source: str, split: str, settings: DataSettings, *, columns: bool = True) -> str | None:
    """Say what is wrong with a source, or with its columns and first rows where it is a file; None for nothing.

    Saved datasets and those of the hub are only looked for: they open slowly. Without `columns` so is a file.
    """
    labelled = split not in WITHOUT_LABELS

    def choose(names: Sequence[str]) -> Columns:
        return choose_columns(names, settings=settings, source=source, labelled=labelled)

    try:
        with progress.unheard():  # whoever reads all of it says the same again
            _, path, _ = find_source(source)
            suffix = path.suffix.lower()
            if not columns or not path.is_file():
                return None
            if suffix == ".parquet":
                choose(parquet_columns(path))
            elif suffix in (*DELIMITED, *JSON_LINES) or labelled:
                tables = read_file(path, choose, settings, labelled=labelled, rows_a_table=_ROWS)
                next(tables)
                with contextlib.suppress(AttributeError):
                    tables.close()  # type: ignore[attr-defined] # a generator, which holds the file open
    except (DataError, RecipeError) as error:
        return str(error)
    return None
