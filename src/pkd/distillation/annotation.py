"""The teacher pass: the frozen teacher sees every row once, and its answers become two more columns of that row.

Rows go in shard by shard; each shard is written whole, hashed, and listed before the next begins, so that a killed
pass goes on where it was. Of a job in several processes each answers shards of its own. What comes out is a
`datasets.Dataset`, memory-mapped from the shards: shuffling, filtering or concatenating it cannot part a row from its
teacher.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pkd import progress, ranks
from pkd.data.tokenize import encode
from pkd.encoder.inference import Answers, answer_rows
from pkd.errors import TeacherError
from pkd.recipe.spelling import set_to
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import SealedFile, flush_file, is_inside, read_manifest, write_json

_SHARDS = "shards-{}.json"  # the shards that a rank finished; the manifest takes its place when all are


def annotate_rows(
    rows: datasets.Dataset,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    teacher_layers: Sequence[int],
    max_length: int,
    states_dtype: str = "float16",
    rows_per_shard: int = 4096,
    autocast_dtype: torch.dtype | None = None,
    stage: progress.Stage | None = None,
) -> datasets.Dataset:
    """Write `rows` with their teacher's answers as Arrow shards into `folder`; finished shards are not made again.

    Those that were cut otherwise, or hold other layers, are made again: only shards of one cut fit together.

    Under several ranks each must call this; each makes every so many-th shard, with the same bytes as one alone, and
    whatever number of ranks was stopped, any other can go on.

    Adds to each row `input_ids`, `length`, `teacher_logits` (float32 [C]) and, where layers are asked for,
    `teacher_cls_states`: one [H] for each teacher layer, by the layer's number.

    Args:
        rows: text columns and perhaps `label` (class ids; null where a row has none).
        teacher: the fine-tuned classifier, on the device to compute on.
        tokenizer: the teacher's.
        folder: where the shards go.
        teacher_layers: whose [CLS] states to store, counted from 1.
        max_length: word pieces a row is cut to.
        states_dtype: "float16" or "float32".
        rows_per_shard: rows a file.
        autocast_dtype: compute matrix products in this type; None computes in float32.
        stage: told of the rows that are done.

    Raises:
        TeacherError: if the teacher answers with a value that is not finite.
        RankError: if another rank failed.
        Stopped: if a stop was asked for; finished shards are kept.
    """
    starts = range(0, max(len(rows), 1), rows_per_shard)
    cut = cut_of(rows_per_shard, teacher_layers)
    listed = _listed(folder, cut)
    made = {file.name: file for file in _read_list(folder / _SHARDS.format(ranks.rank()), cut)}

    def advance(count: int) -> None:  # what the others do meanwhile is reckoned like one's own
        if stage:
            stage.reach(min(stage.done + count * ranks.world_size(), len(rows)))

    with progress.saves_on_stop():
        for number in range(ranks.rank(), len(starts), ranks.world_size()):
            begin = starts[number]
            name = _shard_name(number)
            count = min(rows_per_shard, len(rows) - begin)
            if _is_whole(folder, name, listed):
                advance(count)
                continue
            shard = encode(rows.select(range(begin, begin + count)), tokenizer, max_length, masks=True)
            answers = answer_rows(
                teacher, shard, layers=teacher_layers, autocast_dtype=autocast_dtype, on_batch=advance
            )
            _check_finite(answers, begin, states_dtype)
            made[name] = _write_shard(_with_answers(shard, answers, teacher_layers, states_dtype), folder / name)
            list_shards(folder, made.values(), cut)
            progress.saved()
            progress.stop_if_requested(f"{len(_listed(folder, cut))} of {len(starts)} shards are")
    ranks.meet()
    ranks.on_first(lambda: _remove_others(folder, {_shard_name(number) for number in range(len(starts))}))
    if stage:
        stage.reach(len(rows))
    return open_shards(folder)


def open_shards(folder: Path) -> datasets.Dataset:
    """The annotated rows of a folder, memory-mapped: of the shards that its manifest names, if it has one."""
    manifest = read_manifest(folder)
    names = [path.name for path in folder.glob("*.arrow")] if manifest is None else [f.name for f in manifest.files]
    shards = sorted(name for name in names if name.endswith(".arrow"))
    return datasets.concatenate_datasets([datasets.Dataset.from_file(str(folder / name)) for name in shards])


def finished_shards(folder: Path) -> list[SealedFile]:
    """The shards of an unfinished pass that are whole; a damaged one is not among them."""
    listed = _listed(folder)
    whole = (_is_whole(folder, name, listed) for name in sorted(listed))
    return [file for file in whole if file]


def listed_shards(folder: Path) -> set[str]:
    """The names of the shards of an unfinished pass that were finished once."""
    return set(_listed(folder))


def cut_of(rows_per_shard: int, teacher_layers: Sequence[int]) -> dict[str, Any]:
    """What shards must share to be parts of one pass, besides the inputs of their stage."""
    return {"rows_per_shard": rows_per_shard, "teacher_layers": sorted(teacher_layers)}


def list_shards(folder: Path, shards: Iterable[SealedFile], cut: Mapping[str, Any]) -> None:
    """Write down which shards this rank finished, and how they were cut."""
    write_json(folder / _SHARDS.format(ranks.rank()), {**cut, "shards": [vars(shard) for shard in shards]})


def forget_shard_lists(folder: Path) -> None:
    """Take the lists of finished shards away, when the manifest is about to say the same."""
    for path in folder.glob(_SHARDS.format("*")):
        path.unlink(missing_ok=True)


def fingerprint_answers(rows: datasets.Dataset) -> dict[str, str]:
    """The sha256 of the logits of annotated rows, and of the states of each stored layer, under the layer's number."""
    columns = {"logits": rows.data.column("teacher_logits").chunks}
    if "teacher_cls_states" in rows.column_names:
        states = rows.data.column("teacher_cls_states")
        columns |= {field.name: [chunk.field(field.name) for chunk in states.chunks] for field in states.type}
    prints = {}
    for name, chunks in columns.items():
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk.flatten().to_numpy().tobytes())
        prints[name] = digest.hexdigest()
    return prints


