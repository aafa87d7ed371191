"""A Trainer that skips work that does not contribute to the loss, with identical weights, losses and checkpoints.

The last layer runs for [CLS] only, embeddings of word pieces that occur in no training row are not trained, and
gradients that need no clipping are not rewritten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments
from transformers.trainer_utils import TrainOutput

from pkd.data.batching import fingerprint_batches
from pkd.data.tokenize import occurring_pieces
from pkd.encoder.shortcut import cls_only
from pkd.encoder.vocabulary import OccurringEmbedding, occurring_only
from pkd.runs.fingerprint import fingerprint
from pkd.training.resuming import ResumableTrainer


class EconomicalTrainer(ResumableTrainer):
    """A `ResumableTrainer` for classifiers on rows with `input_ids`."""

    def __init__(self, model: Any, args: TrainingArguments, **keywords: Any) -> None:
        super().__init__(model, args, **keywords)
        self._words: OccurringEmbedding | None = None

    def train(
        self, resume_from_checkpoint: Any = None, trial: Any = None, ignore_keys_for_eval: list[str] | None = None
    ) -> TrainOutput:
        """Train without the work that does not contribute to the loss; a second call starts with a new optimiser."""
        with self._without_wasted_work():
            return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    @contextlib.contextmanager
    def _without_wasted_work(self) -> Iterator[None]:
        with cls_only(self.model):
            if not self._makes_adamw:
                yield
            else:
                try:
                    with occurring_only(self.model, self._occurs) as self._words:
                        yield
                finally:
                    if self._words is not None:  # the model no longer has the optimiser's parameter
                        self._words = self.optimizer = None

    @property
    def _makes_adamw(self) -> bool:
        """Whether the optimiser will be AdamW over unsharded tensors, created here."""
        made_here = self.optimizer is None and self.optimizer_cls_and_kwargs is None and self.model_init is None
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        kind: Any = self.args.optim
        return made_here and not sharded and str(getattr(kind, "value", kind)).startswith("adamw_torch")

    @cached_property
    def _occurs(self) -> np.ndarray:
        rows: Any = self.train_dataset
        occurs = occurring_pieces(rows, self.model.get_input_embeddings().num_embeddings)
        occurs[self._pad_token_id] = True  # in no row, but in most batches
        return occurs

    @property
    def _pad_token_id(self) -> int:
        """The id that pads batches; 0 for a model without one, which its attention masks."""
        return self.model.config.pad_token_id or 0

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimiser, and track its weight decay for the word pieces that do not occur."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if self._words is not None:
            self._words.follow(optimizer)
        return optimizer

    def _clip_grad_norm(self, model: Any) -> Any:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or self.accelerator.scaler is not None:
            return super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        if not norm <= self.args.max_grad_norm:  # the stock method multiplies every gradient by 1 then
            torch.nn.utils.clip_grads_with_norm_(parameters, self.args.max_grad_norm, norm)
        return norm

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: the stock count walks all modules at every step, and nothing reads it."""
        return 0

    # Checkpoints ----------------------------------------------------------------------------------------------------

    def _inputs(self) -> dict[str, Any]:
        words: dict[str, Any] = {}
        if self._words is not None:
            words["word_pieces"] = fingerprint({"occur": np.flatnonzero(self._occurs).tolist()})
        if not self.resumed_with:  # a job's `resumed_with` already contains the hashes of its rows
            words["row_contents"] = self._row_contents
        return {**super()._inputs(), **words}

    @cached_property
    def _row_contents(self) -> str:
        rows: Any = self.train_dataset
        return fingerprint_batches(rows)

    def _counters(self) -> dict[str, Any]:
        decay = self._words.decay if self._words is not None else 1.0
        return {**super()._counters(), "decay": decay}

    def _restore_counters(self, checkpoint: Path) -> dict[str, Any]:
        counters = super()._restore_counters(checkpoint)
        if self._words is not None:
            self._words.decay = counters["decay"]
        return counters
