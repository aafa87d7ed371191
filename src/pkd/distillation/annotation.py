"""The teacher's pass: the frozen teacher reads every row once, and its answers become two more columns of that row.

Each shard is written, hashed and listed before the next begins, so that a killed pass resumes at the next shard. Of
several processes each answers its own shards. The result is a `datasets.Dataset`, memory-mapped from the shards:
shuffling, filtering or concatenating it keeps each row with its answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pkd import progress, ranks
from pkd.data.batching import TEACHER, is_answer
from pkd.data.tokenize import encode
from pkd.encoder.inference import Answers, answer_rows
from pkd.errors import TeacherError
from pkd.recipe.spelling import set_to
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import SealedFile, flush_file, is_inside, read_manifest, write_json

_SHARDS = "shards-{}.json"  # the finished shards of a rank; the manifest replaces it when all are finished


@dataclass(frozen=True)
class TeacherPass:
    """A frozen teacher and how it answers rows.

    Attributes:
        model: the fine-tuned classifier, on the device that computes.
        tokenizer: the teacher's.
        teacher_layers: the layers whose [CLS] states are stored, counted from 1.
        max_length: word pieces that a row is truncated to.
        states_dtype: of the stored states, "float16" or "float32".
        rows_per_shard: rows in a file.
        autocast_dtype: the type of matrix products; None computes in float32.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    teacher_layers: Sequence[int]
    max_length: int
    states_dtype: str = "float16"
    rows_per_shard: int = 4096
    autocast_dtype: torch.dtype | None = None

    def encoded(self, rows: datasets.Dataset) -> datasets.Dataset:
        """The rows as the teacher reads them; masked words of augmented rows become its own mask token."""
        return encode(rows, self.tokenizer, self.max_length, masks=True)

    def answers(self, encoded: datasets.Dataset, on_batch: Callable[[int], None] | None = None) -> Answers:
        """The teacher's logits and states of encoded rows."""
        return answer_rows(
            self.model, encoded, layers=self.teacher_layers, autocast_dtype=self.autocast_dtype, on_batch=on_batch
        )


def annotate_rows(
    rows: datasets.Dataset, teacher: TeacherPass, folder: Path, *, stage: progress.Stage | None = None
) -> datasets.Dataset:
    """Write `rows` with their teacher's answers as Arrow shards into `folder`, keeping finished shards.

    Shards with another number of rows or other layers are made again: only shards of one cut fit together.

    Under several ranks each must call this and makes every Nth shard, with the same bytes as a single process; any
    number of ranks can resume what any other number began.

    Adds to each row `input_ids`, `length`, `teacher_logits` (float32 [C]) and, if layers are given,
    `teacher_cls_states`: one [H] per teacher layer, under the layer's number.

    Args:
        rows: text columns and perhaps `label` (class ids; null where a row has none).
        teacher: and how it answers.
        folder: of the shards.
        stage: receives the number of finished rows.

    Raises:
        TeacherError: if the teacher computes a value that is not finite.
        RankError: if another rank failed.
        Stopped: if a stop was requested; finished shards are kept.
    """
    starts = range(0, max(len(rows), 1), teacher.rows_per_shard)
    cut = cut_of(teacher.rows_per_shard, teacher.teacher_layers)
    listed = _listed(folder, cut)
    made = {file.name: file for file in _read_list(folder / _SHARDS.format(ranks.rank()), cut)}

    def advance(count: int) -> None:  # assumes that the other ranks are as fast
        if stage:
            stage.reach(min(stage.done + count * ranks.world_size(), len(rows)))

    with progress.saves_on_stop():
        for number in range(ranks.rank(), len(starts), ranks.world_size()):
            begin = starts[number]
            name = shard_name(number)
            count = min(teacher.rows_per_shard, len(rows) - begin)
            if _is_whole(folder, name, listed):
                advance(count)
                continue
            shard = teacher.encoded(rows.select(range(begin, begin + count)))
            answers = teacher.answers(shard, advance)
            _check_finite(answers, begin, teacher.states_dtype)
            made[name] = write_shard(_with_answers(shard, answers, teacher), folder / name)
            list_shards(folder, made.values(), cut)
            progress.saved()
            progress.stop_if_requested(f"{len(_listed(folder, cut))} of {len(starts)} shards are")
    ranks.meet()
    ranks.on_first(lambda: _remove_others(folder, {shard_name(number) for number in range(len(starts))}))
    if stage:
        stage.reach(len(rows))
    return open_shards(folder)


def open_shards(folder: Path) -> datasets.Dataset:
    """The annotated rows of a folder, memory-mapped from the shards in its manifest, or from all without one."""
    manifest = read_manifest(folder)
    names = [path.name for path in folder.glob("*.arrow")] if manifest is None else [f.name for f in manifest.files]
    shards = sorted(name for name in names if name.endswith(".arrow"))
    return datasets.concatenate_datasets([datasets.Dataset.from_file(str(folder / name)) for name in shards])


