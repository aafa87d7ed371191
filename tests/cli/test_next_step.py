from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from pkd.cli.next_step import distill_command
from pkd.recipe.yaml_text import parse_setting


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, []),
        ({"learning_rate": 1e-4}, []),  # of the teacher alone
        ({"seed": 7}, ["--seed", "7"]),  # which draws the rows that are held out
        ({"eval": "dev.csv", "seed": 7}, ["--eval", "dev.csv"]),
        ({"eval": "dev.csv", "text_columns": "a,b"}, ["--eval", "dev.csv", "--text-columns", "a,b"]),
        ({"max_length": 48}, ["--max-length", "48"]),
        ({"task": "rte", "folder": "my glue/"}, ["--task", "rte", "--folder", "my glue/"]),
        ({"data.sep": ";"}, ["--set", 'data.sep=";"']),
        ({"data.label_names": ["0", "1"]}, ["--set", 'data.label_names=["0", "1"]']),
        ({"evaluation.metric": "macro_f1"}, ["--set", "evaluation.metric=macro_f1"]),
        ({"data.label_ids_are_teacher_ids": True}, ["--set", "data.label_ids_are_teacher_ids=true"]),
    ],
)
def test_the_next_command_has_the_rows_and_columns_of_the_last(
    keys: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    told = shlex.split(distill_command(tmp_path / "teacher", "train.csv", keys))
    start = ["pkd", "distill", "--teacher", str(tmp_path / "teacher"), "--train", "train.csv"]
    assert told == [*start, *words, "--output", str(tmp_path / "student")]
    for setting in (words[1] for flag in words[:1] if flag == "--set"):
        assert parse_setting(setting) == (next(iter(keys)), next(iter(keys.values())))


def test_the_next_output_is_no_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "student-2").mkdir()
    told = shlex.split(distill_command(tmp_path / "student", None, {}))
    assert told == ["pkd", "distill", "--teacher", str(tmp_path / "student"), "--output", str(tmp_path / "student-3")]
