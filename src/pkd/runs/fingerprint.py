"""Hash what an output depends on, and describe what changed.

A fingerprint is the sha256 of the canonical JSON of its parts. The parts are stored with it, so that a mismatch can be
reported in words ("max_length 128 → 256") instead of as two hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def fingerprint(parts: Mapping[str, Any]) -> str:
    """The sha256 of the parts' canonical JSON.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_texts(texts: Iterable[str | None]) -> str:
    """The sha256 of a sequence of texts, including their boundaries."""
    digest = hashlib.sha256()
    for text in texts:
        data = b"" if text is None else text.encode("utf-8", "surrogatepass")
        digest.update(f"{'-' if text is None else len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe what changed between two sets of parts, one phrase per change.

    >>> differences({"data": {"max_length": 128}}, {"data": {"max_length": 256}})
    ['data.max_length 128 → 256']
    """
    old, new = _flatten(before), _flatten(now)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [f"{key} {_short(old.get(key))} → {_short(new.get(key))}" for key in changed]


def _flatten(parts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in parts.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.loads(json.dumps(value))
    return flat


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    is_hash = len(text) == 64 and all(character in "0123456789abcdef" for character in text)
    return text[:8] + "…" if is_hash else text
