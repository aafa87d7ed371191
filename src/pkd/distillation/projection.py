"""A learned linear map of the student's [CLS] states into the teacher's width: patience between unequal widths.

Beyond the paper, whose patience needs equal widths. The map is a part of the student while it trains, so that the
optimiser and every checkpoint hold it; it reaches L_PT alone, and is dropped before the student is saved.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

_NAME = "patience_projection"


def add_projection(student: PreTrainedModel, teacher_width: int, seed: int) -> None:
    """Give a student the map [H_student → H_teacher] that its states will go through; drawn from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projection = nn.Linear(int(student.config.hidden_size), teacher_width, bias=False)
    student.add_module(_NAME, projection)


def drop_projection(student: PreTrainedModel) -> None:
    """Take the map away, where there is one: what is left is an ordinary classifier."""
    if hasattr(student, _NAME):
        delattr(student, _NAME)


def projected(model: nn.Module, cls_states: torch.Tensor) -> torch.Tensor:
    """The states that L_PT compares: [B, K, H_teacher] through the model's map, in float32; as they are without one."""
    student: Any = getattr(model, "module", model)  # data-parallel training wraps the student
    projection: nn.Linear | None = getattr(student, _NAME, None)
    if projection is None:
        return cls_states
    with torch.autocast(cls_states.device.type, enabled=False):
        mapped: torch.Tensor = projection(cls_states)
    return mapped