def bytes_per_row(classes: int, hidden_size: int, teacher_layers: int, states_dtype: str, mean_length: float) -> int:
    """About how many bytes an annotated row takes on the disk, text apart."""
    state = hidden_size * np.dtype(states_dtype).itemsize
    return int(4 * classes + teacher_layers * state + 4 * mean_length + 24)


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.arrow"


def _listed(folder: Path, cut: Mapping[str, Any] | None = None) -> dict[str, list[SealedFile]]:
    """The shards of a cut that any rank wrote down; one that was made again after damage may stand there twice."""
    listed: dict[str, list[SealedFile]] = {}
    for path in folder.glob(_SHARDS.format("*")):
        for file in _read_list(path, cut):
            listed.setdefault(file.name, []).append(file)
    return listed


def _read_list(path: Path, cut: Mapping[str, Any] | None) -> list[SealedFile]:
    """A rank's list; one of another cut, or that cannot be read, is none, and its shards are made again."""
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
    """Remove shards of an earlier attempt that were cut into other numbers of rows."""
    for path in folder.glob("*.arrow"):
        if path.name not in names:
            path.unlink()


def _is_whole(folder: Path, name: str, listed: dict[str, list[SealedFile]]) -> SealedFile | None:
    if name not in listed or not (folder / name).is_file():
        return None
    sha256 = sha256_of_file(folder / name)
    return next((file for file in listed[name] if file.sha256 == sha256), None)


def _with_answers(
    shard: datasets.Dataset, answers: Answers, teacher_layers: Sequence[int], states_dtype: str
) -> pa.Table:
    table: pa.Table = shard.with_format("arrow")[:] if len(shard) else shard.data.table
    table = table.append_column("teacher_logits", _fixed_lists(answers.logits))
    if answers.cls_states is not None:
        states = answers.cls_states.astype(states_dtype)  # [N, K, H]
        columns = [_fixed_lists(states[:, k]) for k in range(len(teacher_layers))]
        names = [str(layer) for layer in teacher_layers]
        table = table.append_column("teacher_cls_states", pa.StructArray.from_arrays(columns, names))
    return table.replace_schema_metadata(None)


def _fixed_lists(matrix: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).reshape(-1)), matrix.shape[1])


def _write_shard(table: pa.Table, path: Path) -> SealedFile:
    partial = path.with_name(path.name + ".partial")
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    shard = SealedFile(path.name, partial.stat().st_size, sha256_of_file(partial))
    flush_file(partial)
    partial.replace(path)
    return shard


def _check_finite(answers: Answers, begin: int, states_dtype: str) -> None:
    bad = ~np.isfinite(answers.logits).all(axis=1)
    if answers.cls_states is not None:
        bad |= ~np.isfinite(answers.cls_states).all(axis=(1, 2))
        # a state beyond what the type holds (65504 for float16) would be stored as infinity
        bad |= np.abs(answers.cls_states).max(axis=(1, 2)) > np.finfo(states_dtype).max
    if bad.any():
        raise TeacherError(
            f"The teacher answers row {begin + int(np.argmax(bad)):,} (and {int(bad.sum()) - 1} more) with values that "
            f"are not finite or do not fit {states_dtype}. Its weights are damaged, or its precision is too low: try "
            f"{set_to('annotation.precision', 'float32')} and {set_to('annotation.states_dtype', 'float32')}."
        )
