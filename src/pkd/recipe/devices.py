"""Check the name of a job's device before any heavy import."""

from __future__ import annotations

from typing import get_args

from pkd.errors import RecipeError
from pkd.recipe.device_names import Device
from pkd.recipe.spelling import named


def check_device(device: str) -> None:
    """Check the name of a device; whether this machine has it is checked on use.

    Raises:
        RecipeError: if it is not a device.
    """
    *others, last = get_args(Device)
    if device not in (*others, last):
        raise RecipeError(f"{named('device')} is {device}; it must be {', '.join(others)} or {last}.")
