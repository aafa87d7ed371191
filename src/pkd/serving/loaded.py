"""A loaded classifier, whatever runs it: how to encode texts, run it, and read its logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pkd.reporting.runtimes import Runtime
from pkd.serving.texts import Batch, TextEncoder

if TYPE_CHECKING:
    from pkd.tasks import TaskKind


@dataclass(frozen=True)
class Graph:
    """An exported graph that its runtime has opened.

    Attributes:
        inputs: their names.
        input_rank: the number of their axes: rows, choices of multiple choice, word pieces.
        output_shape: of the logits; None where the graph leaves it open.
        run: arrays of the inputs → logits in float32; thread-safe.
        device: "cpu" or "cuda".
    """

    inputs: tuple[str, ...]
    input_rank: int
    output_shape: tuple[int | None, ...]
    run: Callable[[Mapping[str, NDArray[np.int64]]], NDArray[np.float32]]
    device: str


@dataclass(frozen=True)
class LoadedModel:
    """A classifier that runs padded batches.

    Attributes:
        name: the folder or hub name it was loaded from.
        runtime: what runs it.
        device: where, in words.
        encoder: texts → word pieces.
        forward: a padded batch → logits [B, C] in float32, for multiple choice [B, 1], one row per choice, for tags
            [B, L, C]; thread-safe.
        label_names: of its outputs, in order; empty for multiple choice, where questions differ.
        kind: of problem, which interprets the logits.
        longest: word pieces it can read; the encoder may cut texts shorter.
        tokens_per_batch: word pieces per call of `forward`, padding included, at which it is fastest.
        keeps: what must live as long as the model does.
    """

    name: str
    runtime: Runtime
    device: str
    encoder: TextEncoder
    forward: Callable[[Batch], NDArray[np.float32]]
    label_names: tuple[str, ...]
    kind: TaskKind
    longest: int
    tokens_per_batch: int
    keeps: Any = None
