"""The recipe's fields as command-line flags: name, type, help and default are read off the dataclasses."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Union

import typer
from typer.models import OptionInfo

from pkd.cli.gathering import note_usage
from pkd.errors import RecipeError
from pkd.recipe.devices import check_device
from pkd.recipe.effort import AUGMENT, DEFAULT, EACH_STUDENT, EFFORTS
from pkd.recipe.keywords import path_of_keyword
from pkd.recipe.naming import Path, default_of, fields_of, help_of, hints, undotted, without_none
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import BudgetSettings, DataSettings, StudentSettings, TrainingSettings, TransferSettings
from pkd.recipe.spelling import AsFlags
from pkd.recipe.yaml_text import parse_setting

RESULT_PANEL = "Output and more"

RecipeFile = Annotated[
    FilePath, typer.Argument(metavar="RECIPE.yaml", help="the recipe, as `pkd recipe` writes one", show_default=False)
]
Classifier = Annotated[str, typer.Argument(metavar="MODEL", help="folder of a classifier", show_default=False)]
Output = Annotated[str, typer.Option("--output", metavar="DIR", help="folder for the result", show_default=False)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="start an unfinished stage afresh", rich_help_panel=RESULT_PANEL)
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON", rich_help_panel=RESULT_PANEL)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress, only warnings", rich_help_panel=RESULT_PANEL)]
Debug = Annotated[bool, typer.Option("--debug", help="tracebacks and library logs", rich_help_panel=RESULT_PANEL)]


def _checked_device(name: str | None) -> str | None:
    try:
        check_device(name or "auto")
    except RecipeError as error:
        raise typer.BadParameter(str(error)) from None
    return name


Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="|".join(typing.get_args(hints(Recipe)["device"])),
        help=help_of(fields_of(Recipe)["device"]),
        show_default=str(default_of(fields_of(Recipe)["device"])),
        callback=_checked_device,
        rich_help_panel=RESULT_PANEL,
    ),
]


_EFFORT, _EFFORTS = fields_of(Recipe)["effort"], typing.get_args(hints(Recipe)["effort"])


def _checked_effort(name: str | None) -> str | None:
    if name not in (None, *_EFFORTS):
        raise typer.BadParameter(f"{name} is none; choose {', '.join(_EFFORTS[:-1])} or {_EFFORTS[-1]}.")
    return name


EffortOf = Annotated[
    str | None,
    typer.Option(
        "--effort",
        metavar="|".join(_EFFORTS),
        help=help_of(_EFFORT),
        show_default=str(default_of(_EFFORT)),
        callback=_checked_effort,
        rich_help_panel=RESULT_PANEL,
    ),
]


def _set(help: str) -> Any:
    return typer.Option(
        "--set", metavar="KEY=VALUE", help=help, show_default=False, rich_help_panel=RESULT_PANEL
    )  # fmt: skip


Set = Annotated[list[str] | None, _set("any other key of `pkd recipe`; repeatable")]
SetInRecipe = Annotated[list[str] | None, _set("give a key of the recipe another value; repeatable")]


@dataclass(frozen=True)
class Flags:
    """A panel of flags: the common fields of a settings class, or the `named` ones.

    `defaults` are the job's, where they differ from the recipe's.
    """

    panel: str
    settings: type
    named: tuple[str, ...] | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def fields(self) -> list[dataclasses.Field[Any]]:
        """The fields that become flags."""
        common = [field for field in fields_of(self.settings).values() if field.metadata.get("common")]
        return [field for field in common if self.named is None or field.name in self.named]


DATA = Flags("Data", DataSettings)
COLUMNS = Flags(
    "Data",
    DataSettings,
    ("task", "folder", "text_columns", "label_column", "label_columns", "problem_type", "max_length"),
)
TEXTS = Flags("Data", DataSettings, ("text_columns",))
TRANSFER = Flags("Data", TransferSettings, defaults={"augment": EFFORTS[DEFAULT][AUGMENT]})
STUDENT = Flags("Student", StudentSettings, defaults=EACH_STUDENT[DEFAULT])
TRAINING = Flags("Training", TrainingSettings)
RUN = Flags("Run", Recipe)
BUDGET = Flags("Budget", BudgetSettings)
WHERE = Flags(RESULT_PANEL, Recipe, ("device",))

_METAVARS = {int: "N", float: "X", str: "TEXT"}
_OWN_METAVARS = {
    "eval": "FILE",
    "test": "FILE",
    "unlabelled": "FILE",
    "text_columns": "A[,B]",
    "label_column": "NAME",
    "label_columns": "A,B,...",
    "problem_type": "KIND",
    "task": "NAME",
    "folder": "DIR",
    "layer_map": "skip|last|1:2,2:4",
    "start": "spread|first|1,3",
    "student": "MODEL",
    "latency": "3ms",
    "latency_p95": "5ms",
    "size": "20MB",
    "time": "2h",
    "widths": "X,...",
    "batch_sizes": "N,...",
    "lengths": "N,...",
}


def with_flags(*panels: Flags) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, whose last parameter is `**keys`, the flags of `panels`, and `--set` for all other keys.

    Only what the user gave arrives in `keys`.
    """
    fields = {field.name: (panel, field) for panel in panels for field in panel.fields()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = {parameter.name: _own_name(parameter) for parameter in parameters_of(command)}
        flags = [_parameter(panel, field) for panel, field in fields.values()]
        settings = inspect.Parameter("set", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Set)

        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            keys = {name: _value(panel, name, given.pop(name)) for name, (panel, _) in fields.items()}
            keys = {name: value for name, value in keys.items() if value is not None}
            for text in given.pop("set") or ():
                try:
                    key, value = parse_setting(text)
                except RecipeError as error:
                    note_usage(str(error))
                    continue
                if key in given:
                    note_usage(f"{key} is no key for --set here: this command has it as {own[key]}")
                elif key in keys:
                    note_usage(f"{key} is given twice; keep one of the two")
                else:
                    keys[key] = value
            command(**given, **keys)

        declare(wrapped, [*parameters_of(command), settings, *flags])
        return wrapped

    return decorate


def spelling_of(parameters: Sequence[inspect.Parameter], overrides: Sequence[str]) -> AsFlags:
    """The spelling of a recipe's keys, and a command's own parameters, as its flags."""
    flags: dict[Path, str] = {}
    for each in parameters:
        flags[(each.name,)] = flags[path_of_keyword(each.name) or (each.name,)] = _own_name(each)
    keys = [text.partition("=")[0].strip() for text in overrides]
    return AsFlags(flags, {path_of_keyword(key) or undotted(key): f"--set {key}" for key in keys})


def parameters_of(command: Callable[..., None]) -> list[inspect.Parameter]:
    """The named parameters of a command, their annotations resolved."""
    types = typing.get_type_hints(command, include_extras=True)
    return [
        parameter.replace(annotation=types[parameter.name])
        for parameter in inspect.signature(command).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def _own_name(parameter: inspect.Parameter) -> str:
    """The name of a command's parameter on the command line: its flag, or its metavar, such as MODEL."""
    option = typing.get_args(parameter.annotation)[1]
    return (
        "--" + parameter.name.replace("_", "-") if isinstance(option, OptionInfo) else str(option.metavar).rstrip(".")
    )


def declare(command: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> None:
    """Set the signature of a command's wrapper, from which Typer makes flags."""
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in named}


def _parameter(panel: Flags, field: dataclasses.Field[Any]) -> inspect.Parameter:
    hint = without_none(hints(panel.settings)[field.name])
    flag = "--" + field.name.replace("_", "-")
    kind, metavar, declared = _kind(field.name, hint)
    if kind is bool:
        declared = f"{flag}/--no-{flag[2:]}"
    option = typer.Option(
        declared or flag,
        metavar=metavar,
        help=_with_words(help_of(field), hint, metavar),
        show_default=_default(panel.defaults.get(field.name, default_of(field)), flag),
        rich_help_panel=panel.panel,
        autocompletion=_values(hint),
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _kind(name: str, hint: Any) -> tuple[Any, str | None, str | None]:
    """How the command line reads a field: its type, its metavar in the help, and its own declaration if any."""
    if name in ("unlabelled", "start"):
        return list[str], _OWN_METAVARS[name], None
    if words := _words(hint):
        return str, _OWN_METAVARS.get(name, "|".join(words)), None
    if hint in (int, float):  # read as text, so that a bad number is reported with all other faults
        return str, _METAVARS[hint], None
    if hint is bool:
        return bool, None, None
    return str, _OWN_METAVARS.get(name, "TEXT"), None


def _words(hint: Any) -> list[str]:
    """The words that a flag accepts; none if it accepts other values too."""
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    arms = [_words(arm) for arm in typing.get_args(hint)] if typing.get_origin(hint) in (Union, types.UnionType) else []
    return [word for words in arms for word in words] if all(arms) else []


def _with_words(help: str, hint: Any, metavar: str | None) -> str:
    """The help, with the accepted words if the flag itself does not show them."""
    words = _words(hint)
    return (
        help
        if not words or metavar == "|".join(words)
        else f"{help}; or {', '.join(word for word in words if f'{word}:' not in help)}"
    )


def _values(hint: Any) -> Callable[[str], list[str]] | None:
    """Shell completion for a flag with a few accepted words."""
    words = _words(hint)
    if not words:
        return None
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]  # Typer requires this name


def _default(default: Any, flag: str) -> str | bool:
    """A default as the help shows it: for a switch the flag of the default; nothing for an empty one."""
    if isinstance(default, bool):
        return flag if default else f"--no-{flag[2:]}"
    if default is None or default == []:
        return False
    if isinstance(default, list):
        return ",".join(f"{each:g}" for each in default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _value(panel: Flags, name: str, given: Any) -> Any:
    """The value of a flag's text; None and an empty list mean "not given"."""
    if given is None or given == []:
        return None
    if without_none(hints(panel.settings)[name]) in (int, float):
        return _number(given)
    if name == "layer_map":
        return layer_map(given)
    if name == "start":
        return start(given)
    return given


def _number(text: str) -> int | float | str:
    """Parse a number; return other text unchanged, which the recipe's checks will report."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def layer_map(text: str) -> str | list[list[int]]:
    """Read `skip`, `last`, or pairs as `1:2,2:4`."""
    if ":" not in text:
        return text
    pairs = [_numbers(pair, ":", f"--layer-map {text}: {pair} is no pair as 1:2") for pair in text.split(",")]
    return [pair for pair in pairs if pair is not None]


def start(texts: Sequence[str]) -> Any:
    """Read one start, as `spread` or `1,3,5`, or several, repeated or as `spread,first`."""
    starts: list[Any] = []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        if all(part.isdecimal() for part in parts):
            starts.append(_numbers(text, ",", f"--start {text[:40]} is no list of layers as 1,3"))
        else:
            starts += parts
    return starts[0] if len(starts) == 1 else starts


def numbers(text: str | None, flag: str, kind: str = "layers as 2,4") -> list[int] | None:
    """Read numbers as `2,4`."""
    return None if text is None else _numbers(text, ",", f"{flag} {text} is no list of {kind}")


def _numbers(text: str, separator: str, complaint: str) -> list[int] | None:
    try:
        return [int(part) for part in text.split(separator)]
    except ValueError:
        note_usage(complaint, complaint.partition(" ")[0])
        return None
