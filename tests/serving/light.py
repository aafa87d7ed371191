"""Serving without the large libraries: code is run in a process of its own, which says what it has loaded."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "transformers", "datasets", "pyarrow", "sklearn", "scipy", "pandas", "pydantic", "seqeval"}


def assert_light(code: str, further: frozenset[str] = frozenset(), afterwards: str = "") -> None:
    """Runs `code`, which must load none of `HEAVY` nor of `further`, and then `afterwards`, which may."""
    asked = (
        f"import sys\nheavy = {sorted(HEAVY | further)!r}\nassert not (found := set(heavy) & set(sys.modules)), found"
    )
    subprocess.run([sys.executable, "-c", f"{code}\n{asked}\n{afterwards}"], check=True, timeout=120)
