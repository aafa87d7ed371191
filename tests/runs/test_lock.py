import subprocess
import sys
from pathlib import Path

import pytest

from pkd.errors import RecipeError, ResourceError
from pkd.runs.lock import one_writer

HOLD = """
import sys, pathlib
from pkd.runs.lock import one_writer
with one_writer(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_folder_until_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RecipeError, match=f"written by another pkd \\(process {other.pid} on "), one_writer(folder):
            pass
        other.kill()  # however it ends, the lock goes with it
        other.wait()
    with one_writer(folder):
        pass


def test_a_job_that_is_refused_leaves_neither_lock_nor_empty_folders(tmp_path: Path) -> None:
    def refused(folder: Path) -> None:
        with one_writer(folder):
            folder.mkdir()
            raise RecipeError("refused")

    (tmp_path / "mine").mkdir()
    for name in ("mine/run", "new/deep/run", "run"):
        with pytest.raises(RecipeError, match="refused"):
            refused(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_what_a_job_made_stays_and_its_lock_goes(tmp_path: Path) -> None:
    with one_writer(tmp_path / "deep" / "run"):
        (tmp_path / "deep" / "run").mkdir()
        (tmp_path / "deep" / "run" / "file").write_text("")
        assert (tmp_path / "deep" / ".run.lock").exists()
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "run", "file"}


def test_who_finds_the_folder_held_leaves_the_holders_lock(tmp_path: Path) -> None:
    with one_writer(tmp_path / "run"):
        for _ in range(2):
            with pytest.raises(RecipeError, match="by another pkd"), one_writer(tmp_path / "run"):
                pass
        assert (tmp_path / ".run.lock").exists()


def test_writers_that_come_and_go_never_hold_a_folder_together(tmp_path: Path) -> None:
    """The lock's file comes and goes: a writer that has an old one open must not take it for the lock."""
    code = f"""
import pathlib, sys
from pkd.errors import RecipeError
from pkd.runs.lock import one_writer
place, held = pathlib.Path({str(tmp_path / "run")!r}), pathlib.Path({str(tmp_path / "held")!r})
done = 0
while done < 60:
    try:
        with one_writer(place):
            held.touch(exist_ok=False)
            held.unlink()
            done += 1
    except RecipeError:
        pass
"""
    writers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(writer.wait(120), writer.stderr and writer.stderr.read()) for writer in writers] == [(0, "")] * 4


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="cannot be written"), one_writer(tmp_path / "file" / "run"):
        pass


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no file system here that takes no files")
def test_a_file_system_that_takes_no_files_is_not_taken_for_another_writer() -> None:
    with pytest.raises(RecipeError, match="/proc/rows cannot be written"), one_writer(Path("/proc/rows")):
        pass


def test_a_full_disk_is_said_to_be_one_and_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", lambda *_, **__: Path("/dev/full").write_bytes(b"x"))
        with pytest.raises(ResourceError, match="disk is full"), one_writer(tmp_path / "run"):
            pass
    with one_writer(tmp_path / "run"):
        pass


def test_a_link_to_a_folder_has_the_folders_lock(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with (
        one_writer(tmp_path / "run"),
        pytest.raises(RecipeError, match="by another pkd"),
        one_writer(tmp_path / "link"),
    ):
        pass
    assert not list(tmp_path.glob(".link*"))


def test_the_root_of_the_file_system_is_no_folder_to_hold() -> None:
    with pytest.raises(RecipeError, match="the root of the file system"), one_writer(Path("/")):
        pass
