"""The device that a job is told to compute on is looked at before anything heavy is loaded."""

from __future__ import annotations

from typing import get_args

from pkd.errors import RecipeError
from pkd.recipe.device_names import Device
from pkd.recipe.spelling import named


def check_device(device: str) -> None:
    """Check the name of a device; whether this machine has it is asked where it is used.

    Raises:
        RecipeError: if it is none.
    """
    *others, last = get_args(Device)
    if device not in (*others, last):
        raise RecipeError(f"{named('device')} is {device}; it must be {', '.join(others)} or {last}.")
