from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pkd.errors import CacheError, RecipeError
from pkd.jobs.stages import run_stage
from pkd.storage.seal import MANIFEST, SCHEMA, partial_of


class Build:
    """Counts how often it is called, and can be stopped half-way."""

    def __init__(self) -> None:
        self.calls = 0
        self.fail_after_first = False

    def __call__(self, partial: Path) -> Mapping[str, Any]:
        self.calls += 1
        if not (partial / "first.txt").exists():
            (partial / "first.txt").write_text("first")
        if self.fail_after_first:
            raise KeyboardInterrupt
        (partial / "second.txt").write_text("second")
        return {"files": 2}


@pytest.fixture
def build() -> Build:
    return Build()


def test_complete_and_unchanged_is_kept(tmp_path: Path, build: Build) -> None:
    first = run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    again = run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    assert (first.status, again.status, build.calls) == ("made", "kept", 1)
    assert again.manifest == first.manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage"]


def test_complete_but_stale_is_moved_aside_and_redone(tmp_path: Path, build: Build) -> None:
    run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    assert run_stage(tmp_path / "stage", "thing", {"seed": 2}, build).status == "redone"
    assert (tmp_path / "stage.stale-1" / "second.txt").exists()


def test_unfinished_and_unchanged_is_resumed(tmp_path: Path, build: Build) -> None:
    build.fail_after_first = True
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    assert not (tmp_path / "stage").exists()
    (partial_of(tmp_path / "stage") / "first.txt").write_text("kept as it was")
    build.fail_after_first = False
    assert run_stage(tmp_path / "stage", "thing", {"seed": 1}, build).status == "resumed"
    assert (tmp_path / "stage" / "first.txt").read_text() == "kept as it was"


def test_unfinished_and_changed_is_refused_with_the_differences_unless_overwritten(
    tmp_path: Path, build: Build
) -> None:
    build.fail_after_first = True
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    build.fail_after_first = False
    with pytest.raises(RecipeError, match=r"unfinished and was begun with other inputs: seed 1 → 2.*--overwrite"):
        run_stage(tmp_path / "stage", "thing", {"seed": 2}, build)
    assert run_stage(tmp_path / "stage", "thing", {"seed": 2}, build, overwrite=True).status == "made"
    assert (tmp_path / "stage.partial.before-1").is_dir()


def test_a_folder_of_somebody_else_is_never_overwritten(tmp_path: Path, build: Build) -> None:
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "thesis.txt").write_text("the only copy")
    with pytest.raises(RecipeError, match="was not made by this command"):
        run_stage(tmp_path / "stage", "thing", {}, build)
    run_stage(tmp_path / "stage", "thing", {}, build, overwrite=True)
    assert (tmp_path / "stage.before-1" / "thesis.txt").read_text() == "the only copy"


def test_another_kind_of_stage_is_not_taken_for_this_one(tmp_path: Path, build: Build) -> None:
    run_stage(tmp_path / "stage", "teacher", {}, build)
    with pytest.raises(RecipeError, match="holds a teacher, not a student"):
        run_stage(tmp_path / "stage", "student", {}, build)


def test_a_damaged_stage_is_redone_and_kept_beside(tmp_path: Path, build: Build) -> None:
    run_stage(tmp_path / "stage", "thing", {}, build)
    (tmp_path / "stage" / "second.txt").write_text("sEcond")
    assert run_stage(tmp_path / "stage", "thing", {}, build).status == "redone"
    assert (tmp_path / "stage.damaged-1" / "second.txt").read_text() == "sEcond"


def test_a_stage_stopped_between_its_seal_and_its_name_needs_nothing_else(tmp_path: Path, build: Build) -> None:
    run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    (tmp_path / "stage").rename(partial_of(tmp_path / "stage"))
    assert run_stage(tmp_path / "stage", "thing", {"seed": 1}, build).folder.is_dir()
    assert build.calls == 1


def test_a_manifest_of_another_version_is_refused_unless_its_folder_is_put_aside(tmp_path: Path, build: Build) -> None:
    run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    manifest = tmp_path / "stage" / MANIFEST
    manifest.write_text(manifest.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}'))
    with pytest.raises(CacheError, match=r"made by another version of pkd.*--overwrite puts it aside"):
        run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    assert run_stage(tmp_path / "stage", "thing", {"seed": 1}, build, overwrite=True).status == "made"
    assert (tmp_path / "stage.before-1" / "second.txt").exists()
