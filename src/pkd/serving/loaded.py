"""A loaded classifier, whatever runs it: how to encode texts, run it, and read its logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkd.serving.texts import Batch, TextEncoder

if TYPE_CHECKING:
    from pkd.tasks import TaskKind

Runtime = Literal["torch", "onnx"]


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
