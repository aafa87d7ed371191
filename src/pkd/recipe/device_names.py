"""The names of devices; free of pydantic, without which a folder that was exported is served."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
