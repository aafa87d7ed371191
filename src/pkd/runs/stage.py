"""A stage of a job: its inputs, its folder, whether it must run, and why.

Complete and unchanged, it is kept; complete but stale, moved aside and redone; unfinished and unchanged, resumed;
unfinished and changed, refused with the differences, unless `overwrite` is set or nothing in it is worth keeping. In a
job of several processes rank 0 decides, seals and renames; all of them build.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pkd import progress, ranks
from pkd.errors import CacheError, RecipeError
from pkd.recipe.spelling import set_to
from pkd.runs.fingerprint import differences
from pkd.runs.folder import VIEWS, RunFolder
from pkd.runs.seal import (
    MANIFEST,
    Manifest,
    find_damage,
    manifest_from,
    partial_of,
    publish,
    read_manifest,
    refuse_other_schema,
    remove_leftovers,
    seal,
    set_aside,
    unseal,
    was_set_aside,
    write_json,
)

_INPUTS = "stage.json"  # in an unfinished stage, its inputs
SCRATCH = "checkpoint-*"  # what a stage needs only until it is sealed

Status = Literal["kept", "made", "redone", "resumed"]


@dataclass(frozen=True)
class Done:
    """A finished stage."""

    folder: Path
    manifest: Manifest
    status: Status


def _nothing(manifest: Manifest) -> str | None:
    return None


@dataclass(frozen=True)
class Upkeep:
    """How the complete, unchanged stage of an earlier call is checked before it is kept, and how it is mended.

    Attributes:
        lacks: returns what it lacks that is needed now.
        doubts: spot-checks it if it is undamaged; returns a reason to distrust it.
        repair: gets its folder without the damaged files, and its manifest without them, so that only these are built;
            without `repair` a damaged stage is redone completely.
    """

    lacks: Callable[[Manifest], str | None] = _nothing
    doubts: Callable[[Manifest], str | None] = _nothing
    repair: Callable[[Path, Manifest], None] | None = None


def run_stage(
    folder: Path,
    kind: str,
    inputs: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, Any]],
    *,
    overwrite: bool = False,
    upkeep: Upkeep = Upkeep(),
    resumes: bool = True,
) -> Done:
    """Bring a stage's folder up to date.

    Args:
        folder: of the complete output.
        kind: of stage, e.g. "student".
        inputs: everything that can change its output.
        build: fills a folder, resuming from its content, and returns facts for the manifest, of which rank 0's count.
        overwrite: start an unfinished stage afresh, and move aside a folder in the way.
        upkeep: of a stage that an earlier call completed.
        resumes: whether `build` resumes; else an unfinished folder is removed first.

    Raises:
        RecipeError: if the folder holds something else, or an unfinished stage with other inputs.
        CacheError: if its manifest cannot be read.
    """
    inputs = json.loads(json.dumps(dict(inputs)))

    def prepare() -> dict[str, Any]:
        refuse_what_is_in_the_way(folder, kind, overwrite=overwrite)
        before = _manifest_of(folder)
        status, sealed = _prepare(folder, before, inputs, overwrite, upkeep, resumes)
        return {
            "status": status,
            "before": before and asdict(before),
            "sealed": sealed and asdict(sealed),
        }

    def finish(facts: Mapping[str, Any] | None) -> dict[str, Any]:
        partial = partial_of(folder)
        if facts is not None:
            seal(partial, kind, inputs, facts, (*VIEWS, _INPUTS, SCRATCH))
        for scratch in partial.glob(SCRATCH):
            shutil.rmtree(scratch)
        (partial / _INPUTS).unlink(missing_ok=True)
        publish(partial, folder)  # a stage stopped between its seal and this line needs nothing else
        manifest = read_manifest(folder)
        assert manifest is not None  # it was sealed
        return asdict(manifest)

    decided = ranks.on_first(prepare)
    if decided["before"] and not ranks.is_first():
        before = manifest_from(decided["before"])
        if not differences(before.inputs, inputs):
            upkeep.lacks(before)  # it may set what else `build` makes, which every rank must know
    if decided["status"] in ("kept", "resumed") or decided["sealed"]:
        progress.saved()
    if decided["status"] == "kept":
        return Done(folder, manifest_from(decided["sealed"]), "kept")
    facts = None
    if decided["sealed"] is None:
        with _nothing_left_of_nothing(partial_of(folder)):
            facts = build(partial_of(folder))
        ranks.meet()
    done = Done(folder, manifest_from(ranks.on_first(lambda: finish(facts))), decided["status"])
    progress.saved()
    return done


@contextlib.contextmanager
def _nothing_left_of_nothing(partial: Path) -> Iterator[None]:
    """Remove an unfinished stage that failed before it made anything: it would only be in the way."""
    try:
        yield
    except Exception:
        if ranks.is_first() and partial.is_dir() and {path.name for path in partial.iterdir()} <= {_INPUTS}:
            shutil.rmtree(partial)
        raise


def _prepare(
    folder: Path,
    manifest: Manifest | None,
    inputs: Mapping[str, Any],
    overwrite: bool,
    upkeep: Upkeep,
    resumes: bool,
) -> tuple[Status, Manifest | None]:
    """Decide what to do and prepare the folder; return the seal too if nothing is to be built."""
    status: Status = "made"
    if manifest is not None:
        why = _why_redo(folder, manifest, inputs, upkeep.lacks) or upkeep.doubts(manifest)
        if why is None:
            progress.note(f"kept {folder}")
            return "kept", manifest
        progress.note(f"redoing {folder}: {why}")
        status = "redone"
        _make_way(folder, manifest, inputs, upkeep)
    elif _is_in_the_way(folder):
        progress.note(f"{folder} is now {set_aside(folder, 'before').name}")
    elif folder.exists():
        folder.rmdir()
    partial = partial_of(folder)
    sealed = _seal_of_partial(partial)
    if sealed and not differences(sealed.inputs, inputs) and not find_damage(partial, sealed, deep=True):
        return status, sealed
    if sealed and differences(sealed.inputs, inputs):  # complete but for its name, and stale
        progress.note(f"{partial} is now {set_aside(partial, 'stale').name}")
    elif partial.is_dir() and (_is_empty(partial) or not (resumes or sealed)):
        shutil.rmtree(partial)
    if _resumes(partial, sealed, inputs, overwrite):
        status = "resumed"
        progress.note(f"going on with {folder}")
        remove_leftovers(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(partial / _INPUTS, dict(inputs))
    unseal(partial)  # of a folder to repair, or one that was damaged between its seal and its renaming
    return status, None


Standing = Literal["kept", "begun", "new"]


def standing(folder: Path, inputs: Mapping[str, Any]) -> Standing:
    """How far a stage with these inputs is, by its manifest or list; its files are not read."""
    inputs = json.loads(json.dumps(dict(inputs)))
    manifest = _seal_in(folder)
    if manifest is not None and not differences(manifest.inputs, inputs):
        return "kept"
    try:
        begun_with = json.loads((partial_of(folder) / _INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return "new"
    return "begun" if isinstance(begun_with, dict) and not differences(begun_with, inputs) else "new"


def is_begun(folder: Path) -> bool:
    """Whether a stage has any output, of whatever inputs, to keep or to resume."""
    return (folder / MANIFEST).is_file() or partial_of(folder).is_dir()


def _seal_in(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except CacheError:
        return None


def why_redo(folder: Path, inputs: Mapping[str, Any]) -> str | None:
    """Why a complete stage would be made again from these inputs, "damaged: ..." or what changed; else None."""
    manifest = read_manifest(folder)
    assert manifest is not None  # it is complete
    return _why_redo(folder, manifest, json.loads(json.dumps(dict(inputs))), _nothing)


def refuse_what_is_in_the_way(folder: Path, kind: str, *, overwrite: bool) -> None:
    """Check that nothing is in the way of a stage's folder; called first by a job that ends with this stage.

    Raises:
        RecipeError: if the folder holds another kind of stage, or other files without `overwrite`.
        CacheError: if its manifest cannot be read, without `overwrite`.
    """
    try:
        manifest = read_manifest(folder)
    except CacheError as error:
        if not overwrite:
            raise CacheError(f"{str(error).removesuffix('.')}; {set_to('overwrite', True)} puts it aside.") from error
        return
    if manifest is not None and manifest.kind != kind:
        raise RecipeError(f"{folder.absolute()} holds a {manifest.kind}, not a {kind}. Choose another output folder.")
    if _is_in_the_way(folder) and not overwrite:
        raise RecipeError(
            f"{folder.absolute()} exists and was not made by this command. Choose another output folder, or put it "
            f"aside with {set_to('overwrite', True)}."
        )


def refuse_other_files(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder with other files than a run's."""
    if overwrite or not folder.is_dir() or RunFolder(folder).is_begun():
        return
    if others := sorted(child.name for child in folder.iterdir()):
        raise RecipeError(
            f"{folder.absolute()} holds other files ({', '.join(others[:3])}) and no run. Choose another output "
            f"folder, or let the run lie beside them with {set_to('overwrite', True)}."
        )


