"""`pkd augment`: write the rows that `transfer.augment` makes from training texts to a file, to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import datasets
import pyarrow as pa

from pkd import progress, ranks
from pkd.data.augmentation import ROW, VARIANT, augment_rows
from pkd.data.check_source import has_labels
from pkd.data.examples import check_texts
from pkd.data.find_columns import Columns
from pkd.data.read_labels import LabelReader
from pkd.data.sources import read_split, sources_of
from pkd.data.streaming import spooled
from pkd.data.tokenize import text_columns
from pkd.data.windows import has_words
from pkd.data.words import with_words_for_file, words_are_split
from pkd.data.write_rows import FORMATS, csv_options, renamed, write_rows
from pkd.errors import DataError
from pkd.jobs import asking
from pkd.recipe.keyword_types import AugmentKeywords
from pkd.recipe.places import AnyPath, local_path, path_text
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import set_to


@dataclass(frozen=True, repr=False)
class AugmentResult:
    """The rows that were made; printed as their number and file.

    Attributes:
        rows: the text columns, where words have tags `word_offsets`, `row` (the training row, from 1) and `variant`;
            for a stream, a stream of the file.
        variants: number of rows in each variant.
        made_from: number of training rows.
        output: the file, if there is one.
    """

    rows: datasets.Dataset | datasets.IterableDataset
    variants: list[int]
    made_from: int
    output: Path | None

    def __str__(self) -> str:
        made = f"{sum(self.variants):,} rows in {len(self.variants)} variants of {self.made_from:,} training rows"
        return made if self.output is None else f"{made}: {self.output}"

    __repr__ = __str__


def augment(
    train: AnyPath | datasets.Dataset | datasets.IterableDataset | None = None,
    *,
    variants: int = 8,
    output: AnyPath | None = None,
    eval: AnyPath | datasets.Dataset | None = None,
    test: AnyPath | datasets.Dataset | None = None,
    streaming: bool = False,
    overwrite: bool = False,
    **keys: Unpack[AugmentKeywords],
) -> AugmentResult:
    """Make rows without labels from training texts, the same rows that a job with `augment=...` makes for its teacher.

    A row depends on the training rows, the seed, its row and its variant alone, so that more variants begin with the
    same ones. Duplicates are left out.

    Args:
        train: examples as a file, folder or hub name, rows of `pkd.load_data`, or a stream
            (`datasets.load_dataset(..., streaming=True)`); None if `task` names a benchmark. Labels are not
            needed.
        variants: rows to make from each training row, at most.
        output: a .csv, .jsonl or .parquet file for them, or None.
        eval: development examples; their texts are never made.
        test: test examples; their texts are never made.
        streaming: read the source in chunks, for files larger than the memory; needs `output`.
        overwrite: replace the file if it exists.
        keys: recipe keys that say how files are read, e.g. `text_columns`, and `seed`.

    Raises:
        DataError: if the examples cannot be used, or `eval` or `test` have other text columns.
        RecipeError: if the output cannot be written there.
    """
    streaming = streaming or isinstance(train, datasets.IterableDataset)
    given: dict[str, Any] = {"eval": eval, "test": test, "streaming": streaming, "overwrite": overwrite, **keys}
    with asking.augment(train, variants=variants, output=output, **given) as recipe:
        path = None if output is None else local_path(path_text(output, "output"))
        return _augment(recipe, train, (eval, test), variants, path, streaming=streaming)


def _augment(
    recipe: Recipe, train: Any, measuring: Iterable[Any], variants: int, path: Path | None, *, streaming: bool
) -> AugmentResult:
    data = recipe.data
    found: list[Columns] = []
    held_out = [each for each in measuring if isinstance(each, datasets.Dataset)]
    with progress.unheard():  # only their texts are used, so notes on their labels would confuse
        for split in ("eval", "test"):
            held_out += [read_split(source, "unlabelled", data) for source in sources_of(data, split)]
    with contextlib.ExitStack() as while_made:
        if streaming:
            assert path is not None  # asking.augment requires it
            source = train if isinstance(train, datasets.IterableDataset) else str(data.train)
            rows = while_made.enter_context(spooled(source, data, None, path, found.append))
        elif isinstance(train, datasets.Dataset):
            rows = train
        else:
            split = "train" if has_labels(str(data.train), data) else "unlabelled"
            rows = read_split(str(data.train), split, data, LabelReader(data), on_columns=found.append)
        _check_same_columns(rows, held_out)
        names = {} if has_words(rows.column_names) else _names(found, text_columns(rows))
        as_tokens = has_words(rows.column_names) and not words_are_split(rows)
        counts = [0] * variants

        def tables() -> Iterator[pa.Table]:
            with progress.stage("make augmented rows", variants * len(rows), "rows") as stage:
                for variant, table in augment_rows(rows, variants, recipe.seed, held_out):
                    counts[variant - 1] += len(table)
                    stage.reach(sum(counts))
                    yield renamed(table, names)

        def to_write(table: pa.Table) -> pa.Table:
            return with_words_for_file(table, as_tokens=as_tokens) if has_words(rows.column_names) else table

        def written(rows: Iterable[pa.Table]) -> list[int]:
            if path is not None:
                write_rows(map(to_write, rows), path, data)
            return counts

        if streaming:
            counts = ranks.on_first(lambda: written(tables()))
            return AugmentResult(_stream_of(path, data), counts, len(rows), path)
        made = list(tables())
        ranks.on_first(lambda: written(made))
        return AugmentResult(datasets.Dataset(pa.concat_tables(made)), counts, len(rows), path)


def _check_same_columns(rows: datasets.Dataset, held_out: Iterable[datasets.Dataset]) -> None:
    for each in (rows, *held_out):
        check_texts(each)
        if text_columns(each) != text_columns(rows):
            raise DataError(
                f"The training rows have {', '.join(text_columns(rows))}, but the development or test rows "
                f"{', '.join(text_columns(each))}. Name the same columns with {set_to('data.text_columns')}."
            )


def _names(found: Iterable[Columns], columns: tuple[str, ...]) -> dict[str, str]:
    """Our text columns → their names in the source; columns of questions keep ours."""
    of_source = next((each.text for each in found if not each.has_choices), columns)
    names = dict(zip(columns, of_source, strict=True)) if len(of_source) == len(columns) else {}
    return names | {name: f"{name}_" for name in (ROW, VARIANT) if name in of_source}


def _stream_of(path: Path | None, data: DataSettings) -> datasets.IterableDataset:
    """The rows of the file, a few at a time."""
    assert path is not None
    kind = FORMATS[path.suffix.lower()]
    options: dict[str, Any] = {"encoding": data.encoding} if kind == "json" else {}
    if kind == "csv":  # pandas would read the text NA as missing
        options = {**csv_options(data), "encoding": data.encoding, "keep_default_na": False}
    return datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True, **options)
