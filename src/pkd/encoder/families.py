"""The table of architectures: where their layers are, and the configuration's names.

A new encoder is one entry, if its layers are a plain list and its head reads the first position.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from pkd.errors import TeacherError
from pkd.recipe.spelling import set_to
from pkd.tasks import is_token_classification


@dataclass(frozen=True)
class FeedForward:
    """The feed-forward part of a layer: a neuron is one input of `outer`.

    Attributes:
        inner: attribute path from a layer to the linear map that makes the neurons.
        outer: attribute path from a layer to the linear map that reads them.
        gated: whether `inner` makes each neuron twice, all values first and all gates after them, whose product `outer`
            reads.
        neurons: the configuration key of their number.
    """

    inner: str = "intermediate.dense"
    outer: str = "output.dense"
    gated: bool = False
    neurons: str = "intermediate_size"


@dataclass(frozen=True)
class Family:
    """One architecture.

    Attributes:
        layers: attribute path from the classifier to its list of layers.
        depth: the configuration key of their number.
        feed_forward: where a layer's neurons are.
        bert_layer: whether its layers are built like BERT's, which the [CLS] shortcut needs.
        padded_positions: whether position ids begin after the padding token's, as in RoBERTa.
        token_types: whether it embeds token types, `type_vocab_size` of them.
        pretrained_with: name prefixes of pretraining weights that a classifier does not need.
    """

    layers: str
    depth: str = "num_hidden_layers"
    feed_forward: FeedForward = FeedForward()
    bert_layer: bool = False
    padded_positions: bool = False
    token_types: bool = True
    pretrained_with: tuple[str, ...] = ()


_ROBERTA = Family(
    "roberta.encoder.layer",
    bert_layer=True,
    padded_positions=True,
    pretrained_with=("lm_head.", "roberta.pooler."),
)
FAMILIES = {
    "bert": Family(
        "bert.encoder.layer", bert_layer=True, pretrained_with=("cls.predictions.", "cls.seq_relationship.")
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Family(
        "electra.encoder.layer",
        bert_layer=True,
        pretrained_with=("generator_predictions.", "generator_lm_head.", "discriminator_predictions."),
    ),
    "distilbert": Family(
        "distilbert.transformer.layer",
        depth="n_layers",
        feed_forward=FeedForward("ffn.lin1", "ffn.lin2", neurons="hidden_dim"),
        token_types=False,
        pretrained_with=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    ),
    "mpnet": Family(
        "mpnet.encoder.layer",
        padded_positions=True,
        token_types=False,
        pretrained_with=("lm_head.", "mpnet.pooler."),
    ),
    "deberta-v2": Family(
        "deberta.encoder.layer", pretrained_with=("cls.predictions.", "lm_predictions.", "mask_predictions.")
    ),
    "modernbert": Family(
        "model.layers",
        feed_forward=FeedForward("mlp.Wi", "mlp.Wo", gated=True),
        token_types=False,
        pretrained_with=("decoder.",),
    ),
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
    if is_generative(config):
        raise TeacherError(
            f"A {kind} model generates text; a BERT-like encoder is needed, whose [CLS] has read the whole of it. "
            f"{_known()}"
        )
    if kind not in FAMILIES:
        raise TeacherError(
            f"A {kind} model is not supported; a BERT-like encoder with a classification head is needed. {_known()}"
        )
    return FAMILIES[kind]


def is_generative(config: PretrainedConfig) -> bool:
    """Whether a model generates text, as GPT or T5 do, instead of reading it from both sides."""
    kind = config.model_type
    if getattr(config, "is_decoder", False) or getattr(config, "is_encoder_decoder", False):
        return True
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def check_pooling(name: str, config: PretrainedConfig) -> None:
    """Check that a model's head reads the first position, whose states patience compares; of ModernBERT it may not.

    A head that classifies tokens reads the positions that patience compares.

    Raises:
        TeacherError: if it pools over all positions.
    """
    if is_token_classification(config.architectures):
        return
    if config.model_type == "modernbert" and (pooling := getattr(config, "classifier_pooling", "cls")) != "cls":
        raise TeacherError(
            f"The head of {name} pools over all positions (classifier_pooling is {pooling!r} in its config.json), so "
            f"its [CLS] states say little, and patience would compare these: give {set_to('method', 'kd')}, or set "
            "classifier_pooling to 'cls' before it is fine-tuned."
        )


def depth_of(config: PretrainedConfig) -> int:
    """The number of layers."""
    depth: int = getattr(config, family_of(config).depth)
    return depth


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The model's layers, the first one first."""
    layers = model.get_submodule(family_of(model.config).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers


def neurons_of(config: PretrainedConfig) -> int:
    """The number of feed-forward neurons of each layer."""
    neurons: int = getattr(config, family_of(config).feed_forward.neurons)
    return neurons


def longest_input(config: PretrainedConfig) -> int:
    """The maximum number of word pieces, by the model's position embeddings."""
    positions: int = config.max_position_embeddings
    return positions - (config.pad_token_id or 0) - 1 if family_of(config).padded_positions else positions


def has_token_types(config: PretrainedConfig) -> bool:
    """Whether the model embeds a second token type, for the second text of a pair; RoBERTa models usually do not."""
    return family_of(config).token_types and getattr(config, "type_vocab_size", 0) >= 2


def cut_config(config: PretrainedConfig, start: Sequence[int], neurons: int | None = None) -> PretrainedConfig:
    """The configuration of a student that has the teacher's layers `start`, counted from 1.

    `neurons` is the number of feed-forward neurons of each; None keeps all.

    Raises:
        TeacherError: if the architecture needs one of the omitted layers.
    """
    cut: Any = copy.deepcopy(config)
    family = family_of(config)
    setattr(cut, family.depth, len(start))
    if neurons is not None:
        setattr(cut, family.feed_forward.neurons, neurons)
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
    return f"Supported families: {', '.join(FAMILIES)}."
