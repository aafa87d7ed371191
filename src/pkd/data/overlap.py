"""What may be wrong with the splits together: contradictions, rows in two splits, splits of next to nothing."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pkd.data.arrays import column_values
from pkd.data.encoding import text_columns

if TYPE_CHECKING:
    import datasets


def check_splits(data: datasets.DatasetDict) -> list[str]:
    """Sentences about what may be wrong with the splits together: contradictions, overlaps, splits of next to nothing.

    Texts count as the same if they are the same but for spaces around them.
    """
    keys = {split: _keys(rows) for split, rows in data.items()}
    found: list[str] = []
    for split, rows in data.items():
        if len(rows) < 2:
            found.append(f"{split} has {len(rows)} row only; nothing can be learned or measured from it.")
        if "label" in rows.column_names:
            found += _contradictions(split, keys[split], column_values(rows, "label"))
    for split, others in (("test", ("train", "eval", "unlabelled")), ("eval", ("train", "unlabelled"))):
        for other in others:
            if split in keys and other in keys:
                found += _overlap(split, keys[split], other, keys[other])
    return found


def _keys(rows: datasets.Dataset) -> list[Hashable]:
    return list(
        zip(*([text.strip() for text in column_values(rows, column)] for column in text_columns(rows)), strict=True)
    )


def _contradictions(split: str, keys: Sequence[Hashable], labels: Iterable[Any]) -> list[str]:
    given: dict[Hashable, set[str]] = {}
    for key, label in zip(keys, labels, strict=True):
        given.setdefault(key, set()).add(str(label))
    both = {key for key, found in given.items() if len(found) > 1}
    if not both:
        return []
    count = sum(key in both for key in keys)
    texts = "1 text stands" if len(both) == 1 else f"{len(both):,} texts stand"
    return [f"{split}: {texts} there with different labels ({count:,} rows)."]


def _overlap(split: str, keys: Sequence[Hashable], other: str, other_keys: Iterable[Hashable]) -> list[str]:
    known = set(other_keys)
    count = sum(key in known for key in keys)
    if not count:
        return []
    return [
        f"{count:,} of {len(keys):,} {split} rows ({count / len(keys):.1%}) are in {other} too, word for word; "
        f"scores on {split} flatter by that much."
    ]
