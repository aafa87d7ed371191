"""The models that are measured side by side, each under a name of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def line_up(models: Sequence[str], named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name → model, in their order; a model is called as its folder.

    A folder that is given twice stands once. Folders of one name are told apart by as much of their paths as it takes.

    Args:
        models: folders or hub names.
        named: models that have their names already, as "teacher"; they stand first.

    >>> line_up(["a/student", "b/student/", "a/student", "owner/name"])
    {'a/student': 'a/student', 'b/student': 'b/student/', 'name': 'owner/name'}
    >>> line_up(["mine/teacher", "teacher"], {"teacher": "teacher"})
    {'teacher': 'teacher', 'mine/teacher': 'mine/teacher'}
    """
    names = dict(named or {})
    seen = {_identity(model) for model in names.values()}
    rest: dict[Path, str] = {}
    for model in models:
        if _identity(model) not in seen:
            rest.setdefault(_identity(model), model)
    parts = {model: _parts(model) for model in rest.values()}
    taken = [(name,) for name in names]
    for model, own in parts.items():
        others = taken + [other for another, other in parts.items() if another != model]
        depth = 1
        while depth < len(own) and own[-depth:] in (other[-depth:] for other in others):
            depth += 1
        names[str(Path(*own[-depth:]))] = model
    return names


def _identity(model: str) -> Path:
    """The same for all names of one folder; of a hub name itself."""
    path = Path(model)
    return Path(os.path.realpath(path)) if path.exists() else path


def _parts(model: str) -> tuple[str, ...]:
    path = Path(model)
    return (Path(os.path.abspath(path)) if path.exists() else path).parts  # noqa: PTH100 - links keep their names
