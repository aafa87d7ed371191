"""Rows in, logits and [CLS] states out: batched by length, put back in order, no dropout, no gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from pkd.data.arrays import column_array
from pkd.data.batches_by_length import batches_by_length, coarse_length, gpu_length
from pkd.data.batching import Collator, TokenRows
from pkd.data.tokenize import count_choices
from pkd.encoder.families import longest_input, has_token_types
from pkd.encoder.shortcut import cls_only

if TYPE_CHECKING:
    import datasets
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_TOKEN_TYPES = "token_type_ids"
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}


@dataclass(frozen=True)
class Answers:
    """What a classifier says of N rows: logits [N, C] and, of K layers asked for, [CLS] states [N, K, H]; float32.

    Of a multiple choice C is the number of choices, and a layer's state those of all choices, [N, K, C · H].
    """

    logits: np.ndarray
    cls_states: np.ndarray | None = None


def answer_rows(
    model: PreTrainedModel,
    rows: datasets.Dataset,
    *,
    layers: Sequence[int] = (),
    autocast_dtype: torch.dtype | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Answers:
    """Let a classifier answer every encoded row, in the order of the rows.

    Args:
        model: a classifier; it is left in the mode it was in.
        rows: with `input_ids` and `length`.
        layers: whose [CLS] states to return, counted from 1.
        autocast_dtype: compute matrix products in this type; None computes in the weights' own.
        on_batch: called with the number of rows of each finished batch.
    """
    if len(rows) == 0:
        several = "choice_lengths" in rows.column_names
        classes = int(rows.features["choice_lengths"].length if several else model.config.num_labels or 0)
        return Answers(np.zeros((0, classes), dtype=np.float32), None)
    lengths, on_cpu = column_array(rows, "length"), model.device.type == "cpu"
    padded = _padded_lengths(int(lengths.max()), longest_input(model.config), on_cpu)
    most, table = TOKENS_PER_BATCH[model.device.type], TokenRows(rows)
    collate = Collator(model.config.pad_token_id or 0, round_length=lambda longest: int(padded[longest]))
    tokens = padded[lengths] * max(1, count_choices(rows.column_names))
    logits: list[torch.Tensor] = []
    cls_states: list[torch.Tensor] = []
    order: list[np.ndarray] = []
    with _answering(model, autocast_dtype):
        for indices in batches_by_length(tokens, most):
            computed = _few_sizes(indices, most // int(tokens[indices[0]])) if on_cpu else indices
            batch = collate(table.__getitems__(computed.tolist()))
            output = model(**model_inputs(batch, model, model.device), **request_layers(layers))
            logits.append(output.logits[: len(indices)].float().cpu())
            if layers:
                of_batch = cls_states_of(output.hidden_states, layers, len(computed))
                cls_states.append(of_batch[: len(indices)].flatten(2).cpu())  # [B, K, C, H] -> [B, K, C · H]
            order.append(indices)
            if on_batch:
                on_batch(len(indices))
    back = torch.from_numpy(np.argsort(np.concatenate(order), kind="stable"))
    states = torch.cat(cls_states)[back].numpy() if layers else None
    return Answers(torch.cat(logits)[back].numpy(), states)


def input_names(config: PretrainedConfig) -> tuple[str, ...]:
    """What a classifier's forward takes: token types only where it embeds more than one."""
    return ("input_ids", "attention_mask", *([_TOKEN_TYPES] if has_token_types(config) else []))


def model_inputs(
    batch: dict[str, torch.Tensor], model: nn.Module, device: torch.device | None = None
) -> dict[str, torch.Tensor]:
    """The part of a batch that the forward of a classifier, wrapped for several devices or not, takes."""
    whole: Any = model
    config = whole.config if hasattr(whole, "config") else whole.module.config
    return {name: batch[name].to(device) for name in input_names(config) if name in batch}


def tokenizer_for(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, giving what the model takes: a copy without token types where it embeds but one.

    A tokenizer gives them by its class or its settings, whatever the model beside it; with a second type the model
    would fail, in transformers' pipeline too.
    """
    if _TOKEN_TYPES not in tokenizer.model_input_names or has_token_types(config):
        return tokenizer
    fitting = copy(tokenizer)
    fitting.model_input_names = [name for name in tokenizer.model_input_names if name != _TOKEN_TYPES]
    return fitting


def request_layers(layers: Sequence[int]) -> dict[str, list[int]]:
    """The argument that makes a forward return the hidden states of `layers`; nothing where none are wanted."""
    return {"output_hidden_states": list(layers)} if layers else {}


def cls_states_of(hidden_states: Sequence[torch.Tensor], layers: Sequence[int], rows: int) -> torch.Tensor:
    """The [CLS] states of `layers` in float32, [B, K, H], or of a multiple choice of N [B, K, N, H].

    Args:
        hidden_states: a tuple of [B, L, H] or [B · N, L, H] that begins with the embeddings.
        layers: K of them, counted from 1.
        rows: B.
    """
    states = torch.stack([hidden_states[layer][:, 0] for layer in layers], dim=1).float()  # [B · N, K, H]
    if len(states) == rows:
        return states
    return states.view(rows, -1, *states.shape[1:]).transpose(1, 2)


def _padded_lengths(longest: int, positions: int, on_cpu: bool) -> np.ndarray:
    """[longest + 1] the length to which a batch is padded whose longest row is of the length that is the index.

    On the CPU torch keeps code that it made for each shape of a batch, 1 to 2 MB each in bfloat16, so few shapes keep
    the memory flat.
    """
    round_length = coarse_length if on_cpu else gpu_length
    return np.array([round_length(length, positions) for length in range(longest + 1)])


def _few_sizes(indices: np.ndarray, full: int) -> np.ndarray:
    """A batch, its last row repeated up to a power of two or a full batch: for few shapes too."""
    count = min(full, 1 << (len(indices) - 1).bit_length())
    return np.pad(indices, (0, max(0, count - len(indices))), mode="edge")


@contextlib.contextmanager
def _answering(model: PreTrainedModel, autocast_dtype: torch.dtype | None) -> Iterator[None]:
    was_training = model.training
    model.train(False)
    autocast = torch.autocast(model.device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None)
    try:
        with torch.inference_mode(), autocast, cls_only(model):
            yield
    finally:
        model.train(was_training)
