"""Convert the recipe's training settings to the Trainer's arguments, for teacher and student alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pkd.recipe.settings import TrainingSettings
from pkd.training.hardware import autocast_dtype, resolve_device
from pkd.training.trackers import refuse_unknown


def check_training(settings: TrainingSettings, device: str) -> None:
    """Check that this machine has the device, the precision and the trackers of a training.

    Raises:
        RecipeError: if one is missing.
    """
    autocast_dtype(settings.precision, resolve_device(device))
    refuse_unknown(settings.report_to)


def trainer_arguments(
    settings: TrainingSettings, output: Path, *, seed: int, metric: str | None, device: str
) -> dict[str, Any]:
    """Keyword arguments for `transformers.TrainingArguments` or a subclass.

    Args:
        settings: of the recipe.
        output: folder of the checkpoints.
        seed: of weights, dropout and the order of the data.
        metric: chooses the best epoch on the development rows; None without such rows.
        device: "auto", "cpu" or "cuda".
    """
    where = resolve_device(device)
    best: dict[str, Any] = {}
    if metric is not None:
        best = {
            "eval_strategy": "epoch",
            "load_best_model_at_end": True,
            "metric_for_best_model": metric,
            "greater_is_better": True,
        }
    return {
        "output_dir": str(output),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.num_train_epochs,
        "per_device_train_batch_size": settings.per_device_train_batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "weight_decay": settings.weight_decay,
        "warmup_steps": settings.warmup_steps,
        "max_grad_norm": settings.max_grad_norm,
        "lr_scheduler_type": settings.lr_scheduler_type,
        "bf16": autocast_dtype(settings.precision, where) is not None,
        "activation_checkpointing": settings.activation_checkpointing,
        "use_cpu": where.type == "cpu",
        "save_strategy": "epoch",
        "logging_steps": settings.logging_steps,
        "report_to": settings.report_to or "none",
        "disable_tqdm": True,
        "seed": seed,
        "data_seed": seed,
        **best,
    }
