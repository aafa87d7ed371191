"""The study's six tasks as files: training, development and test rows of each, the same wherever they are made.

Where no development file is left, a tenth of the training rows chooses, for every contender alike.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pkd.data.demo import demo_reviews, demo_unlabelled

Row = dict[str, Any]
Splits = dict[str, list[Row]]

TASKS = ("reviews", "sst2", "mrpc", "banking77", "emotion", "irony")
SCREENED = ("banking77", "reviews", "emotion", "mrpc")
_UNLABELLED = 20_000
_DEV_SHARE = 0.1


def write_tasks(data: Path, folder: Path, names: Iterable[str] = TASKS) -> None:
    """Write `folder`/TASK/{train,dev,test}.jsonl, and unlabelled.jsonl where there is text of the same kind.

    Args:
        data: a folder with `glue/`, `banking77/` and `tweeteval/` as they are published.
        folder: where to.
        names: of the tasks.
    """
    for name in names:
        splits = {"reviews": _reviews, "sst2": _sst2, "mrpc": _mrpc, "banking77": _banking77}.get(
            name, lambda place, name=name: _tweets(place / "tweeteval" / name)
        )(data)
        if "dev" not in splits:
            rows = splits["train"]
            random.Random(0).shuffle(rows)
            count = round(len(rows) * _DEV_SHARE)
            splits |= {"dev": rows[:count], "train": rows[count:]}
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        for split, rows in splits.items():
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (place / f"{split}.jsonl").write_text(lines, encoding="utf-8")


def read_split(folder: Path, task: str, split: str) -> list[Row]:
    """The rows that `write_tasks` wrote."""
    return [json.loads(line) for line in (folder / task / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def texts_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The text of a row, or the two of a pair."""
    return (row["text"],) if "text" in row else (row["sentence1"], row["sentence2"])


def _reviews(data: Path) -> Splits:
    """4,000 rows of Rotten Tomatoes teach, all others measure; IMDB sentences are unlabelled text of the same kind."""
    parts = demo_reviews(eval_rows=10**6, test_rows=10**6)
    rows = [
        {"text": text, "label": label}
        for split in ("train", "eval", "test")
        for text, label in zip(parts[split]["text"], parts[split]["label"], strict=True)
    ]
    return {
        "train": rows[:4000],
        "test": rows[4000:],
        "unlabelled": [{"text": text} for text in demo_unlabelled(_UNLABELLED)["text"]],
    }


def _sst2(data: Path) -> Splits:
    """10,000 phrases teach; the benchmark's development sentences and 4,000 further phrases measure."""
    names = {"0": "negative", "1": "positive"}

    def read(file: str) -> list[Row]:
        rows = _tab_separated(data / "glue" / "SST-2" / file)
        return [{"text": row["sentence"].strip(), "label": names[row["label"]]} for row in rows]

    dev = read("dev.tsv")
    known = {row["text"] for row in dev}
    phrases = list({row["text"]: row for row in read("train.tsv") if row["text"] not in known}.values())
    random.Random(0).shuffle(phrases)
    return {"train": phrases[:10_000], "test": dev + phrases[10_000:14_000]}


def _mrpc(data: Path) -> Splits:
    """The benchmark's development file measures."""
    names = {"0": "not_equivalent", "1": "equivalent"}
    return {
        split: [
            {"sentence1": row["#1 String"], "sentence2": row["#2 String"], "label": names[row["Quality"]]}
            for row in _tab_separated(data / "glue" / "MRPC" / file)
        ]
        for split, file in (("train", "train.tsv"), ("test", "dev.tsv"))
    }


def _banking77(data: Path) -> Splits:
    splits: Splits = {}
    for split in ("train", "test"):
        with (data / "banking77" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            splits[split] = [{"text": row["text"], "label": row["category"]} for row in csv.DictReader(file)]
    return splits


def _tweets(place: Path) -> Splits:
    lines = (place / "mapping.txt").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t") for line in lines if line.strip())

    def read(split: str) -> list[Row]:
        texts = (place / f"{split}_text.txt").read_text(encoding="utf-8").split("\n")
        labels = (place / f"{split}_labels.txt").read_text(encoding="utf-8").split()
        return [{"text": text.strip(), "label": names[label]} for text, label in zip(texts, labels, strict=False)]

    return {"train": read("train"), "dev": read("val"), "test": read("test")}


def _tab_separated(path: Path) -> list[dict[str, str]]:
    """A file of GLUE: a header, tabs, and quotes that are text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
