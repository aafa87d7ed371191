"""Files, folders and hub names become one `DatasetDict`: `text` (or `text_a`, `text_b`), and `label` if there is one.

Everything that is wrong with a source is said here, before any model is loaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pkd import progress
from pkd.data.choices import choice_texts, right_choice
from pkd.data.columns import clean_rows
from pkd.data.delimited import read_delimited, read_lines
from pkd.data.json_lines import read_json_lines
from pkd.data.race import is_race_split, read_race
from pkd.data.tables import RawTable
from pkd.data.tasks import Columns, find_columns
from pkd.errors import DataError, first_line
from pkd.recipe.settings import DataSettings

if TYPE_CHECKING:
    import datasets

DELIMITED = (".csv", ".tsv")
JSON_LINES = (".jsonl", ".json")
SUFFIXES = (*DELIMITED, ".txt", *JSON_LINES, ".parquet")
WITHOUT_LABELS = ("unlabelled", "predict")
SPLIT_NAMES = {  # how a split is called in the saved dataset or on the hub, the likeliest first
    "train": ("train",),
    "eval": ("validation", "dev", "valid", "val", "eval", "test"),
    "test": ("test",),
    "unlabelled": ("unlabelled", "unlabeled", "unsupervised", "train"),
    "predict": ("test", "predict", "validation", "train"),
}

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(/[\w.-]+)?")


def read_data(
    settings: DataSettings, splits: Sequence[str] = ("train", "eval", "test", "unlabelled")
) -> datasets.DatasetDict:
    """Read those of the splits that the settings name; several unlabelled sources become one split.

    Raises:
        DataError: if a source cannot be read as examples, or the splits are not of one kind.
    """
    import datasets

    require_sources(settings, splits)
    data = datasets.DatasetDict()
    for split in splits:
        named: str | list[str] | None = getattr(settings, split)
        if not named:
            continue
        sources = [named] if isinstance(named, str) else named
        parts = [read_split(source, split, settings) for source in sources]
        for source, part in zip(sources, parts, strict=True):
            _check_same_texts(data, sources[0], parts[0], source, part)
        data[split] = parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)
    return data


def require_sources(settings: DataSettings, splits: Sequence[str]) -> None:
    """Check that every file and folder that the settings name is there, before the first of them is read.

    Raises:
        DataError: naming the first that is not.
    """
    for split in splits:
        named: str | list[str] | None = getattr(settings, split)
        for source in [named] if isinstance(named, str) else named or []:
            name, _ = parted(source)
            path = Path(name).expanduser()
            if not (_is_file(path) or path.is_dir() or _looks_like_hub_name(name)):
                raise DataError(_missing_message(path))


def read_split(source: str, split: str, settings: DataSettings) -> datasets.Dataset:
    """Read one source.

    Args:
        source: a .csv, .tsv, .jsonl, .json (one object a line), .parquet or, without labels, .txt file; a folder saved
            by `datasets`; or a hub name "owner/name" or "owner/name/config". Both may end in ":split".
        split: "train", "eval", "test", or "unlabelled" and "predict", which have no label column.
        settings: column names, encoding, and what to do about empty texts.

    Raises:
        DataError: saying what is wrong, where, and what to do.
    """
    name, part = parted(source)
    path = Path(name).expanduser()
    labelled = split not in WITHOUT_LABELS
    choose = partial(choose_columns, settings=settings, source=source, labelled=labelled)
    on_empty = settings.on_empty
    if split == "predict":
        on_empty = "keep"  # each row gets its answer
    if _is_file(path):
        raw = _read_file(path, choose, settings, labelled=labelled)
        if path.suffix.lower() == ".txt" and split == "unlabelled":
            on_empty = "drop"  # blank lines part paragraphs there
    elif path.is_dir() and is_race_split(path):
        raw = read_race(path)
    elif path.is_dir():
        raw = raw_rows(_load_saved(path, split, part), choose, source)
    elif _looks_like_hub_name(name):
        raw = raw_rows(_load_from_hub(name, split, part), choose, source)
    else:
        raise DataError(_missing_message(path))
    return clean_rows(raw, settings, on_empty=on_empty, cut=split != "predict")


def read_texts(source: str, text_columns: str | None = None) -> Iterator[str | tuple[str, str]]:
    """Read texts to classify, in order; pairs come as tuples.

    Args:
        source: whatever `read_split` takes; a label column is left out.
        text_columns: the text's column, or the two of a pair, parted by a comma.

    Raises:
        DataError: if the source cannot be read.
    """
    chosen = [column.strip() for column in text_columns.split(",")] if text_columns else []
    rows = read_split(source, "predict", DataSettings(text_columns=chosen))
    for row in rows:
        yield row["text"] if "text" in row else (row["text_a"], row["text_b"])


def choose_columns(columns: Sequence[str], *, settings: DataSettings, source: str, labelled: bool) -> Columns:
    """The columns to read; a label that is not used is left out, and said so."""
    found = find_columns(columns, settings, source, labelled=labelled)
    if labelled or not found.labels:
        return found
    progress.note(f"{source}: the label column '{', '.join(found.labels)}' is not used here.")
    return dataclasses.replace(found, label=None, label_set=())


def parted(source: str) -> tuple[str, str | None]:
    """A source and the split it asks for; a colon inside the name of a file is no such sign."""
    if ":" not in source or Path(source).expanduser().exists():
        return source, None
    begins = 2 if re.match(r"[A-Za-z]:[\\/]", source) else 0  # the drive of a Windows path
    name, _, part = source[begins:].partition(":")
    return source[:begins] + name, part or None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path.absolute()} cannot be read: {error.strerror or error}.") from error


def _read_file(path: Path, choose: Any, settings: DataSettings, *, labelled: bool) -> RawTable:
    suffix = path.suffix.lower()
    if suffix in DELIMITED:
        return read_delimited(
            path,
            choose,
            sep=settings.sep,
            encoding=settings.encoding,
            column_names=settings.column_names,
            on_uneven=settings.on_uneven,
        )
    if suffix in JSON_LINES:
        return read_json_lines(path, choose, encoding=settings.encoding)
    if suffix == ".parquet":
        return _read_parquet(path, choose)
    if suffix != ".txt":
        raise DataError(
            f"{path.absolute()} ends in '{path.suffix}', which is no format that is read here. Give one of "
            f"{', '.join(SUFFIXES)}, a folder saved by `datasets`, or a hub name."
        )
    if labelled:
        raise DataError(
            f"{path.absolute()} is plain text, which has no labels. Give .csv, .tsv, .jsonl or .parquet; a .txt file "
            "can be unlabelled text (--unlabelled), one a line."
        )
    if len(settings.text_columns) == 2:
        raise DataError(
            f"{path.absolute()} has one text a line, but pairs are expected ({', '.join(settings.text_columns)}). "
            "Give a .csv, .tsv, .jsonl or .parquet file with both columns."
        )
    return read_lines(path, encoding=settings.encoding)


def _read_parquet(path: Path, choose: Any) -> RawTable:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, memory_map=True)
        names = list(file.schema_arrow.names)
        columns = choose(names)
        table = file.read(columns=list(columns.all))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.absolute()} cannot be read as Parquet: {first_line(error).rstrip('.')}.") from error
    return _of_table(table, columns, str(path))


def _load_saved(path: Path, split: str, part: str | None) -> datasets.Dataset:
    import datasets

    if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        inside = sorted(file.name for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        advice = f"Name one of its files: {', '.join(inside[:5])}." if inside else "Name a file."
        raise DataError(f"{path.absolute()} is a folder, but none that `datasets` saved (save_to_disk). {advice}")
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


def _load_from_hub(name: str, split: str, part: str | None) -> datasets.Dataset:
    import datasets

    owner, dataset, *config = name.split("/")
    try:
        loaded = datasets.load_dataset(f"{owner}/{dataset}", *config, split=part)
    except Exception as error:  # every kind of failure of the network, the hub and a repository's files
        raise DataError(
            f"'{name}' is neither a file or folder here ({Path(name).absolute()}) nor can it be loaded from the hub: "
            f"{first_line(error).rstrip('.')}."
        ) from error
    return loaded if isinstance(loaded, datasets.Dataset) else _take_split(loaded, name, split, None)


def _take_split(saved: datasets.DatasetDict, source: str, split: str, part: str | None) -> datasets.Dataset:
    return saved[choose_split(list(saved), source, split, part)]


def choose_split(names: Sequence[str], source: str, split: str, part: str | None) -> str:
    """Which of a dataset's splits is meant: `part` where it is named, else the likeliest for `split`.

    Raises:
        DataError: if there is none.
    """
    wanted = (part,) if part is not None else SPLIT_NAMES[split]
    for name in wanted:
        if name in names:
            return name
    raise DataError(
        f"{source} has no split '{wanted[0]}'; its splits: {', '.join(names)}. Name one as {source}:{names[0]}."
    )


def raw_rows(rows: datasets.Dataset, choose: Any, source: str) -> RawTable:
    """The columns of a dataset that `choose` takes; classes that it knows the names of are called by them."""
    import datasets

    columns = choose(rows.column_names)
    wanted = list(columns.all)
    kept = rows.select_columns(wanted)
    table = (
        kept.with_format("arrow")[:] if len(kept) else pa.table({name: pa.array([], pa.string()) for name in wanted})
    )
    raw = _of_table(table, columns, source)
    if columns.label is None or not isinstance(rows.features[columns.label], datasets.ClassLabel):
        return raw
    feature, values = rows.features[columns.label], table.column(columns.label).to_pylist()
    return dataclasses.replace(raw, labels=[_class_name(feature, value, raw) for value in values])


def _class_name(feature: datasets.ClassLabel, value: int | None, raw: RawTable) -> str | None:
    """The name of a class, by which labels are aligned."""
    if value is not None and value < 0:
        raise DataError(
            f"{raw.source} has hidden labels ({value}), as benchmarks' test splits do: it can be predicted, not "
            "trained or measured on. Use a split with labels, or leave it out."
        )
    return None if value is None else str(feature.int2str(int(value)))


def _of_table(table: pa.Table, columns: Columns, source: str) -> RawTable:
    labels: Any = table.column(columns.label) if columns.label is not None else None
    if columns.label_set:
        labels = [
            list(row) for row in zip(*(table.column(name).to_pylist() for name in columns.label_set), strict=True)
        ]
    texts = tuple(table.column(name) for name in columns.text)
    if columns.has_choices:
        return _of_choices(table, columns, source)
    return RawTable(
        source=source,
        texts=texts,
        labels=labels,
        ids=table.column(columns.row_id) if columns.row_id is not None else None,
    )


def _of_choices(table: pa.Table, columns: Columns, source: str) -> RawTable:
    """Questions with choices, in a list or a column each, as Parquet files, saved datasets and the hub hold them."""
    if columns.choice_set:
        sides = [table.column(name).fill_null("").to_pylist() for name in columns.choice_set]
        choices = [list(row) for row in zip(*sides, strict=True)]
    else:
        choices = table.column(str(columns.choices)).to_pylist()
    counts = {len(each or ()) for each in choices}
    if len(counts) > 1 or min(counts) < 2:
        raise DataError(f"{source}: questions have {sorted(counts)} choices; every one must have as many, 2 at least.")
    texts = zip(*(table.column(name).to_pylist() for name in columns.text), strict=True)
    rows = [choice_texts([text or "" for text in each], of) for each, of in zip(texts, choices, strict=True)]
    labels = None
    if columns.label is not None:
        answers = table.column(columns.label).to_pylist()
        labels = [
            right_choice(answer, of, f"{source}, row {row + 1}")
            for row, (answer, of) in enumerate(zip(answers, choices, strict=True))
        ]
    read = [pa.chunked_array([list(column)], pa.string()) for column in zip(*rows, strict=True)]
    groups = [str(value) for value in table.column(columns.group).to_pylist()] if columns.group else None
    return RawTable(source=source, texts=tuple(read), labels=labels, choices=True, groups=groups)


def _looks_like_hub_name(name: str) -> bool:
    path = Path(name)
    if path.suffix.lower() in SUFFIXES or name.startswith((".", "~", "/")) or path.parent.is_dir():
        return False
    return bool(_HUB_NAME.fullmatch(name))


def _missing_message(path: Path) -> str:
    folder = path.absolute().parent
    told = f"{path.absolute()} does not exist."
    if not folder.is_dir():
        return f"{told} Neither does its folder; hub names have the form owner/name."
    near = difflib.get_close_matches(path.name, [file.name for file in folder.iterdir()], n=3, cutoff=0.5)
    if near:
        return f"{told} Near it: {', '.join(near)}."
    return f"{told} Give a file ({', '.join(SUFFIXES)}), a folder saved by `datasets`, or a hub name (owner/name)."


def _check_same_texts(
    data: datasets.DatasetDict, first_source: str, first: datasets.Dataset, source: str, part: datasets.Dataset
) -> None:
    before: dict[str, Sequence[str]] = {split: rows.column_names for split, rows in data.items()}
    for other, columns in ({first_source: first.column_names} | before).items():
        if ("text" in columns) != ("text" in part.column_names):
            raise DataError(
                f"{source} has {_kind(part.column_names)}, but {other} has {_kind(columns)}. Name the same columns in "
                "all of them with --text-columns."
            )


def _kind(columns: Sequence[str]) -> str:
    return "single texts" if "text" in columns else "pairs of texts"
