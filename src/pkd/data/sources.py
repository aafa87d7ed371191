"""Read files, folders and hub datasets into one `DatasetDict`: `text` (or `text_a`, `text_b`), and `label` if any.

Every error of a source is raised here, before a model is loaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pkd import progress
from pkd.data.choices import Question
from pkd.data.clean import OnEmpty, clean_rows, questions_of
from pkd.data.conll import CONLL, looks_like_columns, read_conll, refuse_webanno
from pkd.data.decode import open_text
from pkd.data.delimited import read_delimited, read_lines
from pkd.data.find_columns import Columns, find_columns, is_usual_name, unused_columns
from pkd.data.json_lines import read_json_lines
from pkd.data.json_shapes import advice_for_format
from pkd.data.race import is_race_split, read_race
from pkd.data.read_labels import LabelReader
from pkd.data.tables import RawTable
from pkd.data.typed_tables import load_from_hub, load_saved, raw_rows, read_parquet
from pkd.data.windows import WORDS, Sentence, has_words, spans_of
from pkd.errors import DataError
from pkd.recipe.places import is_url, local_path
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import named, offers, set_to
from pkd.tasks import MULTIPLE_CHOICE, TOKEN_CLASSIFICATION, asks_for_choices, asks_for_tags

if TYPE_CHECKING:
    import datasets

DELIMITED = (".csv", ".tsv")
JSON_LINES = (".jsonl", ".json")
SUFFIXES = (*DELIMITED, ".txt", *JSON_LINES, ".parquet", *CONLL)
WITHOUT_LABELS = ("unlabelled", "predict")
_AS_COLUMNS = (
    "seems to hold one word and its columns a line, blank lines between sentences; to learn a tag for every word give"
)

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """Where rows came from, without local paths, so that it can be published.

    Attributes:
        name: the hub name, or the last component of the file's or folder's path.
        kind: recorded at reading, because the path may be gone later.
        rows: number of rows taken.
        text: the text columns; empty for a source without columns, such as a .txt file.
        label: the label columns.
    """

    name: str
    kind: Literal["file", "folder", "hub"]
    rows: int
    text: tuple[str, ...] = ()
    label: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For example "1,200 rows of train.csv (columns text and label)"."""
        columns = (*self.text, *self.label)
        named = " and ".join([", ".join(columns[:-1]), columns[-1]]) if len(columns) > 1 else "".join(columns)
        of = f" (column{'s' * (len(columns) > 1)} {named})" if columns else ""
        return f"{self.rows:,} row{'s' * (self.rows != 1)} of {self.name}{of}"


def read_data(
    settings: DataSettings,
    splits: Sequence[str] = ("train", "eval", "test", "unlabelled"),
    reader: LabelReader | None = None,
    on_source: Callable[[str, Source], None] = lambda split, source: None,
) -> datasets.DatasetDict:
    """Read the splits that the settings name; several unlabelled sources become one split.

    Args:
        settings: where they are.
        splits: which of them to read.
        reader: the job's label reader, shared by all its files.
        on_source: called with the split and each of its sources.

    Raises:
        DataError: if a source cannot be read as examples, or the splits are not of one kind.
    """
    import datasets

    require_sources(settings, splits)
    reader = reader or LabelReader(settings)
    data = datasets.DatasetDict()
    for split in splits:
        sources = sources_of(settings, split)
        if not sources:
            continue
        parts = []
        for source in sources:
            chosen: list[Columns] = []
            parts.append(read_split(source, split, settings, reader, on_columns=chosen.append))
            on_source(split, _described(source, len(parts[-1]), chosen))
        for source, part in zip(sources, parts, strict=True):
            _check_same_texts(data, sources[0], parts[0], source, part)
        data[split] = parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)
    return data


def require_sources(settings: DataSettings, splits: Sequence[str]) -> None:
    """Check that every file and folder in the settings exists, before the first one is read.

    Raises:
        DataError: naming the first that does not.
    """
    for split in splits:
        for source in sources_of(settings, split):
            find_source(source)


