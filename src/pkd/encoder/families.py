"""Where each architecture keeps its layers, and what its configuration calls them.

A new encoder is one line in the table, if its layers are a plain list and its head reads the first position.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from pkd.errors import TeacherError


@dataclass(frozen=True)
class Family:
    """One architecture.

    Attributes:
        layers: path of the list of layers, from the classifier.
        depth: the configuration's name for their number.
        bert_layer: whether a layer is built as BERT's, which the [CLS] shortcut relies on.
        padded_positions: whether positions are counted from behind the padding token's, as RoBERTa does.
    """

    layers: str
    depth: str = "num_hidden_layers"
    bert_layer: bool = False
    padded_positions: bool = False


FAMILIES = {
    "bert": Family("bert.encoder.layer", bert_layer=True),
    "roberta": Family("roberta.encoder.layer", bert_layer=True, padded_positions=True),
    "xlm-roberta": Family("roberta.encoder.layer", bert_layer=True, padded_positions=True),
    "camembert": Family("roberta.encoder.layer", bert_layer=True, padded_positions=True),
    "electra": Family("electra.encoder.layer", bert_layer=True),
    "distilbert": Family("distilbert.transformer.layer", depth="n_layers"),
    "mpnet": Family("mpnet.encoder.layer", padded_positions=True),
    "deberta-v2": Family("deberta.encoder.layer"),
    "modernbert": Family("model.layers"),
}

_REFUSED = {
    "albert": "ALBERT's layers share one set of weights, so a student of fewer layers would be no smaller",
    "xlnet": "XLNet reads the last position, not [CLS]",
    "funnel": "Funnel pools positions between its layers, so they have no common [CLS] state",
}


def family_of(config: PretrainedConfig) -> Family:
    """The family of a model.

    Raises:
        TeacherError: if patient distillation does not work for it, with the reason.
    """
    kind = config.model_type
    if kind in _REFUSED:
        raise TeacherError(f"A {kind} model cannot be distilled patiently: {_REFUSED[kind]}. {_known()}")
    if kind not in FAMILIES:
        raise TeacherError(
            f"A {kind} model is not one whose layers pkd knows; a BERT-like encoder with a classification head is "
            f"needed. {_known()}"
        )
    if kind == "modernbert" and getattr(config, "classifier_pooling", "cls") != "cls":
        raise TeacherError(
            f"This ModernBERT's head pools over all positions (classifier_pooling is {config.classifier_pooling!r}), "
            "so there is no [CLS] state to be patient about. Fine-tune it with classifier_pooling='cls'."
        )
    return FAMILIES[kind]


def depth_of(config: PretrainedConfig) -> int:
    """How many layers the model has."""
    depth: int = getattr(config, family_of(config).depth)
    return depth


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The model's layers, the first one first."""
    layers = model.get_submodule(family_of(model.config).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers


def longest_input(config: PretrainedConfig) -> int:
    """How many word pieces the model's position embeddings reach."""
    positions: int = config.max_position_embeddings
    return positions - (config.pad_token_id or 0) - 1 if family_of(config).padded_positions else positions


def cut_config(config: PretrainedConfig, start: Sequence[int]) -> PretrainedConfig:
    """The configuration of a student that has the teacher's layers `start`, counted from 1.

    Raises:
        TeacherError: if the architecture cannot do without one of the layers left out.
    """
    cut: Any = copy.deepcopy(config)
    setattr(cut, family_of(config).depth, len(start))
    if config.model_type == "modernbert":
        if start[0] != 1:
            raise TeacherError(
                "A ModernBERT student must start from the teacher's first layer, which alone has no attention norm; "
                f"the start is {list(start)}."
            )
        cut.layer_types = [config.layer_types[layer - 1] for layer in start]
    student_config: PretrainedConfig = cut
    return student_config


def _known() -> str:
    return f"Families that work: {', '.join(FAMILIES)}."
