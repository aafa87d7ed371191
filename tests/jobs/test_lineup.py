"""Models that stand side by side have names that tell them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkd.jobs.lineup import line_up


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
