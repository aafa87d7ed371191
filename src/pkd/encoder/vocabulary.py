"""Only the embeddings that can learn are trained: exact, and a large part of a small model's step.

A word piece that stands in no row has no gradient, ever. All that AdamW does to its embedding is weight decay, the same
factor for all such rows at every step, which is kept as one number and applied when someone looks. So gradient,
clipping and optimiser states are those of the word pieces that occur: of BERT's 30,522 some 10,000 in a data set of
short texts, of XLM-R's 250,002 a small share. Loading and saving see the whole embedding under its usual name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn
from transformers import PreTrainedModel

_WORTH_IT = 0.8  # above this share of the vocabulary there is little to save


@contextlib.contextmanager
def occurring_only(model: PreTrainedModel, occurs: np.ndarray) -> Iterator[OccurringEmbedding | None]:
    """Inside the block the model's word embedding trains the word pieces that occur; None where it stays whole.

    The optimiser must be AdamW, made inside the block and told to the embedding by `follow`.

    Args:
        model: a classifier; saving and loading its weights inside the block works as ever.
        occurs: [V] bool, which word pieces stand in the batches that will be trained on, the padding among them.
    """
    whole = model.get_input_embeddings()
    plain = type(whole) is nn.Embedding and whole.max_norm is None and not (whole.sparse or whole.scale_grad_by_freq)
    if not plain or not whole.weight.requires_grad or occurs.mean() > _WORTH_IT:  # what is frozen stays so
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
        decay: what the weight decay of all steps so far has left of the other rows.
    """

    def __init__(self, whole: nn.Embedding, occurs: np.ndarray) -> None:
        super().__init__()
        self.occurs = torch.from_numpy(occurs).to(whole.weight.device)  # [V]
        if whole.padding_idx is not None:
            self.occurs[whole.padding_idx] = True
        start = whole.weight.detach()
        self.weight = nn.Parameter(start[self.occurs])
        # plain tensors, for DDP would send buffers round at every step
        self.rest = start[~self.occurs]  # [V − n, H], as training found it
        order = torch.cat([self.occurs.nonzero(), (~self.occurs).nonzero()])[:, 0]
        self.row = torch.argsort(order)  # [V] a word piece's place in weight and rest, one behind the other
        self.decay = 1.0
        self.padding_idx = None if whole.padding_idx is None else int(self.row[whole.padding_idx])

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Embed word pieces, [...] -> [..., H]; where nothing is learned also those that do not occur."""
        rows = self.row[input_ids]
        if torch.is_grad_enabled():
            return F.embedding(rows, self.weight, self.padding_idx)
        occurs = self.occurs[input_ids]
        states = F.embedding(torch.where(occurs, rows, 0), self.weight)
        states[~occurs] = self.rest[rows[~occurs] - len(self.weight)] * self.decay
        return states

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep count of the optimiser's weight decay."""
        groups = enumerate(optimizer.param_groups)
        number = next(number for number, group in groups if any(self.weight is each for each in group["params"]))

        def count(*_: object) -> None:
            group = optimizer.param_groups[number]  # another dictionary whenever a state was loaded
            self.decay *= 1 - float(group["lr"]) * group["weight_decay"]

        optimizer.register_step_post_hook(count)

    def whole_weight(self) -> torch.Tensor:
        """[V, H], every row as it stands now."""
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
        if not torch.equal(rest, self.rest * self.decay):  # a resumed training keeps its start, and with it the bits
            self.rest, self.decay = rest, 1.0
