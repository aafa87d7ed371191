"""Write folders atomically, and verify them.

A folder is filled under a temporary name, sealed by a manifest (its inputs, a checksum per file, and one of the
manifest itself), which is written last, and then renamed. A folder without a manifest, or whose files do not match it,
never counts as finished.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pkd.errors import CacheError
from pkd.runs.fingerprint import fingerprint, sha256_of_file

MANIFEST = "manifest.json"
SCHEMA = 5  # raised by hand when the meaning of a manifest or of the sealed files changes
PARTIAL = ".partial"
OTHER_CONTENTS = "has other contents than when it was written"
_ASIDE = re.compile(r".*\.(stale|damaged|before)-\d+")
_LEFTOVERS = ("*" + PARTIAL, ".tmp*")  # left by a killed process: partial files of ours and of safetensors


@dataclass(frozen=True)
class SealedFile:
    """A file at the time of sealing."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Damage:
    """A damaged file, by its name relative to the folder, and what is wrong with it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


@dataclass(frozen=True)
class Manifest:
    """The files and the inputs of a sealed folder."""

    kind: str
    inputs: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    files: list[SealedFile] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def fingerprint(self) -> str:
        """The hash of the inputs."""
        return fingerprint(self.inputs)

    @property
    def content(self) -> str:
        """The hash of the sealed files' contents."""
        return fingerprint({file.name: file.sha256 for file in self.files})


def seal(
    folder: Path,
    kind: str,
    inputs: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
    unsealed: Iterable[str] = (),
    only: Iterable[str] = ("*",),
) -> Manifest:
    """Hash every file of `folder`, flush them to the disk, and write its manifest last.

    Args:
        folder: what to seal, with its subfolders.
        kind: what it is, e.g. "student".
        inputs: everything its content depends on.
        facts: what is worth knowing about it without opening it.
        unsealed: patterns of files and subfolders that may change or vanish later (a model card), and are left out.
        only: patterns of the files and subfolders to seal.
    """
    left_out, counted = (MANIFEST, *unsealed), tuple(only)
    inside = {path: path.relative_to(folder) for path in sorted(folder.rglob("*"))}
    paths = [
        path
        for path, name in inside.items()
        if path.is_file() and _matches(name, counted) and not _matches(name, left_out)
    ]
    files = [SealedFile(inside[path].as_posix(), path.stat().st_size, sha256_of_file(path)) for path in paths]
    for path in paths:
        _give_usual_rights(path)
        flush_file(path)
    for subfolder in {path.parent for path in paths} - {folder}:
        flush_folder(subfolder)
    manifest = Manifest(
        kind=kind, inputs=json.loads(json.dumps(dict(inputs))), facts=json.loads(json.dumps(facts or {})), files=files
    )
    values = asdict(manifest)
    write_json(folder / MANIFEST, {**values, "fingerprint": manifest.fingerprint, "sha256": fingerprint(values)})
    return manifest


def unseal(folder: Path) -> None:
    """Remove the manifest before the folder's files change."""
    (folder / MANIFEST).unlink(missing_ok=True)


