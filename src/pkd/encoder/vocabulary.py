"""Train only the embeddings of word pieces that occur: exact, and a large saving for a small model.

A word piece that occurs in no row never has a gradient. AdamW applies only weight decay to its embedding, at each step
by the same factor for all such rows; it is tracked as a scalar and applied on read. So gradient, clipping and optimiser
states cover only the word pieces that occur: some 10,000 of BERT's 30,522 in a dataset of short texts, a small share of
XLM-R's 250,002. Loading and saving see the whole embedding under its usual name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn
from transformers import PreTrainedModel

_WORTH_IT = 0.8  # if a larger share of the vocabulary occurs, there is little to save


@contextlib.contextmanager
def occurring_only(model: PreTrainedModel, occurs: np.ndarray) -> Iterator[OccurringEmbedding | None]:
    """Inside the block the model's word embedding trains only the word pieces that occur; yields None if unchanged.

    The optimiser must be AdamW, created inside the block and passed to the embedding's `follow`.

    Args:
        model: a classifier; its weights can be saved and loaded inside the block as usual.
        occurs: [V] bool, the word pieces in the batches to train on, padding included.
    """
    whole = model.get_input_embeddings()
    plain = type(whole) is nn.Embedding and whole.max_norm is None and not (whole.sparse or whole.scale_grad_by_freq)
    if not plain or not whole.weight.requires_grad or occurs.mean() > _WORTH_IT:  # a frozen embedding stays frozen
        yield None
        return
    assert isinstance(whole, nn.Embedding)
    occurring = OccurringEmbedding(whole, occurs)
    model.set_input_embeddings(occurring)
    try:
        yield occurring
    finally:
        with torch.no_grad():
            whole.weight.copy_(occurring.whole_weight())
        model.set_input_embeddings(whole)


class OccurringEmbedding(nn.Module):
    """An embedding of V word pieces that trains the n that occur.

    Attributes:
        weight: [n, H], the parameter.
        decay: the factor that weight decay has applied to the other rows so far.
    """

    def __init__(self, whole: nn.Embedding, occurs: np.ndarray) -> None:
        super().__init__()
        self.occurs = torch.from_numpy(occurs).to(whole.weight.device)  # [V]
        if whole.padding_idx is not None:
            self.occurs[whole.padding_idx] = True
        start = whole.weight.detach()
        self.weight = nn.Parameter(start[self.occurs])
        # plain tensors, because DDP would broadcast buffers at every step
        self.rest = start[~self.occurs]  # [V − n, H], their values at the start
        order = torch.cat([self.occurs.nonzero(), (~self.occurs).nonzero()])[:, 0]
        self.row = torch.argsort(order)  # [V] a word piece's index in weight followed by rest
        self.decay = 1.0
        self.padding_idx = None if whole.padding_idx is None else int(self.row[whole.padding_idx])

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Embed word pieces, [...] -> [..., H]; without gradients also those that do not occur."""
        rows = self.row[input_ids]
        if torch.is_grad_enabled():
            return F.embedding(rows, self.weight, self.padding_idx)
        occurs = self.occurs[input_ids]
        states = F.embedding(torch.where(occurs, rows, 0), self.weight)
        states[~occurs] = self.rest[rows[~occurs] - len(self.weight)] * self.decay
        return states

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Track the optimiser's weight decay."""
        groups = enumerate(optimizer.param_groups)
        number = next(number for number, group in groups if any(self.weight is each for each in group["params"]))

        def count(*_: object) -> None:
            group = optimizer.param_groups[number]  # looked up each time: loading a state replaces the dictionary
            self.decay *= 1 - float(group["lr"]) * group["weight_decay"]

        optimizer.register_step_post_hook(count)

    def whole_weight(self) -> torch.Tensor:
        """The current embedding of all word pieces, [V, H]."""
        whole = self.weight.new_empty(len(self.row), self.weight.shape[1])
        whole[self.occurs] = self.weight.detach()
        whole[~self.occurs] = self.rest * self.decay
        return whole

    def _save_to_state_dict(self, destination: dict[str, torch.Tensor], prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.whole_weight()

    def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
        loaded = state_dict[prefix + "weight"].to(self.weight)
        with torch.no_grad():
            self.weight.copy_(loaded[self.occurs])
        rest = loaded[~self.occurs]
        if not torch.equal(rest, self.rest * self.decay):  # on a resume they are equal: keep the bits
            self.rest, self.decay = rest, 1.0
