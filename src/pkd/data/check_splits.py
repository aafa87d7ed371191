"""Check the splits against each other: contradictory labels, rows in two splits, splits of one row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pkd.data.arrays import column_values
from pkd.data.tokenize import text_columns

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class SplitCheck:
    """The findings about a job's splits.

    Attributes:
        warnings: one sentence per contradiction, overlap and nearly empty split.
        shared: evaluation split -> other split -> number of its rows that are also in the other.
    """

    warnings: list[str] = field(default_factory=list)
    shared: dict[str, dict[str, int]] = field(default_factory=dict)


def check_splits(data: datasets.DatasetDict) -> SplitCheck:
    """Find contradictions, overlaps and nearly empty splits. Texts are compared without surrounding spaces."""
    keys = {split: _keys(rows) for split, rows in data.items()}
    found: list[str] = []
    shared: dict[str, dict[str, int]] = {}
    for split, rows in data.items():
        if len(rows) < 2:
            found.append(f"{split} has only {len(rows)} row; nothing can be learned or measured from it.")
        if "label" in rows.column_names:
            found += _contradictions(split, keys[split], column_values(rows, "label"))
    for split, others in (("test", ("train", "eval", "unlabelled")), ("eval", ("train", "unlabelled"))):
        for other in others:
            if split in keys and other in keys and (count := int(np.isin(keys[split], keys[other]).sum())):
                shared.setdefault(split, {})[other] = count
                found.append(_overlap(split, len(keys[split]), other, count))
    return SplitCheck(found, shared)


def _keys(rows: datasets.Dataset) -> np.ndarray[Any, Any]:
    """A 64-bit hash of each row's texts, [N]: 8 MB per million rows instead of a second copy of the texts."""
    columns = (column_values(rows, column) for column in text_columns(rows))
    hashes = (hash(tuple(text.strip() for text in texts)) for texts in zip(*columns, strict=True))
    return np.fromiter(hashes, dtype=np.int64, count=len(rows))


def _contradictions(split: str, keys: np.ndarray[Any, Any], labels: Iterable[Any]) -> list[str]:
    given = np.fromiter((hash(str(label)) for label in labels), dtype=np.int64, count=len(keys))
    distinct = np.unique(np.stack([keys, given], axis=1), axis=0)
    texts, found = np.unique(distinct[:, 0], return_counts=True)
    both = texts[found > 1]
    if not len(both):
        return []
    count = int(np.isin(keys, both).sum())
    texts_found = "1 text occurs" if len(both) == 1 else f"{len(both):,} texts occur"
    return [f"{split}: {texts_found} with different labels ({count:,} rows)."]


def _overlap(split: str, rows: int, other: str, count: int) -> str:
    return (
        f"{count:,} of {rows:,} {split} rows ({count / rows:.1%}) are in {other} too, word for word; "
        f"scores on {split} are too optimistic."
    )
