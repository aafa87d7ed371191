"""Names of files and folders: the home folder, and what may be an output."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkd.errors import RecipeError
from pkd.recipe.places import local_path, output_folder
from pkd.recipe.reading import recipe_from


def test_the_home_folder_is_written_out_wherever_a_model_or_an_output_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    values = {
        "teacher": {"model": "~/teacher"},
        "output": "~/run",
        "students": [{"student": "~/encoder"}, {"name": "b", "student": "owner/name"}],
    }
    recipe = recipe_from(values, where="here", required=())
    assert (recipe.teacher.model, recipe.output) == ("/home/ada/teacher", "/home/ada/run")
    assert [student.student for student in recipe.students] == ["/home/ada/encoder", "owner/name"]
    assert output_folder("~/x") == Path("/home/ada/x")
    assert local_path("~nosuchuser/x.csv") == Path("~nosuchuser/x.csv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3://bucket/x", "a URL"),
        ("hf:/a", "a URL"),
        ("", "is empty"),
        ("/", "the root"),
        ("/..", "the root"),
        (None, "None"),
    ],
)
def test_what_is_no_folder_of_this_machine_is_refused_as_an_output(name: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=f"^output is.*{expected}|output {expected}"):
        output_folder(name)
    if name:
        with pytest.raises(RecipeError, match=f"here: output is .*{expected}"):
            recipe_from({"output": name}, where="here", required=())


def test_a_folder_without_a_name_of_its_own_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert [output_folder(name) for name in (".", "..", "b")] == [tmp_path / "a", tmp_path, Path("b")]
