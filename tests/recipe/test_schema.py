from __future__ import annotations

from pathlib import Path

import pytest

from pkd.recipe.reading import read_recipe
from pkd.runs.folder import RunFolder

TEXT = "teacher: {model: t}\ndata: {train: a.csv, eval: b.csv}\n"


@pytest.mark.parametrize(
    ("file", "more", "folder", "title"),
    [
        ("recipe.yaml", "", "runs/run", "sentiment"),
        ("small student.yaml", "", "runs/small-student", "small-student"),
        ("small.yaml", "name: mine\n", "runs/mine", "mine"),
        ("small.yaml", "output: out/first\n", "out/first", "first"),
        ("small.yaml", "output: out/student.work\n", "out/student.work", "student"),
        ("small.yaml", "name: run\n", "runs/run", "run"),
        ("recipe.yaml", "output: .\n", None, "sentiment"),
    ],
)
def test_a_run_is_called_as_its_user_calls_it(
    file: str, more: str, folder: str | None, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, else by its folder or its recipe's file, else by the folder that all is in."""
    (tmp_path / "sentiment").mkdir()
    monkeypatch.chdir(tmp_path / "sentiment")
    Path(file).write_text(TEXT + more)
    recipe = read_recipe(file)
    assert recipe.folder == (folder or str(tmp_path / "sentiment"))
    assert (recipe.name or RunFolder(Path(recipe.folder)).title) == title
