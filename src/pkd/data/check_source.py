"""Check a source within a second: all texts of a small file, the first rows of a larger one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

from pkd import progress
from pkd.data.clean import RowCleaner
from pkd.data.conll import CONLL
from pkd.data.find_columns import Columns
from pkd.data.sources import DELIMITED, JSON_LINES, WITHOUT_LABELS, choose_columns, find_source, read_file
from pkd.data.typed_tables import parquet_columns
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings
from pkd.tasks import MULTIPLE_CHOICE, SINGLE_LABEL, TOKEN_CLASSIFICATION

_KINDS = (SINGLE_LABEL.name, MULTIPLE_CHOICE.name, TOKEN_CLASSIFICATION.name)  # they read different columns
_ROWS = 64  # read from the head of a large file
_SMALL = 2_000_000  # bytes; a file up to this size is read whole


def head_fault(source: str, split: str, settings: DataSettings, *, columns: bool = True) -> str | None:
    """Return what is wrong with a source or, for a file, with its columns and texts; None if nothing is.

    Saved datasets and hub datasets are only looked up, since they open slowly; so are files if `columns` is False.
    Labels are not checked: their meaning depends on the classifier and the training rows.
    """
    fault = _fault(source, split, settings, columns=columns)
    if fault is None or settings.problem_type != "auto":
        return fault
    for kind in _KINDS:  # the classifier, which is not loaded yet, may have learned either
        if _fault(source, split, dataclasses.replace(settings, problem_type=kind), columns=columns) is None:
            return None
    return fault


def has_labels(source: str, settings: DataSettings) -> bool:
    """Whether a source is to be read with its labels: it has some, or says as little as that it should have."""
    if settings.label_column is not None or settings.label_columns:
        return True
    return head_fault(source, "train", settings) is None or head_fault(source, "unlabelled", settings) is not None


def _fault(source: str, split: str, settings: DataSettings, *, columns: bool) -> str | None:
    labelled = split not in WITHOUT_LABELS

    def choose(names: Sequence[str]) -> Columns:
        return choose_columns(names, settings=settings, source=source, labelled=labelled)

    try:
        with progress.unheard():  # reading the whole source logs the same again
            _, path, _ = find_source(source)
            suffix = path.suffix.lower()
            if not columns or not path.is_file():
                return None
            if suffix == ".parquet":
                choose(parquet_columns(path))
            elif suffix in (*DELIMITED, *JSON_LINES, *CONLL) or labelled:
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