def sources_of(settings: DataSettings, split: str) -> list[str]:
    """The sources that the settings name for a split."""
    given: str | list[str] | None = getattr(settings, split)
    return [given] if isinstance(given, str) else list(given or ())


def read_split(
    source: str,
    split: str,
    settings: DataSettings,
    reader: LabelReader | None = None,
    on_columns: Callable[[Columns], None] = lambda columns: None,
) -> datasets.Dataset:
    """Read one source.

    Args:
        source: a .csv, .tsv, .jsonl, .json (one object per line), .parquet or, without labels, .txt file; a folder
            saved by `datasets`; or a hub name "owner/name" or "owner/name/config". The last two may end in ":split".
        split: "train", "eval", "test", or "unlabelled" and "predict", which have no label column.
        settings: column names, encoding, and what to do about empty texts.
        reader: the job's label reader, shared by all its files.
        on_columns: called with the columns that are read, if the source has columns.

    Raises:
        DataError: if the source cannot be read; gives the line and what to do.
    """
    raw, on_empty = _read_raw(source, split, settings, on_columns)
    return clean_rows(raw, settings, on_empty=on_empty, cut=split != "predict", reader=reader)


def _read_raw(
    source: str, split: str, settings: DataSettings, on_columns: Callable[[Columns], None] = lambda columns: None
) -> tuple[RawTable, OnEmpty]:
    """The columns of a source, unchanged, and what to do about rows with an empty text."""
    name, path, part = find_source(source)
    labelled = split not in WITHOUT_LABELS

    def choose(columns: Sequence[str]) -> Columns:
        chosen = choose_columns(columns, settings=settings, source=source, labelled=labelled)
        on_columns(chosen)
        return chosen

    on_empty: OnEmpty = settings.on_empty
    if split == "predict":
        on_empty = "keep"  # every row gets a prediction
    if _is_file(path):
        (raw,) = read_file(path, choose, settings, labelled=labelled)
        if path.suffix.lower() == ".txt" and split == "unlabelled":
            on_empty = "drop"  # blank lines separate paragraphs
    elif path.is_dir() and is_race_split(path):
        raw = read_race(path)
    elif path.is_dir():
        raw = raw_rows(load_saved(path, split, part, SUFFIXES), choose, source)
    else:
        raw = raw_rows(load_from_hub(name, split, part), choose, source)
    return raw, on_empty


def read_texts(source: str, settings: DataSettings) -> Iterator[str | tuple[str, str] | Question]:
    """Read texts to classify, in order: texts, pairs as tuples, or questions with choices.

    Args:
        source: any source that `read_split` takes; a label column is ignored.
        settings: names of the columns, and how files are read.

    Raises:
        DataError: if the source cannot be read.
    """
    raw, on_empty = _read_raw(source, "predict", settings)
    if raw.choices is not None:
        return iter(questions_of(raw))
    rows = clean_rows(raw, settings, on_empty=on_empty, cut=False)
    return (row["text"] if "text" in row else (row["text_a"], row["text_b"]) for row in rows)


def read_sentences(source: str, settings: DataSettings) -> Iterator[Sentence | str]:
    """Read texts whose words are to be classified, in order: sentences where the source has words, else plain texts.

    Args:
        source: any source that `read_split` takes; tags are ignored.
        settings: names of the columns, and how files are read.

    Raises:
        DataError: if the source cannot be read.
    """
    settings = dataclasses.replace(settings, problem_type=TOKEN_CLASSIFICATION.name)
    raw, on_empty = _read_raw(source, "predict", settings)
    rows = clean_rows(raw, settings, on_empty=on_empty, cut=False)
    if raw.words is None:
        return (row["text"] for row in rows)
    return (Sentence(row["text"], spans_of(row[WORDS])) for row in rows)


