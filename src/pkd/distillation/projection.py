"""A learned linear map of the student's [CLS] states to the teacher's width: patience between different widths.

An extension of the paper, whose patience needs equal widths. The map is part of the student during training, so that
the optimiser and every checkpoint contain it; it contributes to L_PT alone, and is removed before the student is saved.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

_NAME = "patience_projection"


def add_projection(student: PreTrainedModel, teacher_width: int, seed: int) -> None:
    """Add the map [H_student → H_teacher] to a student; its weights depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projection = nn.Linear(int(student.config.hidden_size), teacher_width, bias=False)
    student.add_module(_NAME, projection)


def drop_projection(student: PreTrainedModel) -> None:
    """Remove the map, if there is one, which leaves an ordinary classifier."""
    if hasattr(student, _NAME):
        delattr(student, _NAME)


def projected(model: nn.Module, cls_states: torch.Tensor) -> torch.Tensor:
    """The states that L_PT compares, [B, K, H_teacher]: mapped in float32 if the model has a map, else unchanged."""
    student: Any = getattr(model, "module", model)  # data-parallel training wraps the student
    projection: nn.Linear | None = getattr(student, _NAME, None)
    if projection is None:
        return cls_states
    with torch.autocast(cls_states.device.type, enabled=False):
        mapped: torch.Tensor = projection(cls_states)
    return mapped