def finished_shards(folder: Path) -> list[SealedFile]:
    """The undamaged shards of an unfinished pass."""
    listed = _listed(folder)
    whole = (_is_whole(folder, name, listed) for name in sorted(listed))
    return [file for file in whole if file]


def listed_shards(folder: Path) -> set[str]:
    """The names of the listed shards of an unfinished pass; their files are not read."""
    return set(_listed(folder))


def cut_of(rows_per_shard: int, teacher_layers: Sequence[int]) -> dict[str, Any]:
    """What shards of one pass must share, besides the inputs of their stage."""
    return {"rows_per_shard": rows_per_shard, "teacher_layers": sorted(teacher_layers)}


def list_shards(folder: Path, shards: Iterable[SealedFile], cut: Mapping[str, Any]) -> None:
    """Write this rank's list of finished shards, and their cut."""
    write_json(folder / _SHARDS.format(ranks.rank()), {**cut, "shards": [vars(shard) for shard in shards]})


def forget_shard_lists(folder: Path) -> None:
    """Remove the lists of finished shards, which the manifest is about to replace."""
    for path in folder.glob(_SHARDS.format("*")):
        path.unlink(missing_ok=True)


def fingerprint_answers(rows: datasets.Dataset) -> dict[str, str]:
    """The sha256 of each part of annotated rows' answers, as `parts_read` names them."""
    parts: dict[str, list[pa.Array]] = {}
    for column in filter(is_answer, rows.column_names):
        values = rows.data.column(column)
        if pa.types.is_struct(values.type):
            for layer in values.type:
                parts[_part(column, layer.name)] = [chunk.field(layer.name) for chunk in values.chunks]
        else:
            parts[_part(column)] = values.chunks
    prints = {}
    for name, chunks in parts.items():
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk.flatten().to_numpy().tobytes())
        prints[name] = digest.hexdigest()
    return prints


def parts_read(columns: Collection[str], layers: Sequence[int], stored: Iterable[str]) -> list[str]:
    """The stored parts of answers that a loss reads: whole columns, and its layers of those that have layers.

    >>> parts_read({"teacher_logits", "teacher_cls_states"}, [2], ["logits", "cls_states.2", "cls_states.4"])
    ['logits', 'cls_states.2']
    """
    read = {_part(column) for column in columns} | {_part(column, layer) for column in columns for layer in layers}
    return [part for part in stored if part in read]


def _part(column: str, layer: int | str | None = None) -> str:
    """The name of a column of answers, or of one layer in it."""
    name = column.removeprefix(TEACHER)
    return name if layer is None else f"{name}.{layer}"


def bytes_per_row(classes: int, hidden_size: int, teacher_layers: int, states_dtype: str, mean_length: float) -> int:
    """About how many bytes an annotated row takes on disk, without its text."""
    state = hidden_size * np.dtype(states_dtype).itemsize
    return int(4 * classes + teacher_layers * state + 4 * mean_length + 24)


def shard_name(number: int) -> str:
    """The name of a shard's file, by its number from 0."""
    return f"shard-{number:05d}.arrow"


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


def _with_answers(shard: datasets.Dataset, answers: Answers, teacher: TeacherPass) -> pa.Table:
    table: pa.Table = shard.with_format("arrow")[:] if len(shard) else shard.data.table
    layers = [str(layer) for layer in teacher.teacher_layers]
    for name, values in answers.columns.items():
        if values.ndim == 2:  # [N, C]
            table = table.append_column(name, fixed_lists(values))
        else:  # [N, K, H]
            by_layer = [fixed_lists(values[:, k].astype(teacher.states_dtype)) for k in range(len(layers))]
            table = table.append_column(name, pa.StructArray.from_arrays(by_layer, layers))
    return table.replace_schema_metadata(None)


def fixed_lists(matrix: np.ndarray) -> pa.FixedSizeListArray:
    """A column of a row's values each, of a matrix [N, C]."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).reshape(-1)), matrix.shape[1])


def write_shard(table: pa.Table, path: Path) -> SealedFile:
    """Write rows as a shard, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    shard = SealedFile(path.name, partial.stat().st_size, sha256_of_file(partial))
    flush_file(partial)
    partial.replace(path)
    return shard


def _check_finite(answers: Answers, begin: int, states_dtype: str) -> None:
    bad = np.zeros(len(answers.logits), dtype=bool)
    for values in answers.columns.values():
        bad |= ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if values.ndim > 2:  # a state beyond what the type holds (65504 for float16) would be stored as infinity
            bad |= np.abs(values).max(axis=(1, 2)) > np.finfo(states_dtype).max
    if bad.any():
        raise TeacherError(
            f"The teacher answers row {begin + int(np.argmax(bad)):,} (and {int(bad.sum()) - 1} more) with values that "
            f"are not finite or do not fit {states_dtype}. Its weights are damaged, or its precision is too low: try "
            f"{set_to('annotation.precision', 'float32')} and {set_to('annotation.states_dtype', 'float32')}."
        )
