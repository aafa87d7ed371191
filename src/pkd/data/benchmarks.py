"""Benchmark tasks by name: where their files lie and which columns they have.

A task's name and a folder go in; values of `DataSettings` come out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pkd.errors import DataError

_PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "rte": ("RTE", {"text_columns": ["sentence1", "sentence2"]}),
    "mrpc": ("MRPC", {"text_columns": ["#1 String", "#2 String"], "label_column": "Quality"}),
    "sst2": ("SST-2", {"text_columns": ["sentence"]}),
}


def task_data(task: str, folder: str | None) -> dict[str, Any]:
    """The data settings of a benchmark's task, and its `metric`.

    The test files of GLUE hide their labels, so that a task has training and development examples alone.

    Raises:
        DataError: if the task is not known, or its files are not there.
    """
    if task not in _PLACES:
        raise DataError(f"{task} is no task that pkd reads; choose from {', '.join(_PLACES)}.")
    if folder is None:
        raise DataError(f"Where are the files of {task}? Name the folder that holds {_PLACES[task][0]}/train.tsv.")
    name, columns = _PLACES[task]
    files = {"train": Path(folder) / name / "train.tsv", "eval": Path(folder) / name / "dev.tsv"}
    for file in files.values():
        if not file.is_file():
            raise DataError(f"{file.absolute()} does not exist; {task} needs it. Name the folder that holds {name}/.")
    return {**{split: str(file) for split, file in files.items()}, **columns, "metric": "accuracy"}
