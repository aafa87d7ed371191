"""Read one column of a dataset from Arrow, at once or in large chunks.

`datasets` returns a column as a view that formats every row by itself: 50 µs per number, 8 µs per text. Both cost less
than 1 µs when read from Arrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import datasets

_CHUNK_ROWS = 10_000


def column_array(dataset: datasets.Dataset, column: str) -> np.ndarray[Any, Any]:
    """A column of numbers [N], or of fixed-size lists of numbers [N, C]; it must have no nulls."""
    if len(dataset) == 0:
        return np.zeros(0)
    array = dataset.select_columns([column]).with_format("arrow")[:][column].combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_fixed_size_list(array.type):
        values: np.ndarray[Any, Any] = array.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(array), -1)
    numbers: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    return numbers


def column_values(dataset: datasets.Dataset, column: str) -> Iterator[Any]:
    """Iterate over the values of a column, with one chunk of them in memory."""
    rows = dataset.select_columns([column]).with_format("arrow")
    for begin in range(0, len(dataset), _CHUNK_ROWS):
        yield from rows[begin : begin + _CHUNK_ROWS][column].to_pylist()
