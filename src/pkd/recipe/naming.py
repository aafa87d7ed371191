"""Which keys a recipe has, where each stands, and what somebody meant who wrote another.

Everything is read off the dataclasses; only the names of other tools, and of older releases, are written here.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union

from pkd.recipe.schema import Recipe
from pkd.recipe.settings import StudentSettings, TrainingSettings

Key = str | int
Path = tuple[Key, ...]

RENAMED = {
    "accumulation_steps": "gradient_accumulation_steps",
    "batch_size": "per_device_train_batch_size",
    "checkpoint_steps": "save_steps",
    "clip_norm": "max_grad_norm",
    "dev": "eval",
    "dev_file": "eval",
    "epochs": "num_train_epochs",
    "eval_file": "eval",
    "gradient_clip": "max_grad_norm",
    "init": "start",
    "kd_weight": "alpha",
    "label_name": "label_column",
    "layer_strategy": "layer_map",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "max_len": "max_length",
    "max_seq_length": "max_length",
    "metric_for_best_model": "metric",
    "model_max_length": "max_length",
    "n_epochs": "num_train_epochs",
    "normalise": "normalize",
    "num_epochs": "num_train_epochs",
    "num_hidden_layers": "layers",
    "num_layers": "layers",
    "num_seeds": "seeds",
    "output_dir": "output",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "scheduler": "lr_scheduler_type",
    "strategy": "layer_map",
    "student_layers": "layers",
    "t": "temperature",
    "temp": "temperature",
    "test_file": "test",
    "text_column": "text_columns",
    "train_batch_size": "per_device_train_batch_size",
    "train_file": "train",
    "unlabeled": "unlabelled",
    "validation": "eval",
    "validation_file": "eval",
    "wd": "weight_decay",
}

GONE = {
    "bf16": "write precision: bfloat16 (auto takes it where the hardware has it)",
    "data_seed": "the order of the data follows seed",
    "do_eval": "name the development data in data.eval",
    "do_train": "leave it out",
    "eval_strategy": "every epoch is evaluated when data.eval is given; leave it out",
    "evaluation_strategy": "every epoch is evaluated when data.eval is given; leave it out",
    "fp16": "write precision: bfloat16 or float32; float16 is not used",
    "group_by_length": "rows are always grouped by length; leave it out",
    "load_best_model_at_end": "the best epoch is always kept when data.eval is given; leave it out",
    "logging_dir": "trackers choose their folder themselves; leave it out",
    "model_name_or_path": "write teacher.model, or pretrained in a student",
    "no_cuda": "write training.device: cpu",
    "overwrite_output_dir": "use --overwrite",
    "per_device_eval_batch_size": "batches without gradients are sized by length; leave it out",
    "resume_from_checkpoint": "the same command again goes on where it stopped; leave it out",
    "save_strategy": "a checkpoint is kept after each epoch; see save_steps for more",
    "save_total_limit": "old checkpoints are removed; leave it out",
    "student_model": "students are cut from the teacher; see layers, start and pretrained in a student",
    "teacher_model": "write teacher.model",
    "teacher_model_name_or_path": "write teacher.model",
    "tokenizer": "the teacher's own tokenizer is used; leave it out",
    "train_sampling_strategy": "rows are always grouped by length; leave it out",
    "trust_remote_code": "code from a model's folder is never run; leave it out",
    "use_cpu": "write training.device: cpu",
    "warmup_ratio": "write warmup_steps: 0.1 (below 1 it is a share of all steps)",
}

PREFERRED: dict[str, Path] = {  # keywords whose name stands in two places of the recipe
    "name": ("name",),
    "precision": ("training", "precision"),
    "training": ("training",),
    "unlabelled": ("data", "unlabelled"),
}


@functools.cache
def hints(settings: type) -> dict[str, Any]:
    """The types of a settings class, field by field."""
    return typing.get_type_hints(settings, include_extras=True)


@functools.cache
def fields_of(settings: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a settings class by name."""
    return {field.name: field for field in dataclasses.fields(settings)}


def help_of(field: dataclasses.Field[Any]) -> str:
    """What the field says of itself."""
    return str(field.metadata.get("help", ""))


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The field's default, made anew where it is made by a function."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def without_none(hint: Any) -> Any:
    """The type without `Annotated` and `| None`."""
    while typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        if len(rest) == 1:
            return without_none(rest[0])
    return hint


