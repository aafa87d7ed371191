"""How the user spells a key: a flag on the command line, a line of a recipe file, a keyword in Python.

The same job can be called in all three ways, so a message never writes a key itself: `named` returns the key's name,
`set_to` how to give it a value. Each of the three sets its spelling with `spelled_as`.
"""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from types import ModuleType

Path = tuple[str | int, ...]  # of a key


class Spelling(Protocol):
    """How keys are spelled by one of the three; a job's own parameter, such as max_drop, is a key of one part."""

    def name(self, path: Path) -> str:
        """The key in the middle of a sentence."""

    def place(self, path: Path) -> tuple[int, str]:
        """Its line, for the order of faults, and the key as the start of a message."""

    def setting(self, path: Path, value: Any) -> str:
        """The words that give the key a value; Ellipsis leaves the value open."""

    def offers(self, path: Path) -> bool:
        """Whether the key can be given here."""


@dataclass(frozen=True)
class AsKeywords:
    """In Python: `beta`, or as it was given."""

    given: Mapping[Path, str] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """As it was given, else the shortest keyword there is."""
        return _longest(self.given, path) or _keyword_of(path)

    def place(self, path: Path) -> tuple[int, str]:
        """All in one order."""
        return 0, self.name(path)

    def setting(self, path: Path, value: Any) -> str:
        """As `sep=';'`."""
        return self.name(path) if value is ... else f"{self.name(path)}={value!r}"

    def offers(self, path: Path) -> bool:
        """Every key is a keyword."""
        return True


