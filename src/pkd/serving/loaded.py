"""What serving knows of a classifier, whatever runs it: how to read texts, how to run, how to read the answer."""

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
    """A classifier that answers padded batches.

    Attributes:
        name: the folder or hub name it was loaded from.
        runtime: what runs it.
        device: where, in words.
        encoder: texts → word pieces.
        forward: a padded batch → logits [B, C] in float32, of a multiple choice [B, 1], a row a choice; safe to call
            from several threads.
        label_names: of its outputs, in their order; of a multiple choice none, since questions differ.
        kind: of problem, by which its logits are read.
        longest: word pieces it can read; the encoder may cut texts shorter.
        tokens_per_batch: word pieces, padding included, that one call of `forward` answers fastest.
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