def choose_columns(columns: Sequence[str], *, settings: DataSettings, source: str, labelled: bool) -> Columns:
    """Choose the columns to read; unread columns with usual names are logged."""
    found = find_columns(columns, settings, source, labelled=labelled)
    if not labelled:
        found = dataclasses.replace(found, label=None, label_set=(), row_id=None, has_spans=False)
    texts, others = unused_columns(columns, found)
    if texts:
        several = f" and {set_to('data.problem_type', MULTIPLE_CHOICE.name)}" if found.has_choices else ""
        progress.warn(
            f"{source}: {_not_used(texts)}; the text is {' and '.join(found.text)}. Choose other columns with "
            f"{set_to('data.text_columns', list(found.text))}{several}."
        )
    if others:
        progress.note(f"{source}: {_not_used(others)}.")
    return found


def _not_used(columns: Sequence[str]) -> str:
    names = ", ".join(f"'{column}'" for column in columns)
    return f"the column {names} is not used" if len(columns) == 1 else f"the columns {names} are not used"


def name_and_split(source: str) -> tuple[str, str | None]:
    """Split "NAME:SPLIT" into its name and split, if it has one; a file's name may contain a colon."""
    if ":" not in source or local_path(source).exists():
        return source, None
    begins = 2 if re.match(r"[A-Za-z]:[\\/]", source) else 0  # the drive of a Windows path
    name, _, part = source[begins:].partition(":")
    return source[:begins] + name, part or None


def _described(source: str, rows: int, chosen: Sequence[Columns]) -> Source:
    """Describe a source for records; `chosen` are the columns that were read, if it has any."""
    name, path, part = find_source(source)
    kind: Literal["file", "folder", "hub"] = "folder" if path.is_dir() else "file" if path.exists() else "hub"
    if kind != "hub":
        name = Path(os.path.abspath(path)).name or name  # noqa: PTH100 - `Path.resolve` would follow links
    columns = chosen[0] if chosen else Columns(())
    choices = (columns.choices,) if columns.choices else columns.choice_set
    return Source(name + (f":{part}" if part else ""), kind, rows, (*columns.text, *choices), columns.labels)


def find_source(source: str) -> tuple[str, Path, str | None]:
    """Return a source's name, path and named split, without reading it.

    Raises:
        DataError: if it cannot exist.
    """
    if is_url(source):
        raise DataError(f"{source} is a URL, which cannot be read. Download it and give the file.")
    name, part = name_and_split(source)
    path = local_path(name)
    if _is_file(path) or (path.is_dir() and is_race_split(path)):
        if part is not None:
            raise DataError(f"{path.absolute()} has no splits; leave out ':{part}'.")
    elif not (path.is_dir() or _looks_like_hub_name(name)):
        raise DataError(_missing_message(path))
    return name, path, part


