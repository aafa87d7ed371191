"""`PatientTrainer`: a Trainer whose loss is L_PKD, on rows that carry their teacher's answers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PreTrainedModel, TrainingArguments

from pkd.data.batching import has_unlabelled, is_labelled, stored_teacher_layers
from pkd.distillation.layers import LayerMap
from pkd.distillation.projection import projected
from pkd.distillation.terms import Term, TermInputs, columns_read, objective_of, rows_with, weighted
from pkd.encoder.inference import ask_for_layers, cls_states_of, model_inputs
from pkd.errors import DataError, RecipeError
from pkd.recipe.reading import validate
from pkd.recipe.settings import LossSettings, TrainingSettings
from pkd.recipe.spelling import named
from pkd.storage.seal import read_manifest
from pkd.tasks import TaskKind
from pkd.training.schedule import STUDENT_EPOCHS
from pkd.training.trainer import RowLosses, RowMeanTrainer


@dataclass
class PatientTrainingArguments(TrainingArguments, LossSettings):
    """`transformers.TrainingArguments` with the settings of L_PKD, and the product's defaults where they differ.

    The settings of the loss are keyword-only: `PatientTrainingArguments("out", temperature=10, alpha=0.5, beta=100)`.

    Raises:
        RecipeError: if a setting of the loss is out of its range.
    """

    num_train_epochs: float = STUDENT_EPOCHS
    per_device_train_batch_size: int = TrainingSettings.per_device_train_batch_size
    weight_decay: float = TrainingSettings.weight_decay
    warmup_steps: float = TrainingSettings.warmup_steps

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        # the Trainer's own does not call on, so the loss's ranges are checked here
        validate(LossSettings, vars(loss_settings(self)), "PatientTrainingArguments")


def loss_settings(values: LossSettings) -> LossSettings:
    """The settings of the loss alone, out of anything that has them."""
    return LossSettings(**{name: getattr(values, name) for name in LossSettings.__dataclass_fields__})


class PatientTrainer(RowMeanTrainer):
    """Trains a student on annotated rows by L_PKD = (1 − α) L_CE + α L_DS + β L_PT.

    A row without a label learns by L_DS + β L_PT alone. Only terms that reach the loss are computed: with β = 0 there
    is no patience, with α = 0 as well it is plain fine-tuning. Each is logged: `loss/ce`, `loss/kd`, `loss/pt`.

    Args:
        model: the student.
        args: `PatientTrainingArguments`.
        layer_map: which teacher layers teach which student layers; not needed where β is 0.
        train_dataset: rows of `pkd.annotate`. Evaluated rows that are still text are cut to the length that these were
            cut to, and so are, for `save_model` saves it, those that the trained student will read.
        processing_class: the teacher's tokenizer.

    Other arguments are the Trainer's.

    Raises:
        DataError: if the rows do not carry the answers that the loss needs.
        RecipeError: if β is above 0 and there is no layer map.
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
        if args.beta > 0 and layer_map is None:
            raise RecipeError(
                f"{named('beta')} is {args.beta}, but there is no layer map. Give layer_map=LayerMap.skip(...), or "
                "set beta=0."
            )
        self.layer_map = layer_map if args.beta > 0 else None
        self._has_unlabelled = train_dataset is not None and has_unlabelled(train_dataset)
        self.terms = objective_of(self.loss_settings, unlabelled=self._has_unlabelled)
        if train_dataset is not None:
            _check_annotated(train_dataset, columns_read(self.terms), self.teacher_layers)
            processing_class = _cutting_alike(processing_class, train_dataset)
        super().__init__(model, args, train_dataset=train_dataset, processing_class=processing_class, **keywords)

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """The teacher layers whose [CLS] states reach the loss, in the order of the student's."""
        return self.layer_map.teacher if self.layer_map else ()

    def row_losses(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> RowLosses:
        """L_PKD of each row [B], and its terms."""
        values = term_rows(model, inputs, self.terms, self.loss_settings, self.layer_map, self.outputs.kind)
        labelled = is_labelled(inputs["labels"]) if self._has_unlabelled else None
        loss = torch.zeros_like(values[self.terms[0].name])  # [B]
        for term in self.terms:
            loss = loss + weighted(term, values[term.name], self.loss_settings, labelled)
        logged = {term.name: rows_with(term, values[term.name], self.loss_settings, labelled) for term in self.terms}
        return loss, logged

    def _inputs(self) -> dict[str, Any]:
        pairs = self.layer_map.pairs if self.layer_map else None
        return {**super()._inputs(), "loss": asdict(self.loss_settings), "layer_map": pairs}


def term_rows(
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    objective: Sequence[Term],
    settings: LossSettings,
    layer_map: LayerMap | None,
    kind: TaskKind,
) -> dict[str, torch.Tensor]:
    """Each term's value per row, [B], from one forward pass of the student over a batch."""
    student_layers = layer_map.student if layer_map else ()
    output: Any = model(**model_inputs(inputs, model), **ask_for_layers(student_layers))
    cls_states = teacher_cls_states = None
    if student_layers:
        states = projected(model, cls_states_of(output.hidden_states, student_layers, len(inputs["labels"])))
        teacher_cls_states = inputs["teacher_cls_states"].view_as(states).flatten(1, -2)
        cls_states = states.flatten(1, -2)  # [B, K, (N,) H] -> [B, K · N, H]: every choice counts as a layer
    batch = TermInputs(
        settings=settings,
        kind=kind,
        logits=output.logits,
        labels=inputs["labels"],
        teacher_logits=inputs.get("teacher_logits"),
        cls_states=cls_states,
        teacher_cls_states=teacher_cls_states,
    )
    return {term.name: term.row_losses(batch) for term in objective}


def _cutting_alike(tokenizer: Any, rows: datasets.Dataset) -> Any:
    """The tokenizer, cutting texts to the length that annotated rows were cut to, where their folders say it."""
    manifests = [read_manifest(folder) for folder in {Path(file["filename"]).parent for file in rows.cache_files}]
    lengths = [manifest.inputs["max_length"] for manifest in manifests if manifest and "max_length" in manifest.inputs]
    if tokenizer is None or not lengths:
        return tokenizer
    tokenizer = copy(tokenizer)  # the caller's stays as it is
    tokenizer.model_max_length = max(lengths)
    return tokenizer


def _check_annotated(rows: datasets.Dataset, columns: set[str], teacher_layers: tuple[int, ...]) -> None:
    for column in sorted(columns - {"teacher_cls_states"} - set(rows.column_names)):  # states are checked by layer
        raise DataError(
            f"The training rows have no column {column!r}; columns: {', '.join(rows.column_names)}. "
            "Annotate them first: train = pkd.annotate(train, teacher, output=...)."
        )
    if missing := sorted(set(teacher_layers) - set(stored_teacher_layers(rows))):
        raise DataError(
            f"The training rows carry the teacher's [CLS] states of layers {list(stored_teacher_layers(rows))}, but "
            f"the layer map needs {missing} too. Annotate them with teacher_layers={list(teacher_layers)}."
        )
