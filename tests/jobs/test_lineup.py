"""Models that stand side by side have names that tell them apart."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from conftest import make_teacher
from pkd.encoder.load import LoadedClassifier
from pkd.jobs.lineup import line_up, measure_speeds
from serving.exported import Exported


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/x/student", "b/x/student", "teacher", "mine/teacher"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "latest").symlink_to(tmp_path / "a" / "x" / "student")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_folder_stands_once_however_it_is_named(place: Path) -> None:
    assert list(line_up(["a/x/student", "a/x/student/", str(place / "a/x/student"), "latest"])) == ["student"]
    assert list(line_up(["latest", "a/x/student"])) == ["latest"]
    assert line_up(["teacher/", "latest"], {"teacher": "teacher"}) == {"teacher": "teacher", "latest": "latest"}


def test_folders_of_one_name_are_told_apart_by_path(place: Path) -> None:
    assert list(line_up(["a/x/student", "b/x/student", "teacher"])) == ["a/x/student", "b/x/student", "teacher"]
    assert list(line_up(["mine/teacher"], {"teacher": "teacher"})) == ["teacher", "mine/teacher"]


def test_hub_names_are_called_by_their_last_part_unless_two_are_alike() -> None:
    assert list(line_up(["google-bert/bert-base-uncased"])) == ["bert-base-uncased"]
    assert list(line_up(["one/bert", "two/bert", "one/bert"])) == ["one/bert", "two/bert"]


def test_a_shallower_model_is_faster(rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    many = datasets.concatenate_datasets([rows] * 6)
    models = {
        name: LoadedClassifier(make_teacher(layers=count), tokenizer, name)
        for name, count in (("deep", 12), ("shallow", 1))
    }
    speeds = measure_speeds(models, many, 64, torch.device("cpu"))
    assert speeds["shallow"] > speeds["deep"] > 0


def test_an_exported_folder_takes_turns_with_the_weights_it_came_from(
    exported: Exported, rows: datasets.Dataset
) -> None:
    speeds = measure_speeds({"a": str(exported.torch), "b": str(exported.float32)}, rows, 16, torch.device("cpu"))
    assert list(speeds) == ["a", "b"]
    assert min(speeds.values()) > 0