def read_manifest(folder: Path, *, any_schema: bool = False) -> Manifest | None:
    """The manifest of a sealed folder; None if there is none.

    Args:
        folder: the sealed folder.
        any_schema: also read one of another schema, which is enough for a model's hashes and facts.

    Raises:
        CacheError: if it is damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        checksum = values.pop("sha256", None)
        values.pop("fingerprint", None)
        manifest = manifest_from(values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CacheError(
            f"{path} is damaged or not a manifest of pkd ({error}). Move {folder} away and run again."
        ) from error
    if manifest.schema != SCHEMA and not any_schema:
        raise CacheError(_other_schema(folder, manifest.schema))
    if checksum != fingerprint(values):
        raise CacheError(
            f"{path} is damaged: its contents changed since it was written. Move {folder} away and run again."
        )
    return manifest


def refuse_other_schema(folder: Path, whole: Path | None = None) -> None:
    """Refuse a folder that another version sealed, before it is read; damaged manifests are not checked here.

    Args:
        folder: what may be sealed.
        whole: the folder that the error names, such as its run; itself by default.

    Raises:
        CacheError: if it has another schema; names what still works.
    """
    try:
        schema = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["schema"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return
    if schema != SCHEMA:
        raise CacheError(_other_schema(whole or folder, schema))


def manifest_from(values: Mapping[str, Any]) -> Manifest:
    """A manifest from its `dataclasses.asdict`.

    Raises:
        ValueError: if it names a file outside its folder.
    """
    files = [SealedFile(**file) for file in values["files"]]
    if outside := [file.name for file in files if not is_inside(file.name)]:
        raise ValueError(f"it names a file outside its folder, {outside[0]!r}")
    return Manifest(**{**values, "files": files})


def is_inside(name: str) -> bool:
    """Whether a name read from a file is a path inside its folder, on any system.

    >>> is_inside("students/a-seed42"), is_inside("../a"), is_inside("/a"), is_inside("a/../../b")
    (True, False, False, False)
    """
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts or not path.parts:
            return False
    return "\0" not in name


def find_damage(folder: Path, manifest: Manifest, *, deep: bool) -> list[Damage]:
    """The files that do not match the manifest: by size and, if `deep`, by content."""
    damage = []
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            damage.append(Damage(file.name, "is missing"))
        elif path.stat().st_size != file.bytes:
            damage.append(Damage(file.name, f"has {path.stat().st_size:,} bytes instead of {file.bytes:,}"))
        elif deep and sha256_of_file(path) != file.sha256:
            damage.append(Damage(file.name, OTHER_CONTENTS))
    return damage


def remove_leftovers(folder: Path) -> None:
    """Remove partial files of a killed process; complete files never have such names."""
    for pattern in _LEFTOVERS:
        for path in folder.glob(pattern):
            if path.is_file() and not path.is_symlink():
                path.unlink()


def partial_of(folder: Path) -> Path:
    """The path under which a folder is filled until it is complete."""
    return folder.with_name(folder.name + PARTIAL)


def publish(partial: Path, folder: Path) -> None:
    """Rename a sealed folder into place; `folder` must not exist."""
    flush_folder(partial)
    partial.rename(folder)
    flush_folder(folder.parent)


def copy_folder(source: Path, target: Path, without: Iterable[str] = ()) -> None:
    """Copy a folder, except names that match a pattern, into another one, which may exist.

    Raises:
        OSError: the first one; `shutil.copytree` would continue and then raise an error without type and path.
    """
    left_out = list(without)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in left_out):
            continue
        if path.is_dir():
            copy_folder(path, target / path.name, left_out)
        else:
            shutil.copy2(path, target / path.name)


def set_aside(folder: Path, why: str) -> Path:
    """Rename a folder that is no longer valid instead of deleting it: NAME.stale-1, NAME.damaged-1, ..."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{why}-{number}")).exists():
        number += 1
    folder.rename(aside)
    flush_folder(folder.parent)
    return aside


def was_set_aside(folder: Path) -> bool:
    """Whether `set_aside` gave the folder its name."""
    return _ASIDE.fullmatch(folder.name) is not None


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically: the file is either the old one or the new one."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically: the file is either the old one or the new one."""
    partial = path.with_name(path.name + PARTIAL)
    partial.write_text(text, encoding="utf-8")
    flush_file(partial)
    partial.replace(path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that they survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _other_schema(folder: Path, schema: object) -> str:
    return (
        f"{folder} was made by another version of pkd (manifest schema {schema}, this one has {SCHEMA}) and cannot be "
        "continued: move it away or choose another output; the students and exports in it are ordinary folders, "
        "which every command that takes a model still takes."
    )


def _give_usual_rights(path: Path) -> None:
    """Set the permissions that the umask allows: safetensors writes files that only their owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    usual = 0o666 & ~mask
    if path.stat().st_mode & 0o777 == 0o600 != usual:
        path.chmod(usual)


def _matches(path: Path, patterns: Iterable[str]) -> bool:
    """Whether the name of the file or of its outermost folder matches a pattern."""
    return any(fnmatch(path.parts[0], pattern) for pattern in patterns)


def flush_file(path: Path) -> None:
    """Flush a file to disk, so that it survives a loss of power."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