def refuse_other_version(run: RunFolder) -> None:
    """Refuse to resume a run with stages of another version, before anything is loaded.

    Raises:
        CacheError: if it has such stages, with what still works.
    """
    for stage in (run.path, *run):
        if not was_set_aside(stage):
            for sealed in (stage, *sorted(stage.glob(SCRATCH))):
                refuse_other_schema(sealed, run.path)


def library_versions(*others: str) -> dict[str, str]:
    """Major and minor version of the libraries that can change an output; of `others` too."""
    return {name: _version_of(name) for name in ("torch", "transformers", "tokenizers", *others)}


@functools.cache
def _version_of(library: str) -> str:
    return ".".join(version(library).split(".")[:2])


def _is_in_the_way(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not (folder / MANIFEST).is_file()


def _manifest_of(folder: Path) -> Manifest | None:
    """The folder's manifest; if it cannot be read, its folder is moved aside."""
    try:
        return read_manifest(folder)
    except CacheError as error:
        progress.note(f"{error} It is now {set_aside(folder, 'before').name}.")
        return None


def _seal_of_partial(partial: Path) -> Manifest | None:
    """The seal of a stage that was stopped before its renaming; a damaged seal counts as none."""
    try:
        return read_manifest(partial)
    except CacheError as error:
        progress.warn(f"{partial / MANIFEST} cannot be read ({error.__cause__ or error}) and will be made anew.")
        return None


def _why_redo(
    folder: Path, manifest: Manifest, inputs: Mapping[str, Any], lacks: Callable[[Manifest], str | None]
) -> str | None:
    if changed := differences(manifest.inputs, inputs):
        return "; ".join(changed)
    if lacking := lacks(manifest):
        return lacking
    damage = find_damage(folder, manifest, deep=True)
    return "damaged: " + "; ".join(map(str, damage)) if damage else None


def _make_way(folder: Path, manifest: Manifest, inputs: Mapping[str, Any], upkeep: Upkeep) -> None:
    unchanged = not differences(manifest.inputs, inputs) and upkeep.lacks(manifest) is None
    damage = find_damage(folder, manifest, deep=True)
    if not (unchanged and damage and upkeep.repair):
        aside = set_aside(folder, "damaged" if unchanged and damage else "stale")
        progress.note(f"the old {folder} is now {aside.name}")
        return
    partial = partial_of(folder)
    if partial.exists():
        set_aside(partial, "before")
    damaged = {each.file for each in damage}
    for name in damaged:
        (folder / name).unlink(missing_ok=True)
    upkeep.repair(folder, replace(manifest, files=[file for file in manifest.files if file.name not in damaged]))
    write_json(folder / _INPUTS, dict(inputs))
    publish(folder, partial)  # its seal is removed next: under its own name without one it would seem a foreign folder


def _is_empty(partial: Path) -> bool:
    """Whether a stage left nothing of value: only its inputs and half-written files."""
    remove_leftovers(partial)
    unsealed = [path for path in partial.glob(SCRATCH) if not (path / MANIFEST).is_file()]
    return all(path.name == _INPUTS or path in unsealed for path in partial.iterdir())


def _resumes(partial: Path, sealed: Manifest | None, inputs: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether the unfinished stage can be resumed; if not, it is moved aside or refused."""
    if not partial.exists():
        return False
    try:
        begun_with = json.loads((partial / _INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        begun_with = sealed.inputs if sealed else None
    if not isinstance(begun_with, dict):  # stopped before it wrote its inputs, or damaged since
        remove_leftovers(partial)
        if any(partial.iterdir()):
            aside = set_aside(partial, "damaged")
            progress.warn(f"{partial} does not say what it is made from; it is now {aside.name}, and is begun anew.")
        return False
    changed = differences(begun_with, inputs)
    if not changed:
        return True
    if not overwrite:
        raise RecipeError(
            f"{partial} is unfinished and was begun with other inputs: {'; '.join(changed)}. Go back to those, or "
            f"start it afresh with {set_to('overwrite', True)}."
        )
    progress.note(f"starting afresh; the unfinished stage is now {set_aside(partial, 'before').name}")
    return False
