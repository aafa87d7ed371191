import errno
from pathlib import Path

import pytest

from pkd.errors import CacheError
from pkd.runs.seal import Damage, copy_folder, find_damage, publish, read_manifest, seal, set_aside, write_json


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "stage"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 8)
    (folder / "inner" / "more.txt").write_text("more")
    (folder / "README.md").write_text("a card")
    seal(folder, "student", {"seed": 1}, {"rows": 3}, ["README.md"])
    return folder


def test_a_sealed_folder_says_what_it_is_and_what_it_was_made_from(sealed: Path) -> None:
    manifest = read_manifest(sealed)
    assert manifest is not None
    assert (manifest.kind, manifest.inputs, manifest.facts) == ("student", {"seed": 1}, {"rows": 3})
    assert {file.name for file in manifest.files} == {"weights.bin", "inner/more.txt"}
    assert find_damage(sealed, manifest, deep=True) == []


def test_one_flipped_bit_is_found_by_the_deep_look_alone(sealed: Path) -> None:
    data = bytearray((sealed / "weights.bin").read_bytes())
    data[100] ^= 1
    (sealed / "weights.bin").write_bytes(data)
    manifest = read_manifest(sealed)
    assert manifest is not None
    assert find_damage(sealed, manifest, deep=False) == []
    assert find_damage(sealed, manifest, deep=True) == [
        Damage("weights.bin", "has other contents than when it was written")
    ]


def test_a_cut_or_missing_file_is_found_by_size(sealed: Path) -> None:
    (sealed / "weights.bin").write_bytes(b"short")
    (sealed / "inner" / "more.txt").unlink()
    manifest = read_manifest(sealed)
    assert manifest is not None
    damage = find_damage(sealed, manifest, deep=False)
    assert [str(each) for each in damage] == ["inner/more.txt is missing", "weights.bin has 5 bytes instead of 2,048"]


def test_what_is_left_out_of_the_seal_may_change(sealed: Path) -> None:
    (sealed / "README.md").write_text("another card")
    manifest = read_manifest(sealed)
    assert manifest is not None
    assert find_damage(sealed, manifest, deep=True) == []


def test_a_manifest_that_is_no_manifest_is_told_apart_from_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text("{half of")
    with pytest.raises(CacheError, match="damaged or not a manifest"):
        read_manifest(tmp_path)
    write_json(tmp_path / "manifest.json", {"kind": "x", "inputs": {}, "files": [], "schema": 99})
    with pytest.raises(CacheError, match="another version"):
        read_manifest(tmp_path)


def test_folders_are_set_aside_under_new_names_and_published_whole(tmp_path: Path) -> None:
    for expected in ("a.stale-1", "a.stale-2"):
        (tmp_path / "a.partial").mkdir()
        publish(tmp_path / "a.partial", tmp_path / "a")
        assert set_aside(tmp_path / "a", "stale").name == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.stale-1", "a.stale-2"]


def test_a_folder_is_copied_with_its_folders_and_without_what_is_left_out(sealed: Path, tmp_path: Path) -> None:
    (sealed / "inner" / "manifest.json").write_text("")
    copy_folder(sealed, tmp_path / "copy", without=["manifest.json", "*.md"])
    copied = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")}
    assert copied == {"weights.bin", "inner", "inner/more.txt"}
    assert (tmp_path / "copy" / "weights.bin").read_bytes() == (sealed / "weights.bin").read_bytes()


def test_the_first_error_of_a_copy_ends_it_and_keeps_its_kind(sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "weights.bin").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        copy_folder(sealed, tmp_path / "copy")
    assert caught.value.errno == errno.ENOSPC