@dataclass(frozen=True)
class AsFlags:
    """On the command line: `--beta`, or `--set data.sep` where the command has no flag of its own.

    Attributes:
        flags: key → the flag that this command has for it.
        given: key → how it was given by `--set`.
    """

    flags: Mapping[Path, str]
    given: Mapping[Path, str] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """The flag, without the path within its value."""
        if given := _longest(self.given, path):
            return given
        return self._flag(path) or f"--set {_dotted(path)}"

    def place(self, path: Path) -> tuple[int, str]:
        """All in one order."""
        return 0, self.name(path)

    def setting(self, path: Path, value: Any) -> str:
        """As `--max-length 64`, `--overwrite` or `--set data.sep=';'`."""
        flag = self._flag(path)
        if value is ... or (flag and value is True):
            return flag or f"--set {_dotted(path)}=..."
        if flag:
            return f"{flag} {shlex.quote(','.join(value) if isinstance(value, list) else _yaml(value))}"
        return f"--set {_dotted(path)}={shlex.quote(_yaml(value))}"

    def offers(self, path: Path) -> bool:
        """Keys with a flag, and all of a recipe; `--set` also accepts keys that a command of flags does not use."""
        return ("recipe",) in self.flags or self._flag(path) is not None

    def _flag(self, path: Path) -> str | None:
        return next((self.flags[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.flags), None)


@dataclass(frozen=True)
class AsLines:
    """In a recipe file: the whole key, with the line where it stands.

    Attributes:
        file: its name.
        lines: key → line.
        given: key → how it was given beside the file, by a flag or `--set`.
        moved: key → where it was written, for keys that have moved since.
        around: the spelling of names that are not recipe keys, such as the job's own parameters.
    """

    file: str
    lines: Mapping[Path, int]
    given: Mapping[Path, str] = field(default_factory=dict)
    moved: Mapping[Path, Path] = field(default_factory=dict)
    around: Spelling = field(default_factory=AsKeywords)

    def name(self, path: Path) -> str:
        """As `students.0.beta (recipe.yaml:4)`; without a line where the file does not have it."""
        if not _is_key(path):
            return self.around.name(path)
        if given := _longest(self.given, path):
            return given
        path = self.moved.get(path, path)
        where = f" ({FilePath(self.file).name}:{self.lines[path]})" if path in self.lines else ""
        return _dotted(path) + where

    def place(self, path: Path) -> tuple[int, str]:
        """As `recipe.yaml:4: students.0.beta`, by line; without a line of its own, its parent's."""
        if given := _longest(self.given, path):
            return -1, given
        path = self.moved.get(path, path)
        line = next((self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines), 1)
        return line, f"{self.file}:{line}: {_dotted(path)}"

    def setting(self, path: Path, value: Any) -> str:
        """As `data.sep: ';'`."""
        if not _is_key(path):
            return self.around.setting(path, value)
        return _dotted(path) if value is ... else f"{_dotted(path)}: {_quoted(_yaml(value))}"

    def offers(self, path: Path) -> bool:
        """Every key can be written."""
        return True


@dataclass(frozen=True)
class AsValues:
    """For nested values: the whole key after the name of their origin, or as it was given beside them."""

    where: str
    given: Mapping[Path, str] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """As `data.train`."""
        return _longest(self.given, path) or _dotted(path)

    def place(self, path: Path) -> tuple[int, str]:
        """As `paper: data.train`, all in one order."""
        return 0, f"{self.where}: {self.name(path)}"

    def setting(self, path: Path, value: Any) -> str:
        """As `data.sep: ';'`."""
        return _dotted(path) if value is ... else f"{_dotted(path)}: {_quoted(_yaml(value))}"

    def offers(self, path: Path) -> bool:
        """Every key can be given."""
        return True


_current: ContextVar[Spelling] = ContextVar("spelling", default=AsKeywords())  # noqa: B039 - frozen, and never filled

_student: ContextVar[int] = ContextVar("student", default=0)


@contextlib.contextmanager
def spelled_as(spelling: Spelling) -> Iterator[None]:
    """Use this spelling for messages inside the block."""
    before = _current.set(spelling)
    try:
        yield
    finally:
        _current.reset(before)


def current_spelling() -> Spelling:
    """The spelling in use."""
    return _current.get()


@contextlib.contextmanager
def about_student(index: int) -> Iterator[None]:
    """Inside the block, a student's key given by its last part belongs to this student."""
    before = _student.set(index)
    try:
        yield
    finally:
        _student.reset(before)


def named(key: str) -> str:
    """How the user spells a key, given by its whole name or as a job's own parameter.

    >>> named("training.learning_rate"), named("max_drop")
    ('learning_rate', 'max_drop')
    """
    return _current.get().name(_path_of(key))


def set_to(key: str, value: Any = ...) -> str:
    """How the user gives a key a value; without a value, how the key is written.

    >>> set_to("data.sep", ";"), set_to("data.encoding")
    ("sep=';'", 'encoding')
    """
    return _current.get().setting(_path_of(key), value)


def call_of(command: str, values: Mapping[str, Any]) -> str:
    """A whole command with these values, as the user can copy it.

    >>> call_of("compress", {"pick": 2, "output": "other"})
    "pkd.compress(pick=2, output='other')"
    """
    spelling = _current.get()
    if isinstance(spelling, AsLines):  # a command reads its file, but is not written in it
        spelling = spelling.around
    settings = [spelling.setting(_path_of(key), value) for key, value in values.items()]
    if isinstance(spelling, AsFlags):
        return f"pkd {command} {' '.join(settings)}"
    return f"pkd.{command}({', '.join(settings)})"


def offers(key: str) -> bool:
    """Whether the user can give a key here, so that advice can be followed."""
    return _current.get().offers(_path_of(key))


def _path_of(key: str) -> Path:
    """The path of a key, which may be given by its last part alone; a job's own parameter is its own path."""
    names = _naming()
    if names is None:
        return (key,)
    path: Path = names.keywords().get(key) or names.undotted(key)
    return ("students", _student.get(), *path[2:]) if path[:2] == ("students", 0) and "." not in key else path


def _longest(given: Mapping[Path, str], path: Path) -> str | None:
    """How the longest part of `path` that was given is spelled, with the rest of it."""
    for end in range(len(path), 0, -1):
        if path[:end] in given:
            return ".".join([given[path[:end]], *map(str, path[end:])])
    return None


@functools.cache
def _keywords_by_path() -> dict[Path, str]:
    by_path: dict[Path, str] = {}
    names = _naming()
    for name, path in () if names is None else names.keywords().items():
        if name != path[-1] or path not in by_path:  # teacher, not model, is the keyword of teacher.model
            by_path[path] = name
    return by_path


def _keyword_of(path: Path) -> str:
    return _keywords_by_path().get(path) or _dotted(path)


def _naming() -> ModuleType | None:
    """The module of key names; None in a container that serves without pydantic, which has no recipes."""
    try:
        from pkd.recipe import naming
    except ImportError:
        return None
    return naming


def _is_key(path: Path) -> bool:
    names = _naming()
    return names is not None and names.spot(path).field is not None


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, list | tuple) else str(value).replace("\t", "\\t")


def _quoted(text: str) -> str:
    plain = text.replace("_", "").replace("-", "").replace(".", "").isalnum() or text.startswith("[")
    return text if plain else f"'{text}'"
