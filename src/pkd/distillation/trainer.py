"""`PatientTrainer`: a Trainer whose loss is L_PKD, on rows with their teacher's answers."""

from __future__ import annotations

from copy import copy
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PreTrainedModel, TrainingArguments

from pkd import progress, ranks
from pkd.data.arrays import column_array
from pkd.data.batching import CLS_STATES, TokenRows, first_batches, has_unlabelled, is_labelled, stored_teacher_layers
from pkd.distillation.layers import LayerMap
from pkd.distillation.ledger import BATCHES, PatientLoss, measure_terms, term_rows
from pkd.distillation.terms import columns_read, objective_of, rows_with, settled_loss, weighed, weighted
from pkd.distillation.units import unit_deviations
from pkd.encoder.families import check_pooling
from pkd.errors import DataError, RecipeError
from pkd.recipe.reading import validate
from pkd.recipe.settings import LossSettings, TrainingSettings
from pkd.recipe.spelling import named
from pkd.runs.seal import read_manifest
from pkd.training.schedule import STUDENT_EPOCHS
from pkd.training.trainer import RowLosses, RowMeanTrainer


@dataclass
class PatientTrainingArguments(TrainingArguments, LossSettings):
    """`transformers.TrainingArguments` with the settings of L_PKD, and the product's defaults where they differ.

    The settings of the loss are keyword-only: `PatientTrainingArguments("out", temperature=10, patience=0.3)`.
    Patience is given as its share of the gradient, or as its weight `beta`; without either it has the default share.

    Raises:
        RecipeError: if a setting of the loss is out of its range, or both `patience` and `beta` are given.
    """

    num_train_epochs: float = STUDENT_EPOCHS
    per_device_train_batch_size: int = TrainingSettings.per_device_train_batch_size
    weight_decay: float = TrainingSettings.weight_decay
    warmup_steps: float = TrainingSettings.warmup_steps

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        # transformers' `__post_init__` does not call the next class's, so the ranges of the loss are checked here
        checked = validate(LossSettings, vars(loss_settings(self)), "PatientTrainingArguments")
        self.normalize = checked.normalize
        if self.patience is not None and self.beta is not None:
            raise RecipeError(
                f"PatientTrainingArguments: patience is {self.patience:g}, and beta is {self.beta:g}: the one is the "
                "share of the gradient that sets the other; give one of the two."
            )


def loss_settings(values: LossSettings) -> LossSettings:
    """The settings of the loss alone, from any object that has them."""
    return LossSettings(**{name: getattr(values, name) for name in LossSettings.__dataclass_fields__})


