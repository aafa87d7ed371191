"""Values → settings, or every fault in them as a sentence: where, what was given, what was expected.

The ranges and types are pydantic's; the words are ours.
"""

from __future__ import annotations

import copy
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar, Union, cast

from pydantic import TypeAdapter, ValidationError

from pkd.errors import PKDError, RecipeError
from pkd.recipe.naming import Path, Spot, help_of, hints, spot, without_none
from pkd.recipe.schema import Recipe
from pkd.recipe.suggestions import hint_for, meant

T = TypeVar("T")

_KINDS = {
    "bool": "true or false",
    "dataclass": "a mapping of its keys",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "string": "text",
    "tuple": "a pair",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: where; empty for a sentence that names its key itself.
        sentence: continues after the name of the key.
        kind: the class of error.
        whole: the sentence is complete without the name of the key, which precedes it.
    """

    path: Path
    sentence: str
    kind: type[PKDError] = RecipeError
    whole: bool = False

    def line(self, name: str) -> str:
        """The fault in words."""
        if not self.path:
            return self.sentence
        return f"{name}: {self.sentence}" if self.whole else f"{name} {self.sentence}"


@dataclass
class KnownFaults:
    """Faults found before a job is called: in the command line.

    Attributes:
        sentences: one per line.
        names: their keys, as the user spells them; further faults of these are not reported.
    """

    sentences: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(self, sentence: str, name: str | None = None) -> None:
        """Add a fault."""
        self.sentences.append(sentence)
        if name is not None:
            self.names.add(name)


known_faults: ContextVar[KnownFaults | None] = ContextVar("known_faults", default=None)


def raise_faults(faults: Sequence[Fault], place: Callable[[Path], tuple[int, str]]) -> None:
    """Raise one error with all faults, one per line; `place` returns the line and the name of a path.

    Those that were known before come first. Of faults of several kinds the error is of the first in the order of the
    exit codes: the recipe's before the data's.
    """
    known = known_faults.get() or KnownFaults()
    placed = [(*place(fault.path), fault) for fault in faults]
    placed = sorted((one for one in placed if one[1] not in known.names), key=lambda one: one[0])
    lines = list(dict.fromkeys(map(_ended, [*known.sentences, *(fault.line(name) for _, name, fault in placed)])))
    if not lines:
        return
    kinds: list[type[PKDError]] = [RecipeError] * len(known.sentences) + [fault.kind for _, _, fault in placed]
    if len(lines) > 1:
        lines.insert(0, f"{len(lines)} things are wrong:")
    raise min(kinds, key=lambda kind: kind.exit_code)("\n".join(lines))


def _ended(line: str) -> str:
    """End a line of several sentences with a full stop."""
    return f"{line}." if ". " in line and not line.endswith((".", "?", "!")) else line


def settings_from(settings: type[T], values: Mapping[str, Any], at: Path = ()) -> tuple[T | None, list[Fault]]:
    """Make `settings` of `values`, found at `at` in a recipe, and return every fault in them.

    Faulty values are replaced by their defaults, so that the rest can still be checked; None if even that fails.
    """
    remaining: Any = copy.deepcopy(dict(values))
    faults = [Fault(path, sentence) for path, sentence in _booleans_as_numbers(settings, remaining)]
    for fault in faults:
        _remove(remaining, fault.path)
    for _ in range(3):  # a removed value can bring another fault to light, hardly ever two in a row
        try:
            return cast(T, _adapter(cast(Any, settings)).validate_python(remaining)), faults
        except ValidationError as error:
            found = _faults(settings, remaining, error, at)
        faults += found
        for fault in found:
            _remove(remaining, spot(fault.path, settings).path)
    return None, faults


@functools.cache
def _adapter(settings: Any) -> TypeAdapter[Any]:
    return TypeAdapter(settings)


def _faults(settings: type, values: Any, error: ValidationError, at: Path) -> list[Fault]:
    grouped: dict[Path, list[Any]] = {}
    for detail in error.errors(include_url=False, include_context=True):
        grouped.setdefault(_value_path(settings, detail["loc"]), []).append(detail)
    return [Fault(path, _sentence(settings, path, values, details, at)) for path, details in grouped.items()]


def _value_path(settings: type, loc: Path) -> Path:
    """Pydantic's location without the names of a union's arms, which the user did not write."""
    reached = spot(loc, settings)
    if reached.field is None:
        return reached.path
    hint = without_none(hints(reached.owner)[reached.field.name])
    return reached.path if _is_union(hint) or hint in (int, float) else tuple(loc)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _sentence(settings: type, path: Path, values: Any, details: list[Any], at: Path) -> str:
    reached = spot(path, settings)
    if reached.field is None:
        return f"is not known; {hint_for((*at, *path), Recipe if at else settings)}"
    value = value_at(values, path)
    explained = f" ({help_of(reached.field)})" if help_of(reached.field) else ""
    return f"is {shown(value)}; it must be {_expected(value, details, reached)}{explained}"


def value_text(value: Any) -> str:
    """A value as YAML would have it, numbers as short as they can be without becoming another.

    >>> value_text(5e-05), value_text(2.0), value_text(0.123456), value_text(True), value_text([1, 3])
    ('5e-05', '2', '0.123456', 'true', '[1, 3]')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def shown(value: Any) -> str:
    """The value as messages show it: as YAML, truncated."""
    if value is None:
        return "empty"
    text = value_text(value) if isinstance(value, bool | float) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _expected(value: Any, details: list[Any], reached: Spot) -> str:
    """The end of "it must be …", with the likely intent."""
    options = [option for detail in details for option in _literals(detail)]
    if len(details) == 1 and not options:
        return _expectation(details[0], value)
    words = list(dict.fromkeys(options))
    assert reached.field is not None
    hint = without_none(hints(reached.owner)[reached.field.name])
    if hint in (int, float):  # or one of some words
        number = next(_expectation(detail, value) for detail in details if not _literals(detail))
        if not isinstance(value, str):
            return number
        words.append(number)
    if lists := [arm for arm in typing.get_args(hint) if typing.get_origin(arm) is list]:
        items = typing.get_args(lists[0])[0]
        if items is str:
            words += ["text", "a list of texts"]
        else:
            words.append("a list of pairs" if typing.get_origin(items) is tuple else "a list of layers")
    words = words or list(dict.fromkeys(_expectation(detail, value) for detail in details))
    sentence = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    near = meant(value, options, cutoff=0.6) if isinstance(value, str) else None
    return f"{sentence}, did you mean {near}?" if near else sentence


def _literals(detail: Any) -> list[str]:
    if detail["type"] != "literal_error":
        return []
    return [part.strip(" '") for part in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]


def _expectation(detail: Any, value: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    bounds = {
        "greater_than": ("above", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than": ("below", "lt"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in bounds:
        word, name = bounds[kind]
        bound = context[name]
        # 50 is meant as a percentage; 2 or 1.5 is not
        percent = name in ("lt", "le") and bound == 1 and isinstance(value, int | float) and 10 <= value <= 100
        meant_share = f", did you mean {value / 100:g}?" if percent else ""
        return f"{word} {bound:g}{meant_share}" if isinstance(bound, float) else f"{word} {bound}{meant_share}"
    if kind == "finite_number":
        return "a finite number"
    if kind == "int_from_float":
        return "a whole number"
    if kind == "string_pattern_mismatch":
        return "letters, digits, '.', '_' and '-', starting with a letter or digit"
    if kind in ("too_short", "too_long", "missing"):
        return "a pair"
    return _KINDS.get(kind.split("_")[0], str(detail["msg"]).removeprefix("Input should be "))


def _booleans_as_numbers(settings: type, values: Any, at: Path = ()) -> list[tuple[Path, str]]:
    """Pydantic reads `true` as the number 1; nobody who writes `alpha: true` means that."""
    if isinstance(values, bool):
        reached = spot(at, settings)
        if reached.field is None or reached.path != at or "training" in at[-1:]:
            return []
        hint = without_none(hints(reached.owner)[reached.field.name])
        if hint in (int, float):
            number = "a whole number" if hint is int else "a number"
            return [(at, f"is {shown(values)}; it must be {number} ({help_of(reached.field)})")]
    if isinstance(values, Mapping):
        return [fault for key, value in values.items() for fault in _booleans_as_numbers(settings, value, (*at, key))]
    if isinstance(values, list):
        return [
            fault for index, value in enumerate(values) for fault in _booleans_as_numbers(settings, value, (*at, index))
        ]
    return []


def value_at(values: Any, path: Path) -> Any:
    """The value at a path of nested values; None where there is none."""
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _remove(values: Any, path: Path) -> None:
    """Remove the value at `path`; an item of a list becomes {}, so that the others keep their index."""
    parent = value_at(values, path[:-1]) if path else None
    if isinstance(parent, dict):
        parent.pop(path[-1], None)
    elif isinstance(parent, list) and isinstance(path[-1], int) and path[-1] < len(parent):
        parent[path[-1]] = {}
