"""Suggestions for an unknown key: another tool's name, a typo, or the right key at another path.

A key is first searched where it was written, then further out: `students.1.learning_rate` means that student's
training, not all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from pkd.recipe.naming import Key, Path, dotted, fields_of, hyperparameters, keywords, settings_at
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import named, set_to

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

_GONE = {  # {key} is spelled as it is where the user is, {key=value} as it is given there
    "bf16": "write {precision=bfloat16} (auto takes it where the hardware has it)",
    "data_seed": "the order of the data follows {seed}",
    "do_eval": "name the development data in {data.eval}",
    "do_train": "leave it out",
    "eval_strategy": "every epoch is evaluated when {data.eval} is given; leave it out",
    "evaluation_strategy": "every epoch is evaluated when {data.eval} is given; leave it out",
    "fp16": "write {precision=bfloat16} or {precision=float32}; float16 is not used",
    "group_by_length": "rows are always grouped by length; leave it out",
    "load_best_model_at_end": "the best epoch is always kept when {data.eval} is given; leave it out",
    "logging_dir": "trackers choose their folder themselves; leave it out",
    "model_name_or_path": "write {teacher.model}, or {student} in a student",
    "no_cuda": "write {device=cpu}",
    "overwrite_output_dir": "use {overwrite=true}",
    "per_device_eval_batch_size": "batches without gradients are sized by length; leave it out",
    "resume_from_checkpoint": "the same command again goes on where it stopped; leave it out",
    "save_strategy": "a checkpoint is kept after each epoch; see {save_steps} for more",
    "save_total_limit": "old checkpoints are removed; leave it out",
    "student_model": "write {student}, or leave it out: a student is then cut from the teacher's {layers}",
    "teacher_model": "write {teacher.model}",
    "teacher_model_name_or_path": "write {teacher.model}",
    "tokenizer": "each model's own tokenizer is used; leave it out",
    "train_embeddings": "embeddings are always trained; leave it out",
    "train_sampling_strategy": "rows are always grouped by length; leave it out",
    "trust_remote_code": "code from a model's folder is never run; leave it out",
    "use_cpu": "write {device=cpu}",
    "warmup_ratio": "write {warmup_steps=0.1} (below 1 it is a share of all steps)",
}


_SWEPT: Path = ("sweep", "keys")


def gone(name: str) -> str | None:
    """Advice for a key of another tool, or a removed one; None if the key is not known as such."""

    def spelled(match: re.Match[str]) -> str:
        key, _, value = match[1].partition("=")
        return named(key) if not value else set_to(key, True if value == "true" else value)

    return re.sub(r"{([^}]+)}", spelled, _GONE[name]) if name in _GONE else None


def meant(name: str, known: Sequence[str], *, cutoff: float = 0.7) -> str | None:
    """The known name that is nearest to `name`, if one is near."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=cutoff)
    return near[0] if near else None


def hint_for(path: Sequence[Key], root: type = Recipe) -> str:
    """Advice for the unknown key at the end of `path`, whose other parts are known.

    >>> hint_for(("students", 1, "learning_rate"))
    'did you mean students.1.training.learning_rate?'
    """
    at = tuple(path[:-1])
    name = str(path[-1]).rpartition(".")[2] if path else ""  # a whole key, as sweep.keys may have it: its last part
    lowered = name.lower().replace("-", "_")
    if (said := gone(lowered)) is not None:
        return said
    today = RENAMED.get(lowered, lowered)
    siblings = [str(one[-1]) for one in _children(at, root)]
    known = _places(at, root)
    if at == _SWEPT and (near := today if today in known else meant(name, siblings)):
        return _elsewhere(known[near])
    if today in siblings:
        return f"write {today}"
    if today in known:
        return _elsewhere(known[today])
    if near := meant(name, siblings):
        return f"did you mean {near}?"
    if near := meant(name, list(known)):
        return _elsewhere(known[near])
    return f"keys there are {', '.join(siblings)}"


def _elsewhere(place: Path) -> str:
    """The whole path of a key that was written elsewhere."""
    return f"did you mean {dotted(place)}?" if len(place) > 1 else f"{place[0]} stands at the recipe's top level"


def _places(at: Path, root: type) -> dict[str, Path]:
    """Every key by its name; of several with one name, the nearest to `at`."""
    found: dict[str, Path] = {}
    for depth in range(len(at), len(at) - 1 if at == _SWEPT else -1, -1):  # nothing else can be swept
        if depth == 0 and root is Recipe:
            for name, place in keywords().items():
                found.setdefault(name, place)
        for place in _below(at[:depth], root):
            found.setdefault(str(place[-1]), place)
    return found


def _below(at: Path, root: type) -> Iterator[Path]:
    """Every key below `at`, those nearest to it first."""
    level = list(_children(at, root))
    while level:
        yield from level
        level = [deeper for place in level for deeper in _children(place, root)]


def _children(at: Path, root: type) -> Iterator[Path]:
    """The keys right below `at`; of a list of settings those of the first."""
    if at == _SWEPT and root is Recipe:
        yield from ((*at, name) for name in hyperparameters())
        return
    owner, at = settings_at(at, root)
    if owner is not None:
        yield from ((*at, name) for name in fields_of(owner))
