"""Locate a model: a local folder or the hub, whose client retries for half a minute before it gives up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pkd.encoder.weight_files import check_has_config
from pkd.errors import RecipeError, TeacherError

_SECONDS = 4.0
_CARD = "README.md"


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from, without local paths, so that it can be published.

    Attributes:
        name: the hub name, or the last component of its folder's path.
        hub: whether it is from the hub; recorded at loading, because the folder may be gone later.
        licence: as its README says it; None if it does not, or there is none at hand.
    """

    name: str
    hub: bool
    licence: str | None = None


def model_source(name: str) -> ModelSource:
    """The source of a model loaded by this name; a folder takes precedence over the hub, as in transformers."""
    if Path(name).exists():
        last = Path(os.path.abspath(name)).name  # noqa: PTH100 - `resolve` follows links
        return ModelSource(last, hub=False, licence=_licence_of(Path(name) / _CARD))
    return ModelSource(name, hub=True, licence=_licence_of(_in_cache(name)))


def _in_cache(name: str) -> Path | None:
    """The README of a hub model in the cache, without asking the hub; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, _CARD)
    except HFValidationError:  # no hub name
        return None
    return Path(found) if isinstance(found, str) else None


def _licence_of(card: Path | None) -> str | None:
    """The licence in the metadata of a README; None if it has none, or cannot be read."""
    from huggingface_hub.repocard import metadata_load

    if card is None or not card.is_file():
        return None
    try:
        metadata = metadata_load(card) or {}
    except Exception:  # anybody's file: whatever is wrong with it, its licence is not known
        return None
    licence = metadata.get("license_name") if metadata.get("license") == "other" else metadata.get("license")
    return licence if isinstance(licence, str) and licence.strip() else None


def is_reachable(name: str) -> bool:
    """Whether `name` is a local path, is in the hub's cache, or the hub is reachable."""
    from huggingface_hub import constants, get_session, try_to_load_from_cache

    if Path(name).exists() or isinstance(try_to_load_from_cache(name, "config.json"), str):
        return True
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception:  # any failure of the network means no
        return False
    return True


def check_model_name(name: str, role: str) -> None:
    """Check that `name` can be a model: a folder with a configuration, or a possible hub name.

    Raises:
        RecipeError: if it is empty.
        TeacherError: if it is a path without a saved model.
    """
    if not name:
        raise RecipeError(f"No {role} is named. Give a folder or a hub name.")
    path = Path(name)
    if path.exists():
        check_has_config(path)
    looks_local = name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1
    if not path.exists() and looks_local:
        raise TeacherError(f"{path.absolute()} does not exist. Name the folder of a saved {role} or a hub name.")
