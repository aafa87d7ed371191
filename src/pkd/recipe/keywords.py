"""Flat keywords → the nested values of a recipe: beta=500 goes to students.0.beta, seed=1 to seed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pkd.recipe.faults import Fault
from pkd.recipe.naming import (
    Path,
    dotted,
    fields_of,
    has_no_meaning_today,
    key_of_today,
    keywords,
    old_keyword,
    spot,
    undotted,
)
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import current_spelling
from pkd.recipe.suggestions import RENAMED, gone, hint_for, meant

_LISTS_OF_NAMES = {("data", name) for name in ("text_columns", "label_columns", "label_names", "column_names")}

_LEARNING = ("data", "transfer", "annotation", "training", "students", "evaluation")
_OF_RUN = ("effort", "device", "seed", "seeds")
READ_BY: Mapping[str, tuple[Collection[str], Collection[str]]] = {  # verb -> parts of the recipe, and further keywords
    "distill": (
        _LEARNING,
        ("eval", "test", "unlabelled", "layers", "layer_map", "student", "name", *_OF_RUN, "patience_from", *_LEARNING),
    ),
    "compress": (
        (*_LEARNING, "budget"),
        ("train", "eval", "test", "unlabelled", *_OF_RUN, *_LEARNING, "budget"),
    ),
    "finetune": (("data", "training", "evaluation"), ("test", "device", "seed")),
    "annotate": (("data", "annotation"), ("layers", "layer_map", "device")),
    "augment": (("data",), ("seed",)),
    "evaluate": (("data", "evaluation"), ("eval", "device")),
    "export": (("data", "evaluation"), ()),
}

_NAMES = {("data", "train"), ("data", "eval"), ("data", "test"), ("data", "unlabelled"), ("teacher", "model")}
_PLAIN = (str, os.PathLike, int, float, list, tuple, Mapping)  # the types that pydantic validates


class PlacedKeywords(dict[str, Any]):
    """Nested values, with the keyword of each and the faults of keywords that have no key."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[Path, str] = {}
        self.faults: list[Fault] = []


def place_keywords(given: Mapping[str, Any]) -> PlacedKeywords:
    """Nest flat keywords as in a recipe; their faults are in `faults`.

    A keyword is the last part of a key (`beta`), the whole of it (`"training.learning_rate"`), or a section with a
    mapping (`training={...}`). `teacher` and `train` may be text. None stands for "not given".
    """
    placed = PlacedKeywords()
    for keyword, value in sorted(given.items(), key=lambda item: item[0].count(".") + (item[0] not in _sections())):
        if value is None:
            continue
        path = path_of_keyword(keyword, value)
        fault = _fault(placed, keyword, path, value)
        if path is None or fault is not None:
            placed.faults.append(Fault(path or undotted(keyword), fault or ""))
        elif not _put(placed, path, _plain(value, path)):
            about = f"cannot go into {dotted(path[:-1])}, which is given as well; write it in there"
            placed.faults.append(Fault(path, about))
        placed.names.setdefault(path or undotted(keyword), keyword)
    return placed


def unread_faults(given: PlacedKeywords, verb: str) -> Iterator[Fault]:
    """The faults of keys that a verb does not read, though a recipe has them; verbs that train students read all."""
    if verb not in READ_BY or "students" in READ_BY[verb][0]:
        return
    parts, further = READ_BY[verb]
    read = {keywords()[name] for name in further}
    known = {fault.path for fault in given.faults}
    for path in given.names:
        if path[0] in parts or path in read or path in known:
            continue
        namesakes = [(part, path[-1]) for part in parts if spot((part, path[-1])).field is not None]
        instead = f"; did you mean {current_spelling().name(namesakes[0])}?" if namesakes else ""
        yield Fault(path, f"is nothing that `pkd {verb}` reads; of a recipe it reads {', '.join(parts)}{instead}")


def _fault(placed: PlacedKeywords, keyword: str, path: Path | None, value: Any) -> str | None:
    if path is None:
        return f"is no setting of pkd; {_meant(keyword)}"
    if path in _NAMES and not isinstance(value, _PLAIN):
        return f"is of type {type(value).__name__}; give the name of a file or folder, or a hub name"
    if path in placed.names:
        return f"is given as {keyword} too, which is the same setting; give one of them"
    return None


def _sections() -> set[str]:
    return set(fields_of(Recipe))


def path_of_keyword(keyword: str, value: Any = None) -> Path | None:
    """The path of a keyword in a recipe; None if it is unknown."""
    if keyword == "teacher" and isinstance(value, Mapping):
        return ("teacher",)
    if keyword in keywords():
        return keywords()[keyword]
    written = old_keyword(keyword) or undotted(keyword)
    path = key_of_today(written)
    is_known = spot(path).field is not None or has_no_meaning_today(path)
    return path if len(written) > 1 and is_known else None


def _meant(keyword: str) -> str:
    if len(path := undotted(keyword)) > 1 and path[0] in _sections():
        return hint_for(spot(path).path)
    lowered = keyword.lower().replace("-", "_")
    if (said := gone(lowered)) is not None:
        return said
    if lowered in RENAMED:
        return f"write {RENAMED[lowered]}"
    known = [*keywords(), *(dotted(path) for path in keywords().values())]
    near = meant(keyword, known)
    if near is None:
        return "`pkd recipe` lists all of them"
    return f"did you mean {current_spelling().name(path_of_keyword(near) or (near,))}?"


def _plain(value: Any, path: Path) -> Any:
    """Paths become text, and one text where a list is expected becomes that list."""
    if isinstance(value, os.PathLike):
        value = os.fsdecode(value)
    if isinstance(value, str) and path in _LISTS_OF_NAMES:
        return [column.strip() for column in value.split(",") if column.strip()]
    if isinstance(value, str) and path in (("data", "unlabelled"), ("training", "report_to")):
        return [value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index)) for index, item in enumerate(value)]
    return value


def _put(values: dict[str, Any], path: Path, value: Any) -> bool:
    """Set `value` at `path`, creating what is missing; False if another value is in the way."""
    here: Any = values
    for key, following in itertools.pairwise(path):
        if isinstance(here, list) and isinstance(key, int):
            if key > len(here) or (key == 0 and len(here) > 1):
                return False  # several students: which one is meant?
            if key == len(here):
                here.append({})
            here = here[key]
        elif isinstance(here, dict):
            here = here.setdefault(key, [] if isinstance(following, int) else {})
        else:
            return False
    if isinstance(here, list) and isinstance(path[-1], int) and path[-1] <= len(here):
        here[path[-1] : path[-1] + 1] = [value]
        return True
    if not isinstance(here, dict):
        return False
    here[path[-1]] = value
    return True
