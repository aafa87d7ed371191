"""The keywords of the public verbs as Python source, so that editors complete them and type checkers know them.

`python -m pkd.recipe.keyword_source > src/pkd/recipe/keyword_types.py` regenerates them from the recipe; a test
compares the file with it.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, Literal, Union

from pkd.recipe.keywords import READ_BY
from pkd.recipe.naming import help_of, hints, keywords, settings_within, spot

# part of the recipe -> the class of its keywords; a name that several verbs have as a parameter is left to the verbs
_PARTS = {
    "data": "DataKeywords",
    "transfer": "TransferKeywords",
    "annotation": "AnnotationKeywords",
    "training": "TrainingKeywords",
    "students": "StudentKeywords",
    "evaluation": "EvaluationKeywords",
    "budget": "BudgetKeywords",
}
_OF_VERBS = ("train", "eval", "test", "unlabelled", "layers", "layer_map", "student")
_OWN = ("annotate", "layers")  # a key of the recipe that the verb has as its own parameter
_FILES = ("train", "eval", "test", "folder", "output", "student")
_HEAD = '''"""The keywords of the public verbs, made by `python -m pkd.recipe.keyword_source`: not to be edited."""

# fmt: off

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from pkd.recipe.places import AnyPath
'''


def keyword_types_source() -> str:
    """The source of `pkd.recipe.keyword_types`: a TypedDict for each verb that takes keys of the recipe."""
    classes = [
        _typed_dict(name, f"Keys of `{part}`.", ["TypedDict"], _keywords_of(part)) for part, name in _PARTS.items()
    ]
    for verb, (parts, further) in READ_BY.items():
        about = f"What `pkd.{verb}` takes besides its own parameters."
        taken = [keyword for keyword in further if (verb, keyword) != _OWN]
        classes.append(_typed_dict(f"{verb.title()}Keywords", about, [_PARTS[part] for part in parts], taken))
    return _HEAD + "".join(f"\n\n{each}" for each in classes)


def _typed_dict(name: str, about: str, bases: Collection[str], taken: Iterable[str]) -> str:
    lines = [f"class {name}({', '.join(bases)}, total=False):", f'    """{about}"""']
    for keyword in taken:
        reached = spot(keywords()[keyword])
        assert reached.field is not None  # every keyword has a key
        kind = _source(hints(reached.owner)[reached.field.name], keyword)
        lines += ["", f"    {keyword}: {kind} | None", f'    """{help_of(reached.field)}"""']
    return "\n".join(lines) + "\n"


def _keywords_of(part: str) -> Iterator[str]:
    for keyword, path in keywords().items():
        if path[0] == part and len(path) > 1 and keyword not in _OF_VERBS:
            yield keyword


def _source(hint: Any, keyword: str) -> str:
    """A type as source: what Python callers may pass, which is more than YAML can hold."""
    if settings_within(hint)[0] is not None:
        return "Sequence[Mapping[str, Any]]" if settings_within(hint)[1] else "Mapping[str, Any]"
    if keyword == "unlabelled":
        return "AnyPath | Sequence[AnyPath]"
    if keyword in _FILES:
        return "AnyPath"
    return " | ".join(dict.fromkeys(_arms(hint)))


def _arms(hint: Any) -> Iterator[str]:
    while typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        for arm in arguments:
            if arm is not type(None) and typing.get_origin(arm) is not Literal:
                yield from _arms(arm)
        if named := [name for arm in arguments if typing.get_origin(arm) is Literal for name in typing.get_args(arm)]:
            yield from _arms(Literal[tuple(named)])
    elif origin is Literal:
        yield "Literal[" + ", ".join(f'"{name}"' for name in arguments) + "]"
    elif origin is list:
        yield f"Sequence[{' | '.join(dict.fromkeys(_arms(arguments[0])))}]"
        if arguments[0] is str:
            yield "str"  # one name, or several parted by commas
    elif origin is tuple:
        yield f"tuple[{', '.join(next(_arms(one)) for one in arguments)}]"
    elif origin is dict:
        yield "Mapping[str, Any]"
    else:
        yield hint.__name__


if __name__ == "__main__":
    sys.stdout.write(keyword_types_source())
