"""A tiny classifier of each family that is promised to work."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

_COMMON: dict[str, Any] = {
    "vocab_size": 31,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_hidden_layers": 6,
    "max_position_embeddings": 66,
    "num_labels": 3,
    "pad_token_id": 0,
}

CONFIGS = {
    "bert": BertConfig(**_COMMON),
    "roberta": RobertaConfig(**_COMMON),
    "xlm-roberta": XLMRobertaConfig(**_COMMON),
    "camembert": CamembertConfig(**_COMMON),
    "electra": ElectraConfig(**_COMMON, embedding_size=8),
    "distilbert": DistilBertConfig(
        vocab_size=31, dim=16, n_layers=6, n_heads=2, hidden_dim=24, max_position_embeddings=66, num_labels=3
    ),
    "mpnet": MPNetConfig(**_COMMON),
    "deberta-v2": DebertaV2Config(
        **_COMMON,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        conv_kernel_size=3,
    ),
    "modernbert": ModernBertConfig(
        **_COMMON, classifier_pooling="cls", cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3
    ),
}


def make_classifier(kind: str, **changed: Any) -> PreTrainedModel:
    torch.manual_seed(1)
    config = copy.deepcopy(CONFIGS[kind])
    config.update(changed)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():  # biases and norms that start at 0 and 1 would hide a weight that was not copied
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()
