"""Sealed checkpoints, which are verified by hashes and contain no pickle.

Optimiser and random states are safetensors, the rest JSON. Training resumes from the newest checkpoint that verifies
together with its best one; damaged ones are renamed; rotation keeps the best and the last two.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pkd import progress
from pkd.errors import CacheError, CheckpointError
from pkd.recipe.settings import TrainingSettings
from pkd.recipe.spelling import set_to
from pkd.runs.fingerprint import differences
from pkd.runs.seal import MANIFEST, Damage, Manifest, find_damage, read_manifest, set_aside, write_json
from pkd.training.schedule import epochs_of

KIND = "checkpoint"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "training_state.json"
_KEPT = 2


def checkpoint_folders(output: Path) -> list[Path]:
    """The checkpoints of a training, the newest first, by the step in their names."""
    named = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(named, key=_step, reverse=True)


def checkpoint_bytes(parameters: int, settings: TrainingSettings) -> int:
    """About how many bytes the checkpoints of a training take on the disk at most."""
    most = _KEPT + 2  # the best, the last two and the one being written
    saved = most if settings.save_steps else min(most, math.ceil(epochs_of(settings)))
    copies = 3 if settings.averaging == "none" else 4  # weights and two moments in float32, perhaps the average
    return parameters * 4 * copies * saved


def newest_sealed(output: Path, inputs: Mapping[str, Any], *, afresh: bool = False) -> Path | None:
    """The newest checkpoint that verifies; damaged and incomplete ones are set aside with a warning.

    So is one whose best checkpoint is damaged: training resumes before that epoch and repeats it.

    Args:
        output: folder of the checkpoints.
        inputs: must equal those of the checkpoint.
        afresh: set aside checkpoints of other settings instead of refusing them.

    Raises:
        CheckpointError: if it belongs to a training with other settings; lists the differences.
    """
    for folder in checkpoint_folders(output):
        manifest, damage = _verify(folder)
        best = manifest.facts.get("best") if manifest and not damage else None
        if best and best != folder.name:
            damage = [Damage(f"its best epoch, {best}: {each.file}", each.what) for each in _verify(output / best)[1]]
        if manifest is None or damage:
            aside = set_aside(folder, "damaged")
            progress.warn(f"{folder} cannot be resumed from ({'; '.join(map(str, damage))}); it is now {aside.name}.")
            continue
        if changed := differences(manifest.inputs, dict(inputs)):
            if afresh:
                progress.note(f"starting afresh; {folder} is now {set_aside(folder, 'before').name}")
                continue
            raise CheckpointError(
                f"{folder} belongs to a training with other settings: {'; '.join(changed)}. "
                f"Go back to those settings, or start afresh with {set_to('overwrite', True)}."
            )
        return folder
    return None


def last_with_best(output: Path) -> Path | None:
    """The newest checkpoint of an unfinished training that knows a best epoch, by its seal alone; None without one."""
    for folder in checkpoint_folders(output):
        try:
            manifest = read_manifest(folder)
        except CacheError:
            continue
        if manifest is not None and manifest.facts.get("best"):
            return folder
    return None


def require_whole(folder: Path) -> None:
    """Verify a checkpoint before its weights become the result of a training.

    Raises:
        CheckpointError: if it is damaged.
    """
    if damage := _verify(folder)[1]:
        raise CheckpointError(
            f"{folder} is the best epoch, but was damaged since it was saved ({'; '.join(map(str, damage))}). The "
            "same command again trains from the last checkpoint before it."
        )


def _verify(folder: Path) -> tuple[Manifest | None, list[Damage]]:
    """A checkpoint's manifest, and what is wrong with it."""
    try:
        manifest = read_manifest(folder)
    except CacheError as error:
        return None, [Damage(MANIFEST, f"cannot be read: {error.__cause__ or error}")]
    if manifest is None:
        return None, [Damage(MANIFEST, "is missing: it was not finished")]
    return manifest, find_damage(folder, manifest, deep=True)


def rotate(output: Path, best: Path | None) -> None:
    """Delete sealed checkpoints except the best and the last two."""
    for folder in checkpoint_folders(output)[_KEPT:]:
        if best is None or folder.name != best.name:
            shutil.rmtree(folder)


def save_optimizer(folder: Path, optimizer: torch.optim.Optimizer, scheduler: Any, counters: Mapping[str, Any]) -> None:
    """Write optimiser, scheduler and the trainer's own counters."""
    state = optimizer.state_dict()
    tensors = {
        f"{parameter}.{name}": value.detach().cpu().contiguous()
        for parameter, values in state["state"].items()
        for name, value in values.items()
    }
    save_file(tensors, folder / _OPTIMIZER)
    save_counters(folder, counters, groups=state["param_groups"], scheduler=scheduler.state_dict())


def save_counters(folder: Path, counters: Mapping[str, Any], **more: Any) -> None:
    """Write the trainer's own counters and other plain data."""
    write_json(folder / _STATE, {**more, "counters": dict(counters)})


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
    """Restore what `save_optimizer` wrote."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(folder / _OPTIMIZER, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
            parameter, name = key.split(".", 1)
            state.setdefault(int(parameter), {})[name] = file.get_tensor(key)
    plain = _read_state(folder)
    optimizer.load_state_dict({"state": state, "param_groups": plain["groups"]})
    scheduler.load_state_dict(plain["scheduler"])


def load_counters(folder: Path) -> dict[str, Any]:
    """The counters that `save_optimizer` wrote."""
    counters: dict[str, Any] = _read_state(folder)["counters"]
    return counters


def save_random_state(path: Path, device: torch.device) -> None:
    """Write the state of every random generator that training on `device` draws from."""
    numpy_state: Any = np.random.get_state(legacy=True)
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(numpy_state[1].astype(np.int64))}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    plain = {"python": random.getstate(), "numpy": [numpy_state[0], *numpy_state[2:]]}
    save_file(tensors, path, metadata={"plain": json.dumps(plain)})


def load_random_state(path: Path, device: torch.device) -> None:
    """Restore what `save_random_state` wrote for a device of this type."""
    with safe_open(path, framework="pt") as file:
        plain = json.loads(file.metadata()["plain"])
        version, words, gauss = plain["python"]
        random.setstate((version, tuple(words), gauss))
        name, *rest = plain["numpy"]
        np.random.set_state((name, file.get_tensor("numpy").numpy().astype(np.uint32), *rest))
        torch.set_rng_state(file.get_tensor("torch"))
        if device.type == "cuda":
            torch.cuda.set_rng_state(file.get_tensor("cuda"), device)


def _read_state(folder: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    return plain


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))
