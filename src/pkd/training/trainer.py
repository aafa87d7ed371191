"""The Trainer of teacher and students, with corrections to the stock one.

The loss of an optimiser step is the mean over all its rows, across accumulation and devices: exactly the large batch's
gradient (the stock Trainer's is off by the number of accumulation steps for any encoder classifier). Batches are
length-grouped in an order that depends only on seed and epoch, evaluation changes neither the random state nor the
order of rows, checkpoints are sealed, and the first non-finite value stops training before the optimiser steps.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.trainer_utils import PredictionOutput

from pkd.data.arrays import column_array
from pkd.data.batches_by_length import gpu_length
from pkd.data.batching import STAND_IN, Collator, LengthGroupedBatches, TokenRows, has_unlabelled
from pkd.data.labels import label_array
from pkd.data.outputs import Outputs, outputs_of
from pkd.data.taught import words_a_row
from pkd.data.tokenize import encode
from pkd.encoder.families import longest_input
from pkd.encoder.inference import answer_rows, collator_for, label_losses, model_inputs, tokenizer_for
from pkd.errors import DivergedError, RecipeError
from pkd.evaluation.by_class import BlindSpots
from pkd.recipe.spelling import named, set_to
from pkd.runs.seal import write_json
from pkd.training.averaging import AveragedWeights, load_averaged
from pkd.training.checkpoints import checkpoint_folders
from pkd.training.economy import EconomicalTrainer
from pkd.training.resuming import DIVERGED
from pkd.training.schedule import Averaging, KeptEpoch

RowLosses = tuple[torch.Tensor, dict[str, torch.Tensor]]
_CROSS_ENTROPY = "cross_entropy"
_LEVEL: dict[KeptEpoch, float] = {"latest": 1.0, "calibrated": 0.5}  # standard errors within which scores are level


def is_level(score: float, best: float, rows: int, errors: float = 1.0) -> bool:
    """Whether a score is within so many standard errors of the best over so many rows.

    The error is that of a share, √(s (1 − s) / n); 0 for a best score outside 0 to 1.

    >>> is_level(0.781, 0.8, 400), is_level(0.779, 0.8, 400), is_level(0.781, 0.8, 400, errors=0.5)
    (True, False, False)
    """
    return score >= best - errors * math.sqrt(max(0.0, best * (1 - best)) / max(1, rows))


class RowMeanTrainer(EconomicalTrainer):
    """A `transformers.Trainer` whose loss is a mean over rows; here only that of the labels, `loss/ce`.

    A subclass defines the loss per row in `row_losses`. Takes the Trainer's arguments, `EconomicalTrainer`'s, and:

    Args:
        train_dataset: rows with `input_ids`, `length` and `label`; text rows are tokenized.
        eval_dataset: the same; every row has a label.
        averaging: "ema" or "swa" also averages the weights. Each evaluation scores the better of raw and averaged
            weights by the choosing metric (`averaged` names it; where the calibrated epoch is kept and they are level,
            the one of lower cross-entropy); the best of all are kept at the end. Without such a metric the average is
            kept.
        patience: end after so many consecutive epochs without a better development score.
        kept_epoch: "best" keeps the evaluation with the best score, the first of equals; "latest" the last one within a
            standard error of the best (Breiman et al. 1984): of few rows a best score is mostly luck, and at the end of
            a schedule weights have settled; "calibrated" of those within half of it, about the standard error of the
            difference of two epochs, as they answer most rows alike, the one with the lowest cross-entropy on the
            development rows, where the problem has one (else the best): a teacher that has learned its rows by heart
            has as good a score, but its answers to them say no more than their labels.
    """

    loss_is_scaled_for_ga = True  # compute_loss divides by all the step's rows (transformers 5: training_step)

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *,
        train_dataset: datasets.Dataset | None = None,
        eval_dataset: datasets.Dataset | None = None,
        processing_class: Any = None,
        averaging: Averaging = "none",
        patience: int | None = None,
        kept_epoch: KeptEpoch = "best",
        **keywords: Any,
    ) -> None:
        args.logging_nan_inf_filter = False  # it would hide a non-finite loss behind the running mean
        if processing_class is not None:  # it is saved with the model, but may belong to another one
            processing_class = tokenizer_for(model.config, processing_class)
        super().__init__(
            model,
            args,
            train_dataset=_encoded(train_dataset, processing_class, model, masks=True),
            eval_dataset=_encoded(eval_dataset, processing_class, model),
            processing_class=processing_class,
            **keywords,
        )
        self.patience = patience
        self.kept_epoch = kept_epoch
        self.averaging = averaging
        self._averaged: AveragedWeights | None = None  # while it trains
        self._goes_on_from: Path | None = None
        if averaging != "none":
            self.add_callback(_Average(self))
        self._term_sums: dict[str, torch.Tensor] = {}
        self._term_rows: dict[str, int] = {}
        self._blind_spots: dict[str, dict[str, Any]] = {}  # step of an evaluation -> blind spots
        self._lost: str | None = None  # this rank's first non-finite loss, in words
        self._step_inputs: list[Any] = []  # the current step's micro-batches, reported if it diverges

    # What is trained ------------------------------------------------------------------------------------------------

    def row_losses(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> RowLosses:
        """The loss per row [B], and the terms to log, each over the rows that have it."""
        output = model(**model_inputs(inputs, model))
        ce = label_losses(self.outputs.kind, output.logits, inputs["labels"], inputs)
        return ce, {"ce": ce}

    @cached_property
    def outputs(self) -> Outputs:
        """The outputs of the model's head."""
        return outputs_of(self.accelerator.unwrap_model(self.model).config)

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """The teacher layers whose states a batch must contain."""
        return ()

    # The mean over the step's rows ----------------------------------------------------------------------------------

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The micro-batch's part of the step's loss: the sum of its rows' losses divided by the step's rows."""
        losses, terms = self.row_losses(model, inputs)
        self._add_terms(losses, terms, counts=STAND_IN not in inputs)
        if STAND_IN in inputs:  # this rank has no rows in this step but must join the collective
            nothing: torch.Tensor = losses.sum() * 0
            return nothing
        rows = num_items_in_batch if num_items_in_batch is not None else len(losses)
        processes = self.accelerator.num_processes  # DDP divides gradients by them
        loss: torch.Tensor = losses.sum() / rows * processes
        return loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        rows = sum(len(batch["input_ids"]) for batch in batch_samples if STAND_IN not in batch)
        return self._sum_over_ranks(rows, device) if self.args.world_size > 1 else rows

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """One forward and backward pass; stops at a non-finite loss."""
        self._step_inputs.append(inputs["input_ids"])
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            if self.args.world_size > 1:  # its gradient is not finite either, so all ranks see it and stop together
                self._lost = self._lost or f"the loss is {loss.item()}"
            else:
                self._diverged(f"the loss is {loss.item()}")
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        if not np.isfinite(float(norm)):
            self._diverged(self._lost or f"the gradient's norm is {float(norm)}")
        self._step_inputs.clear()
        return norm

    def _diverged(self, what: str) -> None:
        step = self.state.global_step + 1
        output = self._output
        good = next((folder.name for folder in checkpoint_folders(output)), None)
        where = ""
        if self._step_inputs and self.processing_class is not None:
            texts = [
                text
                for input_ids in self._step_inputs
                for text in self.processing_class.batch_decode(input_ids.flatten(0, -2), skip_special_tokens=True)
            ]
            path = output / (f"diverged-{self.args.process_index}.json" if self.args.world_size > 1 else DIVERGED)
            write_json(path, {"step": step, "what": what, "texts": texts})
            where = f" The step's texts are in {path}."
        raise DivergedError(
            f"Step {step}: {what}, so training stopped before the weights changed. The last good checkpoint is "
            f"{good or 'none'}.{where} Lower the learning rate or β, or train in float32."
        )

    # The order of the data ------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Length-grouped batches, read from Arrow."""
        rows: Any = self.train_dataset
        self._batches = LengthGroupedBatches(
            column_array(rows, "length"),
            self._train_batch_size * self.args.world_size,
            self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            rank=self.args.process_index,
            ranks=self.args.world_size,
            accumulation=self.args.gradient_accumulation_steps,
            drop_last=self.args.dataloader_drop_last,
        )
        loader = DataLoader(
            TokenRows(rows),
            batch_sampler=self._batches,
            collate_fn=self._collator(),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
        )
        # the batches are already split by rank: accelerate would pad the last one with rows that then count twice
        shared: DataLoader[Any] = prepare_data_loader(
            loader, device=self.args.device, num_processes=1, process_index=0, put_on_device=True
        )
        return shared

    def _run_epoch(self, *args: Any, **keywords: Any) -> None:
        if not self._rises_no_longer():  # possible when the last checkpoint of a finished training is resumed
            self._batches.set_epoch(keywords["epoch"])
            super()._run_epoch(*args, **keywords)  # type: ignore[no-untyped-call]
        if self._rises_no_longer():
            self.control.should_training_stop = True

    def _rises_no_longer(self) -> bool:
        """Whether the development scores, which checkpoints store, end the training."""
        name = f"eval_{self.args.metric_for_best_model}"
        scores = [entry[name] for entry in self.state.log_history if name in entry]
        if self.patience is None or not scores:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= self.patience

    def _collator(self) -> Collator:
        on_gpu = self.args.device.type == "cuda"
        round_length = partial(gpu_length, positions=longest_input(self.model.config)) if on_gpu else int
        config = self.accelerator.unwrap_model(self.model).config
        return collator_for(config, self.teacher_layers, round_length)

    # Evaluation -----------------------------------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the development rows, each rank its share; changes neither the random state nor the order."""
        rows: Any = (
            self.eval_dataset if eval_dataset is None else _encoded(eval_dataset, self.processing_class, self.model)
        )
        if rows is None:
            raise ValueError("evaluate() needs an eval_dataset.")
        logits, labels = self._logits_on_all_ranks(rows), label_array(rows)
        metrics = self._scores(logits, labels, metric_key_prefix)
        if eval_dataset is None and self._averaged is not None and self._averaged.is_begun:
            with self._averaged.in_place():
                of_average = self._logits_on_all_ranks(rows)
            logits, metrics = self._better(metrics, logits, of_average, labels, metric_key_prefix)
        blind = self.outputs.kind.scoring.blind_spots(logits, labels, self._names(logits))
        self._blind_spots[str(self.state.global_step)] = dataclasses.asdict(blind)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _better(
        self, raw: dict[str, float], logits: np.ndarray, of_average: np.ndarray, labels: np.ndarray, prefix: str
    ) -> tuple[np.ndarray, dict[str, float]]:
        """The logits and scores of the raw or the averaged weights, whichever are better; raw on a tie."""
        averaged = self._scores(of_average, labels, prefix)
        by = (self.args.metric_for_best_model or self.outputs.kind.scoring.metric).removeprefix("eval_")
        one, other = raw[f"{prefix}_{by}"], averaged[f"{prefix}_{by}"]
        wins = other < one if self.args.greater_is_better is False else other > one
        entropy = f"{prefix}_{_CROSS_ENTROPY}"
        if self.kept_epoch == "calibrated" and entropy in raw and self._is_level(min(one, other), max(one, other)):
            wins = averaged[entropy] < raw[entropy]
        both = {f"raw_{by}": one, f"averaged_{by}": other, "averaged": float(wins)}
        return (of_average, {**averaged, **both}) if wins else (logits, {**raw, **both})

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        before = self.state.best_global_step
        is_best: bool = super()._determine_best_metric(metrics, trial)
        if self.kept_epoch == "best" or self.args.greater_is_better is False or not before:
            return is_best
        by = f"eval_{str(self.args.metric_for_best_model).removeprefix('eval_')}"
        best = float(self.state.best_metric or 0.0)
        wins = self._is_level(metrics[by], best)
        entropy = f"eval_{_CROSS_ENTROPY}"
        if self.kept_epoch == "calibrated" and entropy not in metrics:
            wins = is_best
        elif self.kept_epoch == "calibrated":
            kept = next(entry for entry in self.state.log_history if by in entry and entry["step"] == before)
            if metrics[entropy] >= kept[entropy]:
                wins = is_best and not self._is_level(kept[by], best)
        self.state.best_global_step = self.state.global_step if wins else before
        return wins

    def _is_level(self, score: float, best: float) -> bool:
        rows = len(cast("datasets.Dataset", self.eval_dataset))
        return is_level(score, best, rows, _LEVEL[self.kept_epoch])

    def _load_best_model(self) -> None:
        super()._load_best_model()
        step = self.state.best_global_step
        if any(entry.get("averaged") and entry["step"] == step for entry in self.state.log_history):
            load_averaged(self.accelerator.unwrap_model(self.model), Path(str(self.state.best_model_checkpoint)))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._averaged is not None and self.args.should_save:
            self._averaged.save(Path(output_dir))

    def predict(self, test_dataset: Any, ignore_keys: Any = None, metric_key_prefix: str = "test") -> PredictionOutput:
        """Logits of rows in order and, if every row has a label, the labels and the scores."""
        rows: Any = _encoded(test_dataset, self.processing_class, self.model)
        logits = self._logits_on_all_ranks(rows)
        labels = None if has_unlabelled(rows) else label_array(rows)
        metrics = {} if labels is None else self._scores(logits, labels, metric_key_prefix)
        self.control = self.callback_handler.on_predict(self.args, self.state, self.control, metrics)
        return PredictionOutput(logits, labels, metrics)

    def blind_spots_at(self, step: float) -> BlindSpots:
        """The model's blind spots on the development rows at a step."""
        return BlindSpots(**self._blind_spots.get(str(int(step)), {}))

    def _names(self, logits: np.ndarray) -> tuple[str, ...]:
        """The names of the outputs; for multiple choice without a fixed number of choices, their letters."""
        return self.outputs.label_names or tuple(chr(ord("A") + number) for number in range(logits.shape[1]))

    def _scores(self, logits: np.ndarray, labels: np.ndarray, prefix: str) -> dict[str, float]:
        scores = self.outputs.kind.scoring.score(logits, labels)
        return {f"{prefix}_{name}": float(value) for name, value in scores.items()}

    def _logits_on_all_ranks(self, rows: Any) -> np.ndarray:
        """Logits [N, C] (where words have tags [N, W, C]) of all rows in order, on every rank."""
        dtype = torch.bfloat16 if self.args.bf16 else None
        ranks = self.args.world_size
        if ranks == 1 or self.is_fsdp_enabled:  # with sharded weights every rank joins each forward pass
            return answer_rows(self.model, rows, autocast_dtype=dtype).logits
        mine = range(self.args.process_index, len(rows), ranks)
        answers = answer_rows(self.model, rows.select(mine), autocast_dtype=dtype)
        together = torch.zeros(len(rows), *self._shape_of_a_row(rows, answers.logits), device=self.args.device)
        own = together[mine.start :: ranks]
        if own.dim() > 2:  # words that a row does not have
            own[:] = torch.nan
            own = own[:, : answers.logits.shape[1]]
        own[:] = torch.from_numpy(answers.logits).to(self.args.device)
        logits: np.ndarray = self.accelerator.reduce(together).cpu().numpy()
        return logits

    def _shape_of_a_row(self, rows: Any, logits: np.ndarray) -> tuple[int, ...]:
        """[C], or where words have tags [W, C] with W the words of the longest of all ranks' rows."""
        if logits.ndim == 2:
            return logits.shape[1:]
        return max(words_a_row(rows)), logits.shape[2]

    # Logs -----------------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log each loss term's mean over the rows since the last log, as `loss/ce`, `loss/kd`, `loss/pt`."""
        if "loss" in logs and self._term_sums:
            sums, rows = self._terms_of_all()
            logs |= {name: sums[name] / max(1, rows[name]) for name in sums}
            self._term_sums.clear()
            self._term_rows.clear()
        super().log(logs, start_time)

    def _terms_of_all(self) -> tuple[dict[str, float], dict[str, int]]:
        """The sums of the loss terms and their rows, over all ranks."""
        names = list(self._term_sums)
        mine = [[self._term_sums[name].item(), float(self._term_rows[name])] for name in names]
        if self.args.world_size > 1:
            totals = self.accelerator.reduce(torch.tensor(mine, dtype=torch.float64, device=self.args.device)).tolist()
        else:
            totals = mine
        both = dict(zip(names, totals, strict=True))
        return {name: total[0] for name, total in both.items()}, {name: int(total[1]) for name, total in both.items()}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.args.world_size > 1:  # a checkpoint stores the sums of all ranks, and rank 0 continues with them
            sums, rows = self._terms_of_all()
            self._keep_terms(sums, rows)
        super()._save_checkpoint(model, trial)

    def _keep_terms(self, sums: dict[str, float], rows: dict[str, int]) -> None:
        holds = self.args.process_index == 0
        self._term_sums = {
            name: torch.tensor(total if holds else 0.0, dtype=torch.float64, device=self.args.device)
            for name, total in sums.items()
        }
        self._term_rows = {name: count if holds else 0 for name, count in rows.items()}

    def _add_terms(self, losses: torch.Tensor, terms: dict[str, torch.Tensor], *, counts: bool) -> None:
        for name, values in {"loss": losses, **{f"loss/{term}": values for term, values in terms.items()}}.items():
            total = values.detach().double().sum() * counts
            self._term_sums[name] = self._term_sums[name] + total if name in self._term_sums else total
            self._term_rows[name] = self._term_rows.get(name, 0) + len(values) * counts

    def _inputs(self) -> dict[str, Any]:
        return {**super()._inputs(), "averaging": self.averaging, "kept_epoch": self.kept_epoch}

    def _before_first_step(self) -> None:
        super()._before_first_step()
        self._goes_on_from = None

    def _counters(self) -> dict[str, Any]:
        sums = {name: total.item() for name, total in self._term_sums.items()}
        seen = {"blind_spots": self._blind_spots}
        return {**super()._counters(), "term_sums": sums, "term_rows": self._term_rows, **seen}

    def _restore_counters(self, checkpoint: Path) -> dict[str, Any]:
        counters = super()._restore_counters(checkpoint)
        self._goes_on_from = checkpoint
        self._keep_terms(counters["term_sums"], counters["term_rows"])
        self._blind_spots = counters["blind_spots"]
        return counters


