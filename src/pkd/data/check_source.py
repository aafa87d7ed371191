"""What is wrong with a source as far as can be known within a second: of small files all texts, of others the head."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

from pkd import progress
from pkd.data.clean import RowCleaner
from pkd.data.find_columns import Columns
from pkd.data.sources import DELIMITED, JSON_LINES, WITHOUT_LABELS, choose_columns, find_source, read_file
from pkd.data.typed_tables import parquet_columns
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings
from pkd.tasks import MULTIPLE_CHOICE, SINGLE_LABEL

_KINDS = (SINGLE_LABEL.name, MULTIPLE_CHOICE.name)  # read from other columns
_ROWS = 64  # of a file's head
_SMALL = 2_000_000  # bytes of a file that is read whole


def head_fault(source: str, split: str, settings: DataSettings, *, columns: bool = True) -> str | None:
    """Say what is wrong with a source, or with its columns and texts where it is a file; None for nothing.

    Saved datasets and those of the hub are only looked for: they open slowly. Without `columns` so is a file. Labels
    are not looked at: what they mean, the classifier and the training rows say.
    """
    fault = _fault(source, split, settings, columns=columns)
    if fault is None or settings.problem_type != "auto":
        return fault
    for kind in _KINDS:  # one of which a classifier that is yet to be loaded may have learned
        if _fault(source, split, dataclasses.replace(settings, problem_type=kind), columns=columns) is None:
            return None
    return fault


def _fault(source: str, split: str, settings: DataSettings, *, columns: bool) -> str | None:
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
                small = path.stat().st_size <= _SMALL
                tables = read_file(path, choose, settings, labelled=labelled, rows_a_table=None if small else _ROWS)
                head = next(tables)
                if small:
                    cleaner = RowCleaner(settings, on_empty="keep" if split == "predict" else settings.on_empty)
                    cleaner.add(head)
                    cleaner.decide_texts()
                with contextlib.suppress(AttributeError):
                    tables.close()  # type: ignore[attr-defined] # a generator, which holds the file open
    except (DataError, RecipeError) as error:
        return str(error)
    return None
