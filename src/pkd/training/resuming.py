"""A Trainer whose checkpoints are sealed, contain no pickle, and resume bit-identically.

The stock Trainer trusts a checkpoint by its name, pickles states, ignores a missing one, only warns of other settings
on a resume, and on a stop in mid-epoch evaluates and saves as at an epoch's end.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput

from pkd import progress, ranks
from pkd.encoder.load import without_bars
from pkd.runs.seal import read_manifest, seal, unseal
from pkd.training.checkpoints import (
    KIND,
    load_counters,
    load_optimizer,
    load_random_state,
    newest_sealed,
    require_whole,
    rotate,
    save_counters,
    save_optimizer,
    save_random_state,
)
from pkd.training.hardware import deterministic_algorithms, keep_freed_memory, move_model

DIVERGED = "diverged.json"  # the texts of the step that stopped a training

# arguments that a checkpoint must share with the training that resumes it
_RESUMED_WITH = (
    "learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
    "weight_decay", "warmup_steps", "max_grad_norm", "lr_scheduler_type", "bf16", "fp16", "seed", "data_seed", "optim",
    "adam_beta1", "adam_beta2", "adam_epsilon",
)  # fmt: skip

_SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


class ResumableTrainer(Trainer):
    """A `transformers.Trainer` that resumes where it was stopped or killed.

    Args:
        stage_name: name of this training in the progress.
        resumed_with: further inputs that a checkpoint must share, such as the rows' hashes.
        checkpoint_steps: save every so many steps, in addition to each epoch's end.
        deterministic: use only torch's deterministic algorithms.
        afresh: set aside checkpoints of other settings instead of refusing to resume from them.
    """

    model: Any  # the stock annotation is wider, and allows None
    processing_class: Any
    optimizer: Any

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        stage_name: str = "train",
        resumed_with: dict[str, Any] | None = None,
        checkpoint_steps: int | None = None,
        deterministic: bool = False,
        afresh: bool = False,
        **keywords: Any,
    ) -> None:
        args.restore_callback_states_from_checkpoint = True
        args.save_total_limit = None  # our rotation counts only sealed checkpoints
        super().__init__(model, args, **keywords)
        self.stage_name = stage_name
        self.checkpoint_steps = checkpoint_steps
        self.deterministic = deterministic
        self.afresh = afresh
        self.resumed_with = resumed_with or {}
        self.train_seconds = 0.0
        self._special_ids: dict[str, Any] = {}  # of the model's configuration, while it trains
        self._stop_agreed = 0  # the exit code of a stop that all ranks agreed on
        self._leg_started = time.monotonic()
        if args.disable_tqdm:
            self.remove_callback(PrinterCallback)
            self.remove_callback(ProgressCallback)
        self.add_callback(_ReportProgress(self))

    def train(
        self, resume_from_checkpoint: Any = None, trial: Any = None, ignore_keys_for_eval: list[str] | None = None
    ) -> TrainOutput:
        """Train; `resume_from_checkpoint=True` resumes from the newest checkpoint that verifies, if there is one."""
        if resume_from_checkpoint is True:
            found = ranks.on_first(lambda: str(newest_sealed(self._output, self._inputs(), afresh=self.afresh) or ""))
            resume_from_checkpoint = found or None
        if resume_from_checkpoint is not None:
            self._restore_counters(Path(resume_from_checkpoint))
            progress.note(f"{self.stage_name} goes on from {resume_from_checkpoint}.")
            resume_from_checkpoint = str(resume_from_checkpoint)
        else:
            self._before_first_step()
        if ranks.is_first():
            for old in self._output.glob(f"{Path(DIVERGED).stem}*.json"):  # of an earlier attempt
                old.unlink()
        self._special_ids = {key: getattr(self.model.config, key, None) for key in _SPECIAL_IDS}
        self._leg_started = time.monotonic()
        keep_freed_memory()
        with (
            progress.stage(self.stage_name, unit="steps") as self._stage,
            progress.saves_on_stop(),
            deterministic_algorithms(self.deterministic),
        ):
            output = super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)
        self.train_seconds += time.monotonic() - self._leg_started
        return output

    def _inner_training_loop(self, *args: Any, **keywords: Any) -> TrainOutput:
        """Run the stock loop with the special ids of the model's configuration, for which its embedding was built.

        The stock `train` has just set them to the tokenizer's: a RoBERTa that is saved with another padding id counts
        its positions from that one when it is loaded again.
        """
        for key, value in self._special_ids.items():
            setattr(self.model.config, key, value)
        return super()._inner_training_loop(*args, **keywords)

    def take_best(self, checkpoint: Path) -> None:
        """Take the best epoch's weights of a stopped training, as its end would; its checkpoints stay.

        Args:
            checkpoint: the one that the training goes on from, which knows its best epoch.

        Raises:
            CheckpointError: if it, or the best epoch's, is damaged.
        """
        require_whole(checkpoint)
        self._restore_counters(checkpoint)
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        self.state.best_model_checkpoint = str(self._output / f"checkpoint-{self.state.best_global_step}")
        self._load_best_model()

    def _before_first_step(self) -> None:
        """Runs when a training starts; a resumed one restores the result from its checkpoint."""

    def _move_model_to_device(self, model: Any, device: torch.device) -> None:
        """Move the model; the stock method also handles devices that pkd does not support."""
        if getattr(model, "hf_device_map", None) is None:
            move_model(model, device)
        super()._move_model_to_device(model, device)

    @property
    def _output(self) -> Path:
        return Path(str(self.args.output_dir))

    def _inputs(self) -> dict[str, Any]:
        rows: Any = self.train_dataset
        arguments = {name: getattr(self.args, name) for name in _RESUMED_WITH}
        arguments |= {name: getattr(value, "value", value) for name, value in arguments.items()}  # enums to text
        return {
            "arguments": arguments,
            "rows": len(rows),
            "world_size": self.args.world_size,
            "device": self.args.device.type,  # whose random state a checkpoint holds
            "deterministic": self.deterministic,
            **self.resumed_with,
        }

    def _maybe_log_save_evaluate(self, *args: Any, **keywords: Any) -> None:
        super()._maybe_log_save_evaluate(*args, **keywords)
        if self.args.world_size > 1 and self._stop_agreed:
            progress.request_stop(self._stop_agreed)  # the signal may have reached only another rank
        elif self.args.world_size > 1 or not progress.stop_requested():
            return
        checkpoint = self._output / f"checkpoint-{self.state.global_step}"
        saved = ranks.on_first(lambda: read_manifest(checkpoint) is not None)
        if not saved and self._at_epoch_end():
            return  # the Trainer calls this again for this step, to evaluate and save the epoch
        if not saved:
            self._save_checkpoint(self.model_wrapped, None)
        progress.stop_if_requested(f"step {self.state.global_step} of {self.state.max_steps} is")

    def _sum_over_ranks(self, rows: int, device: torch.device) -> torch.Tensor:
        """Sum a step's rows over all ranks; also exchanges whether a rank was asked to stop, so that all stop."""
        gathered = self.accelerator.gather(torch.tensor([[rows, progress.stop_asked_for()]], device=device))
        self._stop_agreed = int(gathered[:, 1].max())
        total: torch.Tensor = gathered[:, 0].sum()
        return total

    def _at_epoch_end(self) -> bool:
        epoch = self.state.epoch or 0.0
        return self.state.global_step >= self.state.max_steps or abs(epoch - round(epoch)) < 1e-9

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = self._output / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero():
            unseal(folder)
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            best = Path(self.state.best_model_checkpoint) if self.state.best_model_checkpoint else None
            seal(folder, KIND, self._inputs(), {"step": self.state.global_step, "best": best and best.name})
            rotate(folder.parent, best)
        ranks.meet()
        progress.saved()

    def _load_best_model(self) -> None:
        best = Path(str(self.state.best_model_checkpoint))
        ranks.on_first(lambda: require_whole(best))
        super()._load_best_model()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model and its tokenizer, if the trainer has one; a checkpoint needs no tokenizer."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save and not _internal_call and self.processing_class is not None:
            self.processing_class.save_pretrained(output_dir or self.args.output_dir)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.args.should_save:  # the stock method also writes training_args.bin, a pickle
            with without_bars():
                self.accelerator.unwrap_model(self.model).save_pretrained(
                    output_dir or self.args.output_dir, state_dict=state_dict
                )

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            if self.args.should_save:
                save_counters(Path(output_dir), self._counters())
        elif self.args.should_save:
            save_optimizer(Path(output_dir), self.optimizer, self.lr_scheduler, self._counters())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
        else:
            load_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _save_rng_state(self, output_dir: str) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_random_state(self._random_state_file(output_dir), self.args.device)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random_state(self._random_state_file(checkpoint), self.args.device)

    def _random_state_file(self, folder: str) -> Path:
        return Path(folder) / f"random_state_{self.args.process_index}.safetensors"

    def _init_training_state(self, *args: Any, **keywords: Any) -> Any:
        result = super()._init_training_state(*args, **keywords)
        if self.state.best_global_step:  # the state has a path, but the folder may have moved
            best = self._output / f"checkpoint-{self.state.best_global_step}"
            self.state.best_model_checkpoint = str(best) if best.is_dir() else None
        return result

    def _counters(self) -> dict[str, Any]:
        """The state that a resumed training needs in addition to the stock state."""
        return {"train_seconds": self.train_seconds + time.monotonic() - self._leg_started}

    def _restore_counters(self, checkpoint: Path) -> dict[str, Any]:
        counters = load_counters(checkpoint)
        self.train_seconds = counters["train_seconds"]
        return counters


class _ReportProgress(TrainerCallback):
    """Updates the progress, and requests checkpoints between epochs."""

    def __init__(self, trainer: ResumableTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        self.trainer._stage.total = state.max_steps
        self.trainer._stage.reach(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        self.trainer._stage.reach(state.global_step)
        every = self.trainer.checkpoint_steps
        if every and state.global_step % every == 0 and not self.trainer._at_epoch_end():
            control.should_save = True
