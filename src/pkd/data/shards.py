"""Rows made once, in Arrow shards that a killed job goes on with: the teacher's answers, and encodings.

Each shard is written, hashed and listed before the next begins. Of several processes each makes its own shards, with
the bytes that one process would make. The result is a `datasets.Dataset`, memory-mapped from the shards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from pkd import progress, ranks
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import SealedFile, flush_file, is_inside, read_manifest, write_json

_SHARDS = "shards-{}.json"  # the finished shards of a rank; the manifest replaces it when all are finished

MakeShard = Callable[[int, int, Callable[[int], None]], pa.Table]


def write_shards(
    folder: Path,
    rows: int,
    make: MakeShard,
    *,
    rows_per_shard: int,
    cut: Mapping[str, Any],
    stage: progress.Stage | None = None,
) -> datasets.Dataset:
    """Bring the shards of a folder up to date, keeping finished ones.

    Shards of another cut are made again: only shards of one cut fit together.

    Under several ranks each must call this and makes every Nth shard; any number of ranks can resume what any other
    number began.

    Args:
        folder: of the shards.
        rows: how many there are in all.
        make: makes the rows from one index to another; calls its third argument with the number of rows just made.
        rows_per_shard: rows in a file.
        cut: what the shards must share, besides the inputs of their stage.
        stage: receives the number of finished rows.

    Raises:
        RankError: if another rank failed.
        Stopped: if a stop was requested; finished shards are kept.
    """
    starts = range(0, max(rows, 1), rows_per_shard)
    listed = _listed(folder, cut)
    made = {file.name: file for file in _read_list(folder / _SHARDS.format(ranks.rank()), cut)}

    def advance(count: int) -> None:  # assumes that the other ranks are as fast
        if stage:
            stage.reach(min(stage.done + count * ranks.world_size(), rows))

    with progress.saves_on_stop():
        for number in range(ranks.rank(), len(starts), ranks.world_size()):
            begin, name = starts[number], shard_name(number)
            end = min(begin + rows_per_shard, rows)
            if _is_whole(folder, name, listed):
                advance(end - begin)
                continue
            made[name] = write_shard(make(begin, end, advance), folder / name)
            list_shards(folder, made.values(), cut)
            progress.saved()
            progress.stop_if_requested(f"{len(_listed(folder, cut))} of {len(starts)} shards are")
    ranks.meet()
    ranks.on_first(lambda: _remove_others(folder, {shard_name(number) for number in range(len(starts))}))
    if stage:
        stage.reach(rows)
    return open_shards(folder)


def open_shards(folder: Path) -> datasets.Dataset:
    """The rows of a folder, memory-mapped from the shards in its manifest, or from all without one."""
    manifest = read_manifest(folder)
    names = [path.name for path in folder.glob("*.arrow")] if manifest is None else [f.name for f in manifest.files]
    shards = sorted(name for name in names if name.endswith(".arrow"))
    return datasets.concatenate_datasets([datasets.Dataset.from_file(str(folder / name)) for name in shards])


def shards_left(partial: Path, rows: int, rows_per_shard: int) -> float:
    """The share of rows that an unfinished stage has not made; its files are not read."""
    return max(0.0, 1.0 - len(listed_shards(partial)) * rows_per_shard / max(1, rows))


def finished_shards(folder: Path) -> list[SealedFile]:
    """The undamaged shards of an unfinished stage."""
    listed = _listed(folder)
    whole = (_is_whole(folder, name, listed) for name in sorted(listed))
    return [file for file in whole if file]


def listed_shards(folder: Path) -> set[str]:
    """The names of the listed shards of an unfinished stage; their files are not read."""
    return set(_listed(folder))


def list_shards(folder: Path, shards: Iterable[SealedFile], cut: Mapping[str, Any]) -> None:
    """Write this rank's list of finished shards, and their cut."""
    write_json(folder / _SHARDS.format(ranks.rank()), {**cut, "shards": [vars(shard) for shard in shards]})


def forget_shard_lists(folder: Path) -> None:
    """Remove the lists of finished shards, which the manifest is about to replace."""
    for path in folder.glob(_SHARDS.format("*")):
        path.unlink(missing_ok=True)


def shard_name(number: int) -> str:
    """The name of a shard's file, by its number from 0."""
    return f"shard-{number:05d}.arrow"


def write_shard(table: pa.Table, path: Path) -> SealedFile:
    """Write rows as a shard, whole or not at all."""
    table = table.replace_schema_metadata(None)
    partial = path.with_name(path.name + ".partial")
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    shard = SealedFile(path.name, partial.stat().st_size, sha256_of_file(partial))
    flush_file(partial)
    partial.replace(path)
    return shard


def fixed_lists(matrix: np.ndarray) -> pa.FixedSizeListArray:
    """A column of a row's values each, of a matrix [N, C]."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).reshape(-1)), matrix.shape[1])


def _listed(folder: Path, cut: Mapping[str, Any] | None = None) -> dict[str, list[SealedFile]]:
    """The shards of a cut that any rank listed; one that was made again after damage may be listed twice."""
    listed: dict[str, list[SealedFile]] = {}
    for path in folder.glob(_SHARDS.format("*")):
        for file in _read_list(path, cut):
            listed.setdefault(file.name, []).append(file)
    return listed


def _read_list(path: Path, cut: Mapping[str, Any] | None) -> list[SealedFile]:
    """A rank's list; empty, so that its shards are made again, if it is unreadable or of another cut."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        files = [SealedFile(**file) for file in values.pop("shards")]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        progress.warn(f"{path} is damaged ({error}); the shards that it lists are made again.")
        return []
    return [file for file in files if is_inside(file.name)] if cut in (None, values) else []


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove shards of an earlier attempt with other numbers of rows."""
    for path in folder.glob("*.arrow"):
        if path.name not in names:
            path.unlink()


def _is_whole(folder: Path, name: str, listed: dict[str, list[SealedFile]]) -> SealedFile | None:
    if name not in listed or not (folder / name).is_file():
        return None
    sha256 = sha256_of_file(folder / name)
    return next((file for file in listed[name] if file.sha256 == sha256), None)
