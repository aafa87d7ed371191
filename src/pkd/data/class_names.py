"""Read the names of a classifier's outputs from its config.json; plain Python, because serving imports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pkd.errors import TeacherError


def names_by_id(id2label: Any, where: str, advice: str = "Mend its config.json.") -> tuple[str, ...]:
    """Return the names in the order of the outputs.

    Args:
        id2label: output number -> name; JSON writes the numbers as strings.
        where: the model or file it comes from, for messages.
        advice: what to do about an error.

    Raises:
        TeacherError: if an output has no name or two share one: predictions are returned by name.

    >>> names_by_id({"1": "positive", "0": "negative"}, "student")
    ('negative', 'positive')
    """
    by_id = {str(number): str(name) for number, name in id2label.items()} if isinstance(id2label, Mapping) else {}
    if not by_id or any(str(number) not in by_id for number in range(len(by_id))):
        raise TeacherError(
            f"{where}: id2label must name every output by its number, from 0 on; it is {_shown(id2label)}. {advice}"
        )
    names = tuple(by_id[str(number)] for number in range(len(by_id)))
    if empty := [number for number, name in enumerate(names) if not name.strip()]:
        raise TeacherError(f"{where}: id2label gives output {empty[0]} an empty name. {advice}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise TeacherError(f"{where}: id2label gives several outputs the name {twice[0]!r}. {advice}")
    return names


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