class _Average(TrainerCallback):
    """Updates the average of the weights after each step."""

    def __init__(self, trainer: RowMeanTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        trainer = self.trainer
        assert trainer.averaging != "none"  # the callback is added only then
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            raise RecipeError(
                f"{named('training.averaging')} is {trainer.averaging}, but weights that are sharded over processes "
                f"are not averaged. Train without sharding, or give {set_to('training.averaging', 'none')}."
            )
        model = trainer.accelerator.unwrap_model(trainer.model)
        trainer._averaged = AveragedWeights(trainer.averaging, model, state.max_steps, trainer._words)
        if trainer._goes_on_from is not None:
            trainer._averaged.load(trainer._goes_on_from)

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        if self.trainer._averaged is not None:
            self.trainer._averaged.update(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        average, self.trainer._averaged = self.trainer._averaged, None
        if average is not None and average.is_begun and not args.load_best_model_at_end:
            average.keep()


def _encoded(rows: Any, tokenizer: Any, model: PreTrainedModel, *, masks: bool = False) -> Any:
    if rows is None or "input_ids" in rows.column_names:
        return rows
    if tokenizer is None:
        raise RecipeError("The rows are texts; give processing_class=tokenizer, the one of the model that is trained.")
    longest = longest_input(model.config)
    return encode(rows, tokenizer, min(tokenizer.model_max_length, longest), masks=masks)
