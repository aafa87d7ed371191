"""The names of the devices that a job may be told to compute on, looked at before anything heavy is loaded."""

from __future__ import annotations

import typing

from pkd.errors import RecipeError
from pkd.recipe.settings import Device
from pkd.recipe.spelling import named


def check_device(device: str) -> None:
    """Check the name of a device; whether this machine has it is asked where it is used.

    Raises:
        RecipeError: if it is none.
    """
    *others, last = typing.get_args(Device)
    if device not in (*others, last):
        raise RecipeError(f"{named('device')} is {device}; it must be {', '.join(others)} or {last}.")
