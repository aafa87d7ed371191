"""Folders that appear whole or not at all, and can be verified.

A folder is filled under another name, sealed by a manifest (what it was made from, and a checksum a file) that is
written last, and then renamed into place. A folder without a manifest, or whose files do not match it, is never taken
for a finished one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pkd.errors import CacheError
from pkd.storage.fingerprint import fingerprint, sha256_of_file

MANIFEST = "manifest.json"
SCHEMA = 1  # raised by hand when what a manifest means changes
PARTIAL = ".partial"


@dataclass(frozen=True)
class SealedFile:
    """A file as it was when the folder was sealed."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a sealed folder holds and what it was made from."""

    kind: str
    inputs: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    files: list[SealedFile] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def fingerprint(self) -> str:
        """The hash of everything the folder was made from."""
        return fingerprint(self.inputs)


def seal(
    folder: Path,
    kind: str,
    inputs: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
    unsealed: Iterable[str] = (),
) -> Manifest:
    """Hash every file of `folder`, flush them to the disk, and write its manifest last.

    Args:
        folder: what to seal; its files in subfolders count too.
        kind: what it is, e.g. "student".
        inputs: everything its content depends on.
        facts: what is worth knowing about it without opening it.
        unsealed: patterns of files and subfolders that may change or go later (a model card), and so are left out.
    """
    left_out = (MANIFEST, *unsealed)
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and not _matches(path.relative_to(folder), left_out)
    )
    files = [SealedFile(str(path.relative_to(folder)), path.stat().st_size, sha256_of_file(path)) for path in paths]
    for path in paths:
        _flush(path)
    manifest = Manifest(kind=kind, inputs=json.loads(json.dumps(dict(inputs))), facts=dict(facts or {}), files=files)
    write_json(folder / MANIFEST, {**asdict(manifest), "fingerprint": manifest.fingerprint})
    return manifest


def unseal(folder: Path) -> None:
    """Take the manifest away before the folder's files change."""
    (folder / MANIFEST).unlink(missing_ok=True)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a sealed folder; None where there is none.

    Raises:
        CacheError: if there is one that this version cannot read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("fingerprint", None)
        manifest = manifest_from(values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CacheError(
            f"{path} is damaged or not a manifest of pkd ({error}). Move {folder} away and run again."
        ) from error
    if manifest.schema != SCHEMA:
        raise CacheError(
            f"{folder} was made by another version of pkd (manifest schema {manifest.schema}, this one writes "
            f"{SCHEMA}). Move it away and run again."
        )
    return manifest


def manifest_from(values: Mapping[str, Any]) -> Manifest:
    """A manifest out of what `dataclasses.asdict` makes of one."""
    return Manifest(**{**values, "files": [SealedFile(**file) for file in values["files"]]})


def find_damage(folder: Path, manifest: Manifest, *, deep: bool) -> list[str]:
    """What does not match the manifest, a phrase a file; sizes always, contents too where `deep`."""
    damage = []
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            damage.append(f"{file.name} is missing")
        elif path.stat().st_size != file.bytes:
            damage.append(f"{file.name} has {path.stat().st_size:,} bytes instead of {file.bytes:,}")
        elif deep and sha256_of_file(path) != file.sha256:
            damage.append(f"{file.name} has other contents than when it was written")
    return damage


def partial_of(folder: Path) -> Path:
    """Where a folder is filled before it is complete."""
    return folder.with_name(folder.name + PARTIAL)


def publish(partial: Path, folder: Path) -> None:
    """Rename a sealed folder into place; `folder` must not exist."""
    partial.rename(folder)
    flush_folder(folder.parent)


def set_aside(folder: Path, why: str) -> Path:
    """Rename a folder that is no longer wanted, so that nothing is lost: NAME.stale-1, NAME.damaged-1, ..."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{why}-{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside


def write_json(path: Path, values: Any) -> None:
    """Write JSON so that the file is either the old one or the new one, never half of either."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text so that the file is either the old one or the new one, never half of either."""
    partial = path.with_name(path.name + PARTIAL)
    partial.write_text(text, encoding="utf-8")
    _flush(partial)
    partial.replace(path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path.parts[0], pattern) for pattern in patterns)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