def read_file(
    path: Path, choose: Any, settings: DataSettings, *, labelled: bool | None, rows_a_table: int | None = None
) -> Iterator[RawTable]:
    """Yield the tables of a file: one with all its rows, or one per `rows_a_table` rows to save memory.

    Args:
        path: the file.
        choose: maps the column names to the columns to keep, in formats whose columns have names.
        settings: how it is read.
        labelled: whether it must have labels; None if those that it has are read.
        rows_a_table: as above.

    Raises:
        DataError: if its format is unknown, or it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in (*CONLL, ".txt", ".tsv") and labelled:
        refuse_webanno(path, settings.encoding)
    if suffix in CONLL or (
        suffix in (".txt", ".tsv") and asks_for_tags(settings.problem_type) and looks_like_columns(path, settings)
    ):
        return read_conll(path, settings, labelled=labelled, rows_a_table=rows_a_table)
    if suffix == ".tsv" and labelled and _lacks_header(path, settings) and looks_like_columns(path, settings):
        raise DataError(f"{path.absolute()} {_AS_COLUMNS} {set_to('data.problem_type', TOKEN_CLASSIFICATION.name)}.")
    if suffix in DELIMITED:
        return read_delimited(
            path,
            choose,
            sep=settings.sep,
            encoding=settings.encoding,
            quotes=settings.quotes,
            column_names=settings.column_names,
            on_uneven=settings.on_uneven,
            rows_a_table=rows_a_table,
        )
    if suffix in JSON_LINES or (suffix == ".txt" and asks_for_choices(settings.problem_type)):
        return read_json_lines(path, choose, encoding=settings.encoding, rows_a_table=rows_a_table)
    if suffix == ".parquet":
        return read_parquet(path, choose, rows_a_table=rows_a_table)
    if suffix != ".txt":
        advice = advice_for_format(path, settings.encoding)
        raise DataError(
            f"{path.absolute()} ends in '{path.suffix}', which is no supported format. "
            + (advice or f"Give one of {', '.join(SUFFIXES)}, a folder saved by `datasets`, or a hub name.")
        )
    if labelled and looks_like_columns(path, settings):
        raise DataError(f"{path.absolute()} {_AS_COLUMNS} {set_to('data.problem_type', TOKEN_CLASSIFICATION.name)}.")
    if labelled:
        where = f" ({named('data.unlabelled')})" if offers("data.unlabelled") else ""
        raise DataError(
            f"{path.absolute()} is plain text, which has no labels. Give .csv, .tsv, .jsonl or .parquet; a .txt file "
            f"can be unlabelled text{where}, one per line."
        )
    if settings.problem_type == "auto" and looks_like_columns(path, settings):
        flag = set_to("data.problem_type", TOKEN_CLASSIFICATION.name)
        progress.warn(f"{path} {_AS_COLUMNS} {flag}. Its lines are read as texts.")
    if len(settings.text_columns) == 2:
        raise DataError(
            f"{path.absolute()} has one text per line, but pairs are expected ({', '.join(settings.text_columns)}). "
            "Give a .csv, .tsv, .jsonl or .parquet file with both columns."
        )
    return read_lines(path, encoding=settings.encoding, rows_a_table=rows_a_table)


def _lacks_header(path: Path, settings: DataSettings) -> bool:
    """Whether the first row of a file names no column that is found without a setting, nor a setting names one."""
    if settings.column_names or settings.text_columns or settings.label_column or settings.problem_type != "auto":
        return False
    with open_text(path, settings.encoding) as file:
        return not any(map(is_usual_name, file.readline().strip().split("\t")))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path.absolute()} cannot be read: {error.strerror or error}.") from error


def _looks_like_hub_name(name: str) -> bool:
    path = Path(name)
    if path.suffix.lower() in SUFFIXES or name.startswith((".", "~", "/")) or path.parent.is_dir():
        return False
    return bool(_HUB_NAME.fullmatch(name))


def _missing_message(path: Path) -> str:
    if path.exists():
        return (
            f"{path.absolute()} is a pipe, a socket or a device, but sources are read more than once: write it to a "
            "file first, and give that."
        )
    if path.is_symlink():
        return f"{path.absolute()} is a broken link ({path.readlink()}). Repair it, or name another file."
    folder = path.absolute().parent
    missing = f"{path.absolute()} does not exist."
    if not folder.is_dir():
        return f"{missing} Neither does its folder; hub names have the form owner/name."
    near = difflib.get_close_matches(path.name, [file.name for file in folder.iterdir()], n=3, cutoff=0.5)
    if near:
        return f"{missing} Near it: {', '.join(near)}."
    return f"{missing} Give a file ({', '.join(SUFFIXES)}), a folder saved by `datasets`, or a hub name (owner/name)."


def _check_same_texts(
    data: datasets.DatasetDict, first_source: str, first: datasets.Dataset, source: str, part: datasets.Dataset
) -> None:
    before: dict[str, Sequence[str]] = {split: rows.column_names for split, rows in data.items()}
    for other, columns in ({first_source: first.column_names} | before).items():
        if has_words(columns) != (has_words(part.column_names)):
            raise DataError(
                f"{source} has {_kind(part.column_names)}, but {other} has {_kind(columns)}: what is learned is either "
                "a class of every word or one of a whole text, so give files of one kind."
            )
        if ("text" in columns) != ("text" in part.column_names):
            raise DataError(
                f"{source} has {_kind(part.column_names)}, but {other} has {_kind(columns)}. Name the same columns in "
                f"all of them with {set_to('data.text_columns')}."
            )


def _kind(columns: Sequence[str]) -> str:
    if has_words(columns):
        return "texts whose words have tags"
    return "single texts" if "text" in columns else "pairs of texts"
