"""Save a trained model as an ordinary folder, and keep what its training measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pkd import ranks
from pkd.evaluation.by_class import BlindSpots
from pkd.training.hardware import device_text
from pkd.training.trainer import RowMeanTrainer


def save_trained(trainer: RowMeanTrainer, folder: Path, max_length: int, metric: str) -> dict[str, Any]:
    """Save a trained model as an ordinary folder and return the facts of its training; rank 0 writes."""
    tokenizer = trainer.processing_class
    tokenizer.model_max_length = max_length  # so that users of the folder truncate as in training
    if trainer.is_fsdp_enabled:  # the Trainer saves no model where each rank is to save its part
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder), _internal_call=True)  # all ranks take part: weights may be sharded
    ranks.on_first(lambda: tokenizer.save_pretrained(folder) and None)  # a failed write is raised on all ranks
    return training_facts(trainer, metric)


def training_facts(trainer: RowMeanTrainer, metric: str) -> dict[str, Any]:
    """What a finished training measured: the kept epoch and its scores, every logged step, the time it took."""
    # a resumed training has read its first entries from a file, in which keys are sorted
    history = [{key: float(entry[key]) for key in sorted(entry)} for entry in trainer.state.log_history]
    history = [entry for entry in history if "train_runtime" not in entry]
    evaluated = [entry for entry in history if f"eval_{metric}" in entry]
    if evaluated:
        kept = trainer.state.best_global_step or evaluated[0]["step"]
        best = next(entry for entry in evaluated if entry["step"] == kept)
        selection = {"on": "eval", "metric": metric, "score": best[f"eval_{metric}"], "epoch": best["epoch"]}
        selection["highest"] = max(entry[f"eval_{metric}"] for entry in evaluated)
        scores = {name.removeprefix("eval_"): value for name, value in best.items() if name.startswith("eval_")}
    else:
        selection = {"on": "nothing: the last epoch is kept", "epoch": float(trainer.state.epoch or 0)}
        scores = {}
    if trainer.averaging != "none":
        selection["weights"] = trainer.averaging if not evaluated or best.get("averaged") else "raw"
    blind = trainer.blind_spots_at(best["step"]) if evaluated else BlindSpots()
    return {
        "scores": scores,
        "selection": selection,
        "blind_spots": asdict(blind),
        "history": history,
        "train_seconds": trainer.train_seconds,
        "device": device_text(trainer.args.device),
        "processes": trainer.args.world_size,
    }