class PatientTrainer(RowMeanTrainer):
    """Trains a student on annotated rows by L_PKD = (1 − α) L_CE + α L_DS + β L_PT.

    A row without a label has L_DS + β L_PT alone. Only terms that contribute to the loss are computed: β = 0 leaves
    out patience, and with α = 0 as well it is plain fine-tuning. Each is logged: `loss/ce`, `loss/kd`, `loss/pt`. If
    patience is given as a share, β is measured before the first step, on the first batches without dropout, and stored
    with the checkpoints, so that a resumed training uses the same β.

    Args:
        model: the student.
        args: `PatientTrainingArguments`.
        layer_map: which teacher layers teach which student layers; not needed without patience.
        train_dataset: rows of `pkd.annotate`. They and evaluated rows are truncated where the teacher cut them, and
            `save_model` saves that length with the tokenizer.
        processing_class: the student's tokenizer, as a rule its teacher's; the rows hold no word pieces.

    Other arguments are the Trainer's.

    Raises:
        DataError: if the rows lack answers that the loss needs.
        RecipeError: if there is patience and no layer map.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: PatientTrainingArguments,
        *,
        layer_map: LayerMap | None = None,
        train_dataset: datasets.Dataset | None = None,
        processing_class: Any = None,
        **keywords: Any,
    ) -> None:
        self.loss_settings = loss_settings(args)
        if args.has_patience and layer_map is None:
            share = args.patience_share
            told = f"{named('beta')} is {args.beta}" if share is None else f"{named('patience')} is {share}"
            raise RecipeError(f"{told}, but there is no layer map. Give layer_map=LayerMap.skip(...), or set beta=0.")
        if args.has_patience:
            check_pooling(str(model.config.name_or_path) or "the student", model.config)
        self.layer_map = layer_map if args.has_patience else None
        self._has_unlabelled = train_dataset is not None and has_unlabelled(train_dataset)
        self.terms = objective_of(self.loss_settings, unlabelled=self._has_unlabelled)
        if train_dataset is not None:
            _check_annotated(train_dataset, columns_read(self.terms), self.teacher_layers)
            processing_class = _cutting_alike(processing_class, train_dataset)
        super().__init__(model, args, train_dataset=train_dataset, processing_class=processing_class, **keywords)
        self.asked_settings = self.loss_settings = settled_loss(self.loss_settings, self.outputs.kind)

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """The teacher layers whose [CLS] states are compared, in the order of the student's."""
        return self.layer_map.teacher if self.layer_map else ()

    def row_losses(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> RowLosses:
        """L_PKD of each row [B], and its terms."""
        values = term_rows(model, inputs, self.terms, self._loss(), self.outputs.kind)
        labelled = is_labelled(inputs["labels"]) if self._has_unlabelled else None
        loss = torch.zeros_like(values[self.terms[0].name])  # [B]
        for term in self.terms:
            loss = loss + weighted(term, values[term.name], self.loss_settings, labelled)
        logged = {term.name: rows_with(term, values[term.name], self.loss_settings, labelled) for term in self.terms}
        return loss, logged

    def _loss(self) -> PatientLoss:
        return PatientLoss(self.loss_settings, self.layer_map, self._deviations)

    @cached_property
    def _deviations(self) -> torch.Tensor | None:
        """[K, H], of the teacher's units over the training rows; None if states are not compared by them."""
        rows: Any = self.train_dataset
        if self.layer_map is None or self.loss_settings.normalize != "units":
            return None
        return unit_deviations(rows, self.layer_map.teacher).to(self.args.device)

    # The size of patience -------------------------------------------------------------------------------------------

    def _before_first_step(self) -> None:
        super()._before_first_step()
        if self.loss_settings.patience_share:
            beta = ranks.on_first(self._measured_beta)
            self.loss_settings = weighed(self.loss_settings, beta)
            share = 100 * (self.asked_settings.patience_share or 0.0)
            progress.note(f"β is {beta:g}: with it patience has {share:g} % of the gradient as the student starts")

    def _measured_beta(self) -> float:
        rows: Any = self.train_dataset
        lengths = column_array(rows, "length")
        order = first_batches(
            len(rows),
            lambda picked: lengths[picked],
            self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,  # of a whole step
            self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            accumulation=1,
            most=BATCHES,
        )
        collate, table = self._collator(), TokenRows(rows)
        terms = measure_terms(
            self.accelerator.unwrap_model(self.model),
            [collate(table.__getitems__(batch.tolist())) for batch in order],
            self._loss(),
            rows_at_once=self._train_batch_size,
            autocast_dtype=torch.bfloat16 if self.args.bf16 else None,
        )
        return next(entry.weight for entry in terms if entry.name == "pt")

    def _inputs(self) -> dict[str, Any]:
        pairs = self.layer_map.pairs if self.layer_map else None
        return {**super()._inputs(), "loss": asdict(self.asked_settings), "layer_map": pairs}

    def _counters(self) -> dict[str, Any]:
        return {**super()._counters(), "beta": self.loss_settings.beta}

    def _restore_counters(self, checkpoint: Path) -> dict[str, Any]:
        counters = super()._restore_counters(checkpoint)
        self.loss_settings = weighed(self.loss_settings, counters["beta"])
        return counters


def _cutting_alike(tokenizer: Any, rows: datasets.Dataset) -> Any:
    """The tokenizer, truncating texts to the length of annotated rows if the manifests of their folders give it."""
    manifests = [read_manifest(folder) for folder in {Path(file["filename"]).parent for file in rows.cache_files}]
    lengths = [manifest.inputs["max_length"] for manifest in manifests if manifest and "max_length" in manifest.inputs]
    if tokenizer is None or not lengths:
        return tokenizer
    tokenizer = copy(tokenizer)  # leaves the caller's unchanged
    tokenizer.model_max_length = max(lengths)
    return tokenizer


def _check_annotated(rows: datasets.Dataset, columns: set[str], teacher_layers: tuple[int, ...]) -> None:
    for column in sorted(columns - {CLS_STATES} - set(rows.column_names)):  # states are checked by layer
        raise DataError(
            f"The training rows have no column {column!r}; columns: {', '.join(rows.column_names)}. "
            "Annotate them first: train = pkd.annotate(train, teacher, output=...)."
        )
    if missing := sorted(set(teacher_layers) - set(stored_teacher_layers(rows))):
        raise DataError(
            f"The training rows carry the teacher's [CLS] states of layers {list(stored_teacher_layers(rows))}, but "
            f"the layer map needs {missing} too. Annotate them with teacher_layers={list(teacher_layers)}."
        )
