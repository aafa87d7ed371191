import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pkd.errors import CacheError, RecipeError
from pkd.runs.stage import Upkeep, run_stage
from pkd.runs.seal import MANIFEST, SCHEMA, Manifest, find_damage, partial_of, read_manifest, seal


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
    with pytest.raises(RecipeError, match=r"unfinished and was begun with other inputs: seed 1 → 2.*overwrite=True"):
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
    with pytest.raises(CacheError, match=r"made by another version of pkd.*overwrite=True puts it aside"):
        run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    assert run_stage(tmp_path / "stage", "thing", {"seed": 1}, build, overwrite=True).status == "made"
    assert (tmp_path / "stage.before-1" / "second.txt").exists()


def test_an_unfinished_stage_with_nothing_in_it_blocks_no_other(tmp_path: Path, build: Build) -> None:
    def fails(partial: Path) -> Mapping[str, Any]:
        (partial / "first.txt.partial").write_text("half")
        (partial / "checkpoint-3").mkdir()  # and no seal in it
        raise IndexError

    with pytest.raises(IndexError):
        run_stage(tmp_path / "stage", "thing", {"seed": 1}, fails)
    assert run_stage(tmp_path / "stage", "thing", {"seed": 2}, build).status == "made"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage"]


def test_an_unfinished_stage_that_could_not_be_gone_on_with_blocks_no_other(tmp_path: Path, build: Build) -> None:
    build.fail_after_first = True
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "stage", "thing", {"seed": 1}, build, resumes=False)
    (partial_of(tmp_path / "stage") / "first.txt").write_text("of the other seed")
    build.fail_after_first = False
    done = run_stage(tmp_path / "stage", "thing", {"seed": 2}, build, resumes=False)
    assert (done.status, (done.folder / "first.txt").read_text()) == ("made", "first")


def test_a_stage_sealed_with_other_inputs_and_not_yet_named_is_put_aside(tmp_path: Path, build: Build) -> None:
    run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    (tmp_path / "stage").rename(partial_of(tmp_path / "stage"))
    assert run_stage(tmp_path / "stage", "thing", {"seed": 2}, build).status == "made"
    assert (tmp_path / "stage.partial.stale-1" / "second.txt").exists()


LEFT_BEHIND = {
    "nothing but the folder": lambda partial: None,
    "half of what it is made from": lambda partial: (partial / "stage.json").write_bytes(b'{"se'),
    "half of that under another name": lambda partial: (partial / "stage.json.partial").write_bytes(b"{"),
    "what it is made from, of another kind": lambda partial: (partial / "stage.json").write_text("[1]"),
    "an orphan of safetensors": lambda partial: (partial / ".tmpAbC").write_bytes(b"x"),
    "half a seal": lambda partial: (partial / MANIFEST).write_text('{"kind": "thi'),
    "a seal that is damaged": lambda partial: damaged_seal(partial),
}


def damaged_seal(partial: Path) -> None:
    (partial / "first.txt").write_text("first")
    seal(partial, "thing", {"seed": 1})
    path = partial / MANIFEST
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))


@pytest.mark.parametrize("left", LEFT_BEHIND.values(), ids=LEFT_BEHIND.keys())
def test_whatever_was_left_behind_the_stage_comes_out_as_if_nothing_had_been(
    tmp_path: Path, build: Build, left: Callable[[Path], object]
) -> None:
    partial = partial_of(tmp_path / "stage")
    partial.mkdir()
    left(partial)
    done = run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    assert sorted(path.name for path in done.folder.iterdir()) == ["first.txt", MANIFEST, "second.txt"]
    assert find_damage(done.folder, done.manifest, deep=True) == []
    assert not partial.exists()


def test_a_manifest_that_was_changed_by_hand_is_told_from_one_that_was_written(tmp_path: Path, build: Build) -> None:
    run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)
    path = tmp_path / "stage" / MANIFEST
    path.write_text(path.read_text().replace('"files": 2', '"files": 3'))
    with pytest.raises(CacheError, match=r"its contents changed since it was written.*overwrite=True puts it aside"):
        run_stage(tmp_path / "stage", "thing", {"seed": 1}, build)


class Pieces:
    """Two pieces, of which only those that are not there are made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, partial: Path) -> Mapping[str, object]:
        for name in ("one.bin", "two.bin"):
            if not (partial / name).exists():
                self.made.append(name)
                (partial / name).write_text(name)
        (partial / "list.json").unlink(missing_ok=True)
        return {}


def test_a_repair_that_was_killed_at_any_moment_is_gone_on_with(tmp_path: Path) -> None:
    def repair(folder: Path, whole: Manifest) -> None:
        (folder / "list.json").write_text(json.dumps([file.name for file in whole.files]))

    folder, build = tmp_path / "stage", Pieces()
    first = run_stage(folder, "thing", {"seed": 1}, build, upkeep=Upkeep(repair=repair))
    for steps in range(4):  # as a kill leaves it after so many of the repair's steps
        (folder / "two.bin").write_text("dAmaged")
        if steps > 0:
            (folder / "two.bin").unlink()
        if steps > 1:
            repair(folder, replace(first.manifest, files=[]))
            (folder / "stage.json").write_text(json.dumps({"seed": 1}))
        if steps > 2:
            folder.rename(partial_of(folder))
        build.made.clear()
        again = run_stage(folder, "thing", {"seed": 1}, build, upkeep=Upkeep(repair=repair))
        assert build.made == ["two.bin"]
        assert again.manifest == first.manifest
        assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "one.bin", "two.bin"]
        assert [path.name for path in tmp_path.iterdir()] == ["stage"]
    manifest = read_manifest(folder)
    assert manifest is not None


def test_a_stage_that_is_doubted_is_put_aside_whole_and_made_again(tmp_path: Path) -> None:
    folder, build = tmp_path / "stage", Pieces()
    run_stage(folder, "thing", {}, build)
    doubtful = Upkeep(doubts=lambda manifest: "it looks wrong", repair=lambda *given: None)
    done = run_stage(folder, "thing", {}, build, upkeep=doubtful)
    assert done.status == "redone"
    assert build.made == ["one.bin", "two.bin"] * 2
    assert (tmp_path / "stage.stale-1" / "one.bin").exists()
