"""`pkd verify`: compare everything in a folder of ours with its seals."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pkd.data.shards import finished_shards, listed_shards
from pkd.errors import CacheError, RecipeError
from pkd.jobs import asking_without_keys
from pkd.jobs.report import KIND as RUN
from pkd.recipe.places import AnyPath, path_text
from pkd.recipe.reading import read_recipe
from pkd.recipe.writing import recipe_values, without_places
from pkd.reporting.front import read_front
from pkd.reporting.results import ModelRecord, RunRecord, folder_in_run, read_results
from pkd.reporting.trials import read_trials
from pkd.runs.fingerprint import differences
from pkd.runs.folder import VIEWS, RunFolder, places_at
from pkd.runs.seal import (
    MANIFEST,
    OTHER_CONTENTS,
    PARTIAL,
    Damage,
    Manifest,
    find_damage,
    is_inside,
    read_manifest,
    was_set_aside,
)
from pkd.runs.stage import SCRATCH, refuse_other_version
from pkd.training.checkpoints import checkpoint_folders


@dataclass(frozen=True)
class SealedFolder:
    """A folder whose files were verified, damaged or not."""

    folder: str
    kind: str
    files: int
    bytes: int


@dataclass
class Verified:
    """What was verified, what is damaged, and what is unfinished, out of date or put aside, which is not damage."""

    folder: str
    sealed: list[SealedFolder] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def verify(folder: AnyPath) -> Verified:
    """Read everything that a run, a stage or the output of `pkd distill` holds, and compare it with its seals.

    Every file of every manifest is hashed; recipe and records are parsed and compared with their folders. Nothing is
    changed, and no model is loaded.

    Args:
        folder: a run folder; a stage, with its NAME.work; or a folder of these, as `pkd paper` makes.

    Raises:
        CacheError: if the folder holds nothing that `pkd` made.
    """
    with asking_without_keys.verify(folder):
        pass
    place = Path(os.path.abspath(path_text(folder, "folder")))  # noqa: PTH100 - `.` gets a name, and links are not followed
    found = Verified(str(place))
    known: set[Path] = set()
    for each in places_at(place):
        if each in known:
            continue
        if (run := RunFolder(each)).is_run():
            known |= _verify_run(run, found)
        else:
            _verify_stage(each, found)
    if not (found.sealed or found.damage or found.notes):
        raise CacheError(asking_without_keys.nothing_sealed(place))
    return found


def _verify_run(run: RunFolder, found: Verified) -> set[Path]:
    """Verify a run; return its stages."""
    stages = list(run)
    try:
        refuse_other_version(run)
    except CacheError as error:
        found.damage.append(Damage(str(run.path), f"cannot be read: {error}"))
        return set(stages)
    manifests = {stage: _verify_stage(stage, found) for stage in stages}
    _verify_recipe(run, found)
    _verify_results(run, manifests, found)
    _verify_trials(run, manifests, found)
    _verify_front(run, manifests, found)
    for leftover in sorted(run.path.glob("*" + PARTIAL)):
        if leftover.is_file():
            found.notes.append(f"{leftover} was being written when its process ended; the same command replaces it.")
    return set(manifests)


def _verify_stage(stage: Path, found: Verified) -> Manifest | None:
    """Verify a stage; return its manifest, if it can be read."""
    if was_set_aside(stage):
        found.notes.append(f"{stage} was put aside; delete it if you do not need it.")
        return None
    if stage.name.endswith(PARTIAL):
        _verify_unfinished(stage, found)
        return None
    try:
        manifest = read_manifest(stage, any_schema=True)  # hashes are hashes
    except CacheError as error:
        found.damage.append(_unreadable(stage, error))
        return None
    if manifest is None:
        found.damage.append(Damage(str(stage), f"has no {MANIFEST}: it was lost, or pkd did not make this folder"))
        return None
    _verify_files(stage, manifest, found)
    own = {file.name for file in manifest.files} | {MANIFEST, *VIEWS}
    others = [path.relative_to(stage).as_posix() for path in sorted(stage.rglob("*")) if path.is_file()]
    if others := [name for name in others if name not in own]:
        found.notes.append(f"{stage} holds files that are not its own: {', '.join(others[:5])}.")
    return manifest


def _verify_files(folder: Path, manifest: Manifest, found: Verified) -> None:
    size = sum(file.bytes for file in manifest.files)
    found.sealed.append(SealedFolder(str(folder), manifest.kind, len(manifest.files), size))
    found.damage += [Damage(str(folder / each.file), each.what) for each in find_damage(folder, manifest, deep=True)]


def _verify_unfinished(partial: Path, found: Verified) -> None:
    """Verify a stopped stage: what a resume would use of it."""
    saved = "nothing in it is saved yet"
    listed, whole = listed_shards(partial), finished_shards(partial)
    if listed:
        saved = f"{len(whole)} shards are whole"
        lost = listed - {shard.name for shard in whole}
        found.damage += [Damage(str(partial / name), OTHER_CONTENTS) for name in sorted(lost)]
    for checkpoint in reversed(checkpoint_folders(partial)):
        try:
            manifest = read_manifest(checkpoint)
        except CacheError as error:
            found.damage.append(_unreadable(checkpoint, error))
            continue
        if manifest is None:
            found.notes.append(f"{checkpoint} was being written when its process ended, and will not be used.")
            continue
        before = len(found.damage)
        _verify_files(checkpoint, manifest, found)
        if len(found.damage) == before:
            saved = f"the last whole checkpoint is {checkpoint.name}"
    for aside in sorted(partial.glob(SCRATCH)):
        if was_set_aside(aside):
            found.notes.append(f"{aside} was damaged and put aside; it goes when its stage is complete.")
    found.notes.append(f"{partial} is unfinished; {saved}. The same command goes on with it.")


def _unreadable(folder: Path, error: CacheError) -> Damage:
    return Damage(str(folder / MANIFEST), f"cannot be relied on: {error}")


def _verify_recipe(run: RunFolder, found: Verified) -> None:
    """Compare the recipe, which is not sealed as each run rewrites it, with its copy in the results."""
    path = run.recipe
    if not path.is_file():
        return
    try:
        recipe = read_recipe(path, required=())
        records = read_results(run.path) if run.results.is_file() else []
    except RecipeError as error:
        found.damage.append(Damage(str(path), f"cannot be read: {error}"))
        return
    except CacheError:
        return  # reported with the results
    ran = next((record.recipe for record in records if isinstance(record, RunRecord)), None)
    if ran is None or recipe.sweep is not None or recipe.budget is not None:
        return  # the results are those of a sweep's best point, or of a search's finalists
    now = json.loads(json.dumps(without_places(recipe_values(recipe))))
    if changed := differences(without_places(ran), now):
        found.notes.append(f"{path} is not the recipe of {run.results}: {'; '.join(changed)}.")


def _verify_results(run: RunFolder, manifests: dict[Path, Manifest | None], found: Verified) -> None:
    """Verify the record and its page by their own seal, and against their students."""
    if not run.results.is_file() and not run.is_sealed():
        return
    try:
        manifest = read_manifest(run.path)
        if manifest is None or manifest.kind != RUN:
            found.notes.append(f"{run.results} is not sealed; `pkd run` was stopped before the report was whole.")
        else:
            _verify_files(run.path, manifest, found)
        records = read_results(run.path) if run.results.is_file() or not run.front.is_file() else []
        students = [each for each in records if isinstance(each, ModelRecord) and each.role != "teacher"]
        for record in students:
            _verify_record(run, record, manifests, found)
    except CacheError as error:
        found.damage.append(Damage(str(run.results), f"cannot be relied on: {error}"))


def _verify_record(
    run: RunFolder, record: ModelRecord, manifests: dict[Path, Manifest | None], found: Verified
) -> None:
    place = folder_in_run(run.path, record)
    if place not in manifests:
        found.damage.append(Damage(str(run.results), f"names {place}, which is not there"))
        return
    student = manifests[place]
    if student is None:
        return  # reported already
    told = {"name": record.name, "seed": record.seed, "selection": record.selection, "history": record.history}
    if differing := [name for name, value in told.items() if student.facts.get(name) != value]:
        found.notes.append(
            f"{run.results} is out of date: {place} has another {' and '.join(differing)}. `pkd run` makes it anew."
        )
    for split, answers in student.inputs.get("answers", {}).items():
        stored = [rows for each in (run.ensemble(split), run.annotated(split)) if (rows := manifests.get(each))]
        if stored and not any(
            student.inputs.get("rows", {}).get(split) == rows.fingerprint
            and answers.items() <= rows.facts["answers"].items()
            for rows in stored
        ):
            found.notes.append(
                f"{place} is out of date: it learned from other annotated rows. `pkd run` makes it anew."
            )
            return


def _verify_front(run: RunFolder, manifests: dict[Path, Manifest | None], found: Verified) -> None:
    """Verify that the record of a search can be read, and that its points are there."""
    if not run.front.is_file():
        return
    try:
        points = read_front(run.path).points
    except CacheError as error:
        found.damage.append(Damage(str(run.front), f"cannot be read: {error}"))
        return
    for point in points:
        for folder in (point.folder, point.student):
            if not is_inside(folder) or run.path / folder not in manifests:
                found.damage.append(Damage(str(run.front), f"names {folder!r}, which is not there"))


def _verify_trials(run: RunFolder, manifests: dict[Path, Manifest | None], found: Verified) -> None:
    try:
        trials = read_trials(run.path)
    except CacheError as error:
        found.damage.append(Damage(str(run.trials_table), f"cannot be read: {error}"))
        return
    by_fingerprint = {manifest.fingerprint for manifest in manifests.values() if manifest}
    for trial in trials:
        if trial.status == "done" and trial.fingerprint not in by_fingerprint:
            found.damage.append(Damage(str(run.trials_table), f"names the trial {trial.folder!r}, which is not there"))
