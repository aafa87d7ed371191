"""Compute logits and [CLS] states of rows: batched by length, in the order of the rows, no dropout, no gradient."""

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

from pkd.data.arrays import column_array, column_values
from pkd.data.batches_by_length import batches_by_length, coarse_length, gpu_length
from pkd.data.batching import CLS_STATES, TEACHER, Collator, TokenRows, is_answer
from pkd.data.outputs import outputs_of
from pkd.data.tags import tag_continuations
from pkd.data.tokenize import count_choices
from pkd.data.windows import WORDS
from pkd.data.word_batches import TAUGHT, mean_of_parts
from pkd.data.word_logits import logits_of_words
from pkd.encoder.families import has_token_types, longest_input
from pkd.encoder.shortcut import cls_only
from pkd.tasks import TaskKind

if TYPE_CHECKING:
    import datasets
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_TOKEN_TYPES = "token_type_ids"
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}


@dataclass(frozen=True)
class Answers:
    """A classifier's logits [N, C] of N rows, and the [CLS] states [N, K, H] of the K requested layers; float32.

    For multiple choice, C is the number of choices, and a layer's states are those of all choices, [N, K, C · H].
    """

    logits: np.ndarray
    cls_states: np.ndarray | None = None

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """As the columns of annotated rows: a vector per row, [N, C], or one per row and requested layer, [N, K, H]."""
        states = {} if self.cls_states is None else {CLS_STATES: self.cls_states}
        return {TEACHER + "logits": self.logits, **states}


@dataclass(frozen=True)
class PartAnswers:
    """A classifier's answers for the parts of the words of N rows, P parts in all; float32.

    Attributes:
        counts: [N] the parts of each row.
        words: [P] the word of each.
        logits: [P, C].
        states: [P, K, H] of the K requested layers.
    """

    counts: np.ndarray
    words: np.ndarray
    logits: np.ndarray
    states: np.ndarray | None = None

    def of_words(self, rows: datasets.Dataset, names: Sequence[str]) -> np.ndarray:
        """Logits [N, W, C] of each word of the rows, as `logits_of_words` gives them.

        Args:
            rows: those that were answered.
            names: [C] of the classes.
        """
        return logits_of_words(list(column_values(rows, WORDS)), self.counts, self.words, self.logits, names)


