"""YAML text → plain values and the line of each; duplicate keys, tabs and endless aliases are refused."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pkd.errors import RecipeError
from pkd.recipe.naming import Path, dotted, keywords, spot, undotted

_LARGEST_BYTES = 1_000_000
_LARGEST_VALUES = 20_000  # aliases of aliases make gigabytes of a few lines
_DEEPEST = 100
_PLAIN_SCALAR = re.compile(r"[^,\[\]{}#]+")


def parse_setting(text: str) -> tuple[str, Any]:
    """Split "key=value"; the value is read as YAML, or as plain text if the key's setting is `verbatim`.

    Raises:
        RecipeError: if there is no `=`, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {text}: expected key=value, as --set training.learning_rate=2e-5.")
    key = key.strip()
    path = keywords().get(key, undotted(key))
    field = spot(path).field
    if field is not None and field.metadata.get("verbatim"):
        return key, _verbatim(value)
    return key, parse_yaml(value, f"--set {key}", path)[0]


def _verbatim(value: str) -> str | None:
    """The text without surrounding quotes or spaces; `null` means the default, as in YAML."""
    if value == "null":
        return None
    if len(value) > 1 and value.strip():
        value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def parse_yaml(text: str, where: str, at: Path = ()) -> tuple[Any, dict[Path, int]]:
    """Read YAML: its plain values, and the line of each path.

    In a list of names, such as `[2.1, 2.10]`, numbers keep their spelling.

    Args:
        text: the YAML.
        where: its origin, for messages.
        at: the key whose value it is; () for a whole recipe.

    Raises:
        RecipeError: if it is not YAML, has a key twice, or contains itself.
    """
    try:
        loaded = YAML().load(io.StringIO(text))
    except MarkedYAMLError as error:
        raise RecipeError(_yaml_sentence(error, where)) from error
    except RecursionError as error:
        raise RecipeError(f"{where} is nested too deeply for a recipe.") from error
    except (
        YAMLError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError,
        NotImplementedError,
    ) as error:  # fmt: skip # ruamel lets Python's own errors through for odd tags, dates, numbers and directives
        first = str(error).strip().splitlines()[:1]
        raise RecipeError(f"{where} is not YAML: {''.join(first) or type(error).__name__}.") from error
    lines: dict[Path, int] = {}
    _keep_spelling(loaded, at, text.splitlines(), set())
    return plain_copy(loaded, where, lines), lines


def _yaml_sentence(error: MarkedYAMLError, where: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{where}:{mark.line + 1}" if mark else where
    problem = str(error.problem or error.context or "it cannot be read").splitlines()[0]
    if "duplicate key" in problem:
        key = problem.split('"')[1] if '"' in problem else "a key"
        return f"{place}: {key} is given twice; keep one of the two."
    if "\\t" in problem:
        return f"{place}: a tab stands where YAML wants spaces; indent with spaces."
    if "another document" in problem:
        return f"{place}: a second document begins with '---'; a recipe is one document."
    return f"{place}: {problem}, column {mark.column + 1 if mark else 1}; this is not YAML."


def recipe_text(path: FilePath) -> str:
    """Read the text of a recipe file.

    Raises:
        RecipeError: if there is none, with similar names, or it is not text.
    """
    try:
        if path.is_dir():
            raise RecipeError(f"{path.absolute()} is a folder; name the recipe in it, a YAML file.")
        if not path.exists():
            raise RecipeError(f"{path.absolute()} does not exist.{_near_names(path)} `pkd recipe` writes a recipe.")
        if path.stat().st_size > _LARGEST_BYTES:
            raise RecipeError(f"{path.absolute()} has {path.stat().st_size:,} bytes; a recipe is a short YAML text.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path.absolute()} is not UTF-8 text (byte {error.start}); a recipe is a YAML text."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _near_names(path: FilePath) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent.absolute()} either."
    names = [one.name for one in path.parent.iterdir() if one.suffix in (".yaml", ".yml")]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def plain_copy(value: Any, where: str, lines: dict[Path, int] | None = None) -> Any:
    """Copy values of ruamel or a caller into plain dicts, lists and scalars; fill `lines` with ruamel's line numbers.

    Raises:
        RecipeError: if it contains itself, or more than any recipe does.
    """
    count = 0

    def copy(one: Any, at: Path, above: tuple[int, ...]) -> Any:
        nonlocal count
        count += 1
        if id(one) in above or count > _LARGEST_VALUES or len(above) > _DEEPEST:
            raise RecipeError(f"{where}: {dotted(at) or 'the recipe'} holds itself or far too much for a recipe.")
        inside = (*above, id(one))
        if isinstance(one, Mapping):
            _note_lines(one, at, lines)
            return {str(key): copy(item, (*at, str(key)), inside) for key, item in one.items()}
        if isinstance(one, list | tuple):
            _note_lines(one, at, lines)
            return [copy(item, (*at, index), inside) for index, item in enumerate(one)]
        return _plain_scalar(one)

    return copy(value, (), ())


def _keep_spelling(container: Any, at: Path, lines: Sequence[str], seen: set[int]) -> None:
    """Restore the text of numbers, true and false in lists of names, where 2.10 is not 2.1."""
    if id(container) in seen or len(at) > _DEEPEST or not hasattr(container, "lc"):
        return  # each once: aliases of aliases are endless
    seen.add(id(container))
    if isinstance(container, Mapping):
        for key, item in container.items():
            _keep_spelling(item, (*at, str(key)), lines, seen)
        return
    field = spot(at).field if at else None
    for index, item in enumerate(container):
        if field is not None and field.type == "list[str]" and isinstance(item, int | float):
            line, column = container.lc.data[index][:2]
            written = _PLAIN_SCALAR.match(lines[line], column)
            container[index] = written[0].strip() if written else str(item)
        else:
            _keep_spelling(item, (*at, index), lines, seen)


def _note_lines(container: Any, at: Path, lines: dict[Path, int] | None) -> None:
    if lines is None or not hasattr(container, "lc"):
        return
    lines.setdefault(at, container.lc.line + 1 if isinstance(container.lc.line, int) else 1)
    for key, position in (container.lc.data or {}).items():
        lines[(*at, key if isinstance(container, list) else str(key))] = position[0] + 1


def _plain_scalar(value: Any) -> Any:
    """Python's own type of ruamel's scalar; anything else becomes text."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return int(value) if type(value).__name__ == "ScalarBoolean" else kind(value)
    return str(getattr(value, "value", value))
