"""Whether a model can be had without a long wait: the hub's own client tries for half a minute before it gives up."""

from __future__ import annotations

import os
from pathlib import Path

_SECONDS = 4.0


def is_within_reach(name: str) -> bool:
    """Whether `name` is a folder here, lies in the hub's cache, or the hub answers at all."""
    from huggingface_hub import constants, get_session, try_to_load_from_cache

    if Path(name).exists() or isinstance(try_to_load_from_cache(name, "config.json"), str):
        return True
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception:  # whatever stands between here and the hub, the answer is no
        return False
    return True
