"""Where a model is looked for: a folder here, or the hub, whose client tries for half a minute before it gives up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pkd.encoder.weight_files import check_has_config
from pkd.errors import RecipeError, TeacherError

_SECONDS = 4.0


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from, as it may be told to anybody.

    Attributes:
        name: the hub's name of it, or the last part of its folder's path.
        hub: whether it is the hub's; decided when it was loaded, for a folder may be gone later.
    """

    name: str
    hub: bool


def model_source(name: str) -> ModelSource:
    """The source of a model that was loaded by this name: a folder wins over the hub, as it does for transformers."""
    if Path(name).exists():
        return ModelSource(Path(os.path.abspath(name)).name, hub=False)  # noqa: PTH100 - `resolve` follows links
    return ModelSource(name, hub=True)


def is_reachable(name: str) -> bool:
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


def check_model_name(name: str, role: str) -> None:
    """Check that `name` can be a model at all: a folder with a configuration, or a name that the hub may know.

    Raises:
        RecipeError: if it is empty.
        TeacherError: if it is a path where no saved model lies.
    """
    if not name:
        raise RecipeError(f"No {role} is named. Give a folder or a hub name.")
    path = Path(name)
    if path.exists():
        check_has_config(path)
    looks_local = name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1
    if not path.exists() and looks_local:
        raise TeacherError(f"{path.absolute()} does not exist. Name the folder of a saved {role} or a hub name.")
