"""Compute the last layer for [CLS] only: exact, and without work that does not contribute to the loss.

A classifier's head reads one position of the last layer. So the queries, the output projection and the feed-forward
run for that position, keys and values for all. Logits and gradients equal those of the full layer; weights and their
names do not change.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pkd.encoder.families import family_of, layers_of
from pkd.tasks import is_token_classification

_SUPPORTED_ATTENTION = ("sdpa",)


@contextlib.contextmanager
def cls_only(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block the last layer returns only [CLS], [B, 1, H].

    Families with other layers are unchanged, and models that read every position.
    """
    config = model.config
    if (
        is_token_classification([type(model).__name__])
        or not family_of(config).bert_layer
        or config._attn_implementation not in _SUPPORTED_ATTENTION
    ):
        yield
        return
    last = layers_of(model)[-1]
    if "forward" in vars(last):  # evaluation during training: the shortcut is already on
        yield
        return
    last.forward = types.MethodType(_cls_forward, last)
    try:
        yield
    finally:
        del last.forward


def _cls_forward(
    layer: nn.Module, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *args: Any, **kwargs: Any
) -> torch.Tensor:
    bert: Any = layer  # attribute access on a Module is typed Tensor | Module
    attention = bert.attention.self
    cls_states = hidden_states[:, :1]  # [B, 1, H]

    def split_heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

    attend = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
    context, _ = attend(
        attention,
        split_heads(attention.query(cls_states)),  # [B, heads, 1, H / heads]
        split_heads(attention.key(hidden_states)),
        split_heads(attention.value(hidden_states)),
        None if attention_mask is None else attention_mask[:, :, :1],
        dropout=attention.dropout.p if attention.training else 0.0,
        scaling=attention.scaling,
    )
    context = context.reshape(*cls_states.shape[:2], -1).contiguous()
    output: torch.Tensor = bert.feed_forward_chunk(bert.attention.output(context, cls_states))
    return output
