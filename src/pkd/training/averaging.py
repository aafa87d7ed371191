"""Averaged weights beside the raw ones: an exponential average of all steps, or the plain mean of the last quarter.

torch averages (`torch.optim.swa_utils`). This module evaluates the average in place of the raw weights, saves it in a
checkpoint, restores it bit-identically, and can make it the result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pkd.encoder.vocabulary import OccurringEmbedding

AVERAGED = "averaged.safetensors"  # in a checkpoint
_COUNT = "steps and decay"  # averaged steps, and the decay of the word pieces that do not occur
_HORIZON = 0.1  # share of all steps that an exponential average spans
_LATE = 0.75  # share of all steps after which a plain mean begins


class AveragedWeights:
    """The running average of a model's weights.

    Args:
        kind: "ema": w ← d · w + (1 − d) · now, d = 1 − 1 / (a tenth of all steps); "swa": the mean of the weights after
            each step of the last quarter.
        model: the model in training, with the optimiser's parameters.
        steps: number of steps of the whole training.
        words: the model's word embedding, if it trains only the word pieces that occur; the decay of the others is
            averaged too, because it scales them.
    """

    def __init__(
        self, kind: Literal["ema", "swa"], model: nn.Module, steps: int, words: OccurringEmbedding | None
    ) -> None:
        self._model, self._words = model, words
        self._begins = 0 if kind == "ema" else int(_LATE * steps)
        decay = 1 - 1 / max(2.0, _HORIZON * steps)
        self._now = nn.ParameterList([each for each in model.parameters() if each.requires_grad])
        self._decay = nn.Parameter(torch.ones((), dtype=torch.float64), requires_grad=False)
        self._now.append(self._decay)
        ema: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average: Any = AveragedModel(self._now, multi_avg_fn=ema if kind == "ema" else None)

    @property
    def is_begun(self) -> bool:
        """Whether there is an average yet."""
        return int(self._average.n_averaged) > 0

    def update(self, step: int) -> None:
        """Add the weights after a step, counted from 1."""
        if step > self._begins:
            self._decay.data.fill_(1.0 if self._words is None else self._words.decay)
            self._average.update_parameters(self._now)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights; after it the raw ones, bit-identical."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def keep(self) -> None:
        """Give the model the averaged weights and discard the raw ones."""
        self._swap()

    def _swap(self) -> None:
        for now, average in zip(self._now, self._average.module, strict=True):
            if now is not self._decay:
                now.data, average.data = average.data, now.data
        if self._words is not None:
            decay = self._words.decay
            self._words.decay = float(self._average.module[-1])
            self._average.module[-1].data.fill_(decay)

    def save(self, folder: Path) -> None:
        """Write the average, if there is one yet, as weights under their usual names."""
        if not self.is_begun:
            return
        with self.in_place():
            state = {name: each.detach().cpu().clone() for name, each in self._model.state_dict().items()}
        count = f"{int(self._average.n_averaged)} {float(self._average.module[-1]).hex()}"
        save_file(state, folder / AVERAGED, metadata={_COUNT: count})  # of several keys the order would be chance

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote, if anything."""
        if not (folder / AVERAGED).is_file():
            return
        with safe_open(folder / AVERAGED, framework="pt") as file:
            steps, decay = file.metadata()[_COUNT].split()
        self._average.n_averaged.fill_(int(steps))
        self._average.module[-1].data.fill_(float.fromhex(decay))
        with self.in_place():
            load_averaged(self._model, folder)


def load_averaged(model: nn.Module, folder: Path) -> None:
    """Load the averaged weights of a checkpoint into a model."""
    model.load_state_dict(load_file(folder / AVERAGED))
