"""A folder of weights or a hub name, loaded with transformers and run by PyTorch."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from numpy.typing import NDArray

from pkd.encoder.families import longest_input
from pkd.encoder.inference import TOKENS_PER_BATCH, input_names
from pkd.encoder.load import LoadedClassifier, load_classifier
from pkd.encoder.shortcut import cls_only
from pkd.serving.loaded import LoadedModel
from pkd.serving.texts import Batch, TextEncoder, backend_of
from pkd.serving.windowed import WindowEncoder
from pkd.training.hardware import move_model, resolve_device


def load_torch(name: str, device: str = "auto", threads: int | None = None) -> LoadedModel:
    """Load a saved classifier.

    Args:
        name: folder or hub name.
        device: "auto", "cpu" or "cuda".
        threads: cores for torch in this process; None leaves them as they are.

    Raises:
        TeacherError: if it holds no classifier.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    where = resolve_device(device)
    return taken_over(load_classifier(name), where)


def taken_over(loaded: LoadedClassifier, device: torch.device) -> LoadedModel:
    """A classifier ready to serve: its last layer computes [CLS] alone from now on."""
    several = loaded.outputs.kind.has_choices
    model = move_model(loaded.model, device).train(False)
    shortcut = contextlib.ExitStack()  # entered once and never left: threads would undo it for one another
    shortcut.enter_context(cls_only(model))
    names = names_read(loaded)

    def forward(batch: Batch) -> NDArray[np.float32]:
        with torch.inference_mode():
            given = {name: torch.from_numpy(batch[name]).to(device) for name in names}
            if several:  # each row as a question with one choice
                given = {name: tensor[:, None] for name, tensor in given.items()}  # [B, 1, L]
            logits: NDArray[np.float32] = model(**given).logits.float().cpu().numpy()
        return logits

    return LoadedModel(
        name=loaded.name,
        runtime="torch",
        device=device.type,
        encoder=(WindowEncoder if loaded.outputs.kind.has_tokens else TextEncoder)(
            backend_of(loaded.tokenizer),
            max_length_of(loaded),
            pad_token_id=model.config.pad_token_id or 0,
            truncation_side=loaded.tokenizer.truncation_side,
        ),
        forward=forward,
        label_names=() if several else loaded.outputs.output_names,
        kind=loaded.outputs.kind,
        longest=longest_input(model.config),
        tokens_per_batch=TOKENS_PER_BATCH[device.type],
        keeps=shortcut,
    )


def names_read(loaded: LoadedClassifier) -> list[str]:
    """The model's inputs; token types only if its tokenizer gives them too."""
    given = ("input_ids", "attention_mask", *loaded.tokenizer.model_input_names)
    return [name for name in input_names(loaded.model.config) if name in given]


def max_length_of(loaded: LoadedClassifier) -> int:
    """The word pieces a text is cut to, as in training, saved in the tokenizer."""
    return min(loaded.tokenizer.model_max_length, longest_input(loaded.model.config))
