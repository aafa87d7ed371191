"""The names of devices; without pydantic, which serving an exported folder does not need."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