def answer_rows(
    model: PreTrainedModel,
    rows: datasets.Dataset,
    *,
    layers: Sequence[int] = (),
    autocast_dtype: torch.dtype | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Answers:
    """Run a classifier on every encoded row, in the order of the rows.

    Args:
        model: a classifier; its training mode is restored.
        rows: with `input_ids` and `length`.
        layers: the layers whose [CLS] states to return, counted from 1.
        autocast_dtype: the type of matrix products; None uses the weights' own.
        on_batch: called after each batch with its size.
    """
    if "taught" in rows.column_names:
        parts = answer_parts(model, rows, autocast_dtype=autocast_dtype, on_batch=on_batch)
        return Answers(parts.of_words(rows, outputs_of(model.config).label_names))
    if len(rows) == 0:
        several = "choice_lengths" in rows.column_names
        classes = int(rows.features["choice_lengths"].length if several else model.config.num_labels or 0)
        return Answers(np.zeros((0, classes), dtype=np.float32), None)
    lengths = column_array(rows, "length")
    padded = _padded_lengths(int(lengths.max()), model)
    tokens = padded[lengths] * max(1, count_choices(rows.column_names))
    logits: list[torch.Tensor] = []
    cls_states: list[torch.Tensor] = []
    order: list[np.ndarray] = []
    with _answering(model, autocast_dtype):
        for indices, batch, output in _forwards(model, rows, tokens, padded, layers):
            logits.append(output.logits[: len(indices)].float().cpu())
            if layers:
                of_batch = cls_states_of(output.hidden_states, layers, len(batch["input_ids"]))
                cls_states.append(of_batch[: len(indices)].flatten(2).cpu())  # [B, K, C, H] -> [B, K, C · H]
            order.append(indices)
            if on_batch:
                on_batch(len(indices))
    back = torch.from_numpy(np.argsort(np.concatenate(order), kind="stable"))
    states = torch.cat(cls_states)[back].numpy() if layers else None
    return Answers(torch.cat(logits)[back].numpy(), states)


def answer_parts(
    model: PreTrainedModel,
    rows: datasets.Dataset,
    *,
    layers: Sequence[int] = (),
    autocast_dtype: torch.dtype | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> PartAnswers:
    """Run a classifier of tokens on every encoded row, and give its answers at the parts of words, in order.

    Args:
        model: a classifier of tokens; its training mode is restored.
        rows: with what `word_columns` adds.
        layers: the layers whose states to return, counted from 1.
        autocast_dtype: the type of matrix products; None uses the weights' own.
        on_batch: called after each batch with its size.
    """
    classes, hidden = int(model.config.num_labels or 0), int(model.config.hidden_size)
    parts = [np.asarray(words, dtype=np.int64) for words in column_values(rows, "taught_words")]
    counts = np.array([len(words) for words in parts], dtype=np.int64)
    words = np.concatenate([*parts, np.zeros(0, dtype=np.int64)])
    logits = np.zeros((len(words), classes), dtype=np.float32)
    states = np.zeros((len(words), len(layers), hidden), dtype=np.float32) if layers else None
    if len(rows) == 0:
        return PartAnswers(counts, words, logits, states)
    begins = np.cumsum(counts) - counts
    lengths = [(len(of_row), max(of_row)) for of_row in column_values(rows, "window_lengths")]
    padded = _padded_lengths(max(longest for _, longest in lengths), model)
    tokens = np.array([windows * padded[longest] for windows, longest in lengths])
    read = rows.remove_columns(_not_read(rows))
    with _answering(model, autocast_dtype):
        for indices, batch, output in _forwards(model, read, tokens, padded, layers):
            exists = batch[TAUGHT][: len(indices)] >= 0
            into = np.concatenate([np.arange(begins[row], begins[row] + counts[row]) for row in indices])
            logits[into] = at_places(output.logits, batch[TAUGHT])[: len(indices)][exists].float().cpu().numpy()
            if states is not None:
                for k, layer in enumerate(layers):
                    of_layer = at_places(output.hidden_states[layer], batch[TAUGHT])[: len(indices)]
                    states[into, k] = of_layer[exists].float().cpu().numpy()
            if on_batch:
                on_batch(len(indices))
    return PartAnswers(counts, words, logits, states)


def _forwards(
    model: PreTrainedModel, rows: datasets.Dataset, tokens: np.ndarray, padded: np.ndarray, layers: Sequence[int]
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor], Any]]:
    """Yield row indices, their batch and its output, which may have more rows behind these, the longest rows first.

    Args:
        model: that answers.
        rows: encoded.
        tokens: [N] the word pieces of each row, padded.
        padded: the padded length for each longest length in a batch.
        layers: whose hidden states are in the outputs.
    """
    most, table = TOKENS_PER_BATCH[model.device.type], TokenRows(rows)
    collate = Collator(model.config.pad_token_id or 0, round_length=lambda longest: int(padded[longest]))
    for indices in batches_by_length(tokens, most):
        on_cpu = model.device.type == "cpu"
        computed = _few_sizes(indices, most // int(tokens[indices[0]])) if on_cpu else indices
        batch = collate(table.__getitems__(computed.tolist()))
        yield indices, batch, model(**model_inputs(batch, model, model.device), **request_layers(layers))


def label_losses(
    kind: TaskKind, logits: torch.Tensor, labels: torch.Tensor, batch: dict[str, torch.Tensor]
) -> torch.Tensor:
    """L_CE of each row of a batch, [B]; where words have tags, the mean over the row's parts."""
    if TAUGHT not in batch:
        return kind.ce_rows(logits, labels)
    exists = batch[TAUGHT].to(labels.device) >= 0  # [B, W]
    of_parts = kind.ce_rows(at_places(logits, batch[TAUGHT])[exists], labels[exists])
    return mean_of_parts(of_parts, exists)


def at_places(positions: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """The values at the taught places, [B, W, ...]; where a row has fewer, those of its first place.

    Args:
        positions: [B, L, ...], or of N windows a row [B · N, L, ...].
        taught: [B, W], the place of each in the N · L of its row; -1 for none.
    """
    rows = len(taught)
    flat = positions.reshape(rows, -1, positions.shape[-1])  # [B, N · L, H]
    places = taught.to(flat.device).clamp(min=0)
    return flat.gather(1, places.unsqueeze(-1).expand(-1, -1, flat.shape[-1]))


def _not_read(rows: datasets.Dataset) -> list[str]:
    """The columns of rows that answering does not need: labels, and the answers of another."""
    return [name for name in rows.column_names if name == "label" or is_answer(name)]


def collator_for(
    config: PretrainedConfig, teacher_layers: Sequence[int] = (), round_length: Callable[[int], int] = int
) -> Collator:
    """The collator of a classifier's batches, labels included; see `Collator`."""
    outputs = outputs_of(config)
    further = tag_continuations(outputs.label_names) if outputs.kind.has_tokens else None
    return Collator(config.pad_token_id or 0, teacher_layers, round_length, further)


def input_names(config: PretrainedConfig) -> tuple[str, ...]:
    """The inputs of a classifier's forward; token types only if it embeds more than one."""
    return ("input_ids", "attention_mask", *([_TOKEN_TYPES] if has_token_types(config) else []))


def model_inputs(
    batch: dict[str, torch.Tensor], model: nn.Module, device: torch.device | None = None
) -> dict[str, torch.Tensor]:
    """The columns of a batch that a classifier's forward takes; the model may be wrapped for several devices."""
    whole: Any = model
    config = whole.config if hasattr(whole, "config") else whole.module.config
    inputs = {name: batch[name].to(device) for name in input_names(config) if name in batch}
    if TAUGHT not in batch:
        return inputs
    return {name: values.flatten(0, -2) for name, values in inputs.items()}  # windows [B, N, L] -> [B · N, L]


def tokenizer_for(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, or a copy that returns no token types if the model embeds only one.

    A tokenizer returns them whatever the model; a second type would make the model fail, in transformers' pipeline too.
    """
    if _TOKEN_TYPES not in tokenizer.model_input_names or has_token_types(config):
        return tokenizer
    fitting = copy(tokenizer)
    fitting.model_input_names = [name for name in tokenizer.model_input_names if name != _TOKEN_TYPES]
    return fitting


def request_layers(layers: Sequence[int]) -> dict[str, list[int]]:
    """The keyword that makes a forward return the hidden states of `layers`; empty without layers."""
    return {"output_hidden_states": list(layers)} if layers else {}


def cls_states_of(hidden_states: Sequence[torch.Tensor], layers: Sequence[int], rows: int) -> torch.Tensor:
    """The [CLS] states of `layers` in float32: [B, K, H], or [B, K, N, H] for N choices.

    Args:
        hidden_states: a tuple of [B, L, H] or [B · N, L, H] that begins with the embeddings.
        layers: K of them, counted from 1.
        rows: B.
    """
    states = torch.stack([hidden_states[layer][:, 0] for layer in layers], dim=1).float()  # [B · N, K, H]
    if len(states) == rows:
        return states
    return states.view(rows, -1, *states.shape[1:]).transpose(1, 2)


def _padded_lengths(longest: int, model: PreTrainedModel) -> np.ndarray:
    """Table [longest + 1]: longest length in a batch -> padded length.

    On the CPU torch caches code for each batch shape, 1 to 2 MB each in bfloat16, so few shapes keep memory flat.
    """
    round_length = coarse_length if model.device.type == "cpu" else gpu_length
    positions = longest_input(model.config)
    return np.array([round_length(length, positions) for length in range(longest + 1)])


def _few_sizes(indices: np.ndarray, full: int) -> np.ndarray:
    """Repeat a batch's last row up to a power of two or a full batch, which also keeps the shapes few."""
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