def settings_within(hint: Any) -> tuple[type | None, bool]:
    """The settings class that a field holds (None if it holds a plain value), and whether it holds a list of them."""
    hint = without_none(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint, False
    if typing.get_origin(hint) is list:
        inner = without_none(typing.get_args(hint)[0])
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            return inner, True
    return None, False


@dataclasses.dataclass(frozen=True)
class Spot:
    """A place in the tree of settings: the class that owns the last key, and that key's field where there is one."""

    owner: type
    field: dataclasses.Field[Any] | None
    path: Path  # as far as the settings classes reach: layer_map.0.1 ends at layer_map


def spot(path: Sequence[Key], root: type = Recipe) -> Spot:
    """Follow `path` from `root` as far as the settings classes reach; an unknown key ends it with no field."""
    owner, index = root, 0
    while index < len(path):
        name = path[index]
        field = fields_of(owner).get(name) if isinstance(name, str) else None
        if field is None:
            return Spot(owner, None, tuple(path[: index + 1]))
        inner, many = settings_within(hints(owner)[field.name])
        if owner is StudentSettings and name == "training":
            inner = TrainingSettings  # a plain mapping there, since only what differs is written
        index += 1
        if inner is not None and many and index < len(path) and isinstance(path[index], int):
            index += 1
        elif many:
            inner = None
        if inner is None or index >= len(path):
            return Spot(owner, field, tuple(path[:index]))
        owner = inner
    return Spot(root, None, ())


def leaves(root: type = Recipe, at: Path = ()) -> Iterator[tuple[Path, dataclasses.Field[Any]]]:
    """Every plain value below `root`, with its path; the first student stands for all."""
    for field in dataclasses.fields(root):
        inner, many = settings_within(hints(root)[field.name])
        here: Path = (*at, field.name)
        if inner is None:
            yield here, field
        else:
            yield from leaves(inner, (*here, 0) if many else here)


@functools.cache
def keywords() -> dict[str, Path]:
    """Flat keyword → its path; the teacher's fine-tuning and the sweep are reached by their whole path alone."""
    places: dict[str, Path] = {}
    for path, _ in leaves():
        if path[:2] != ("teacher", "finetune") and path[0] != "sweep":
            places.setdefault(str(path[-1]), path)
    places |= {field.name: (field.name,) for field in dataclasses.fields(Recipe)}
    places |= {"teacher": ("teacher", "model"), "finetune": ("teacher", "finetune")}
    return places | PREFERRED


def dotted(path: Sequence[Key]) -> str:
    """The path as it is written: students.0.alpha."""
    return ".".join(str(key) for key in path)


def undotted(text: str) -> Path:
    """The path that `students.0.alpha` stands for."""
    keys = text.strip().split(".")
    return tuple(int(key) if key.isdecimal() and key.isascii() and len(key) < 10 else key for key in keys)


def meant(name: str, known: Sequence[str], *, cutoff: float = 0.7) -> str | None:
    """The known name that is nearest to `name`, if one is near."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=cutoff)
    return near[0] if near else None


def hint_for(path: Sequence[Key], owner: type, root: type = Recipe) -> str:
    """What to do about an unknown key at `path` whose neighbours are the fields of `owner`."""
    name = str(path[-1]) if path else ""
    lowered = name.lower().replace("-", "_")
    if lowered in GONE:
        return GONE[lowered]
    siblings = list(fields_of(owner))
    today = RENAMED.get(lowered, lowered)
    if today in siblings:
        return f"write {today}"
    if root is Recipe and today in keywords():
        return _elsewhere(today)
    if near := meant(name, siblings):
        return f"did you mean {near}?"
    if root is Recipe and (near := meant(name, list(keywords()))):
        return _elsewhere(near)
    return f"keys there are {', '.join(siblings)}"


def _elsewhere(name: str) -> str:
    """Where a keyword stands that was written, or meant, in another place."""
    place = keywords()[name]
    return f"did you mean {dotted(place)}?" if len(place) > 1 else f"{name} stands at the recipe's top level"
