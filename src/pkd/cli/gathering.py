"""Report all faults of a command line at once, together with those that its job finds.

Typer's parser stops at the first unknown flag, missing flag or value of the wrong type. Here each of them is removed
and noted, and the command runs with the rest until it calls its job, where `raise_faults` also reports the noted
faults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import typer
from typer.core import TyperCommand

from pkd.cli.usage import missing_sentence, name_of, unknown_flag_sentence, value_sentence
from pkd.errors import PKDError
from pkd.recipe.faults import Fault, KnownFaults, known_faults, raise_faults
from pkd.recipe.keywords import path_of_keyword
from pkd.recipe.naming import Path
from pkd.recipe.spelling import AsFlags, spelled_as

_WRITTEN = "pkd.written"


@dataclass
class _Written:
    """A command line as it was written.

    Attributes:
        known: its faults.
        sure: False after an unknown flag, as the next word may be its value or an argument of the command.
        has_gaps: whether something required is missing.
    """

    known: KnownFaults = field(default_factory=KnownFaults)
    sure: bool = True
    has_gaps: bool = False


def note_usage(sentence: str, name: str | None = None) -> None:
    """Note a fault of the command line; `name` is its flag.

    Raises:
        BadParameter: outside of a command that gathers faults.
    """
    known = known_faults.get()
    if known is None:
        raise typer.BadParameter(sentence)
    known.add(sentence, name)


class GatheringCommand(TyperCommand):
    """A command that runs despite faults in its command line, to find the others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the flags; note their faults."""
        if ctx.resilient_parsing:  # for shell completion
            return super().parse_args(ctx, args)
        written = ctx.meta[_WRITTEN] = _Written()
        with spelled_as(AsFlags(_flags_of(self.get_params(ctx)))):
            options, rest = self._options(ctx, list(args), written)
            for parameter in sorted(self.get_params(ctx), key=lambda one: not one.is_eager):
                try:
                    _, rest = parameter.handle_parse_result(ctx, options, rest)
                except typer.TyperException as error:
                    _note_value(parameter, options.get(parameter.name), error, written)
                    ctx.params[parameter.name] = _stand_in(parameter)
                    written.has_gaps |= parameter.required
        if rest and written.sure:
            written.known.add(f"`{ctx.command_path}` has no use for {', '.join(map(repr, rest))}")
        ctx.args = []
        return []

    def _options(self, ctx: Any, args: list[str], written: _Written) -> tuple[dict[str, Any], list[str]]:
        """The flags' texts by parameter, and the arguments between them."""
        flags = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        while True:
            try:
                options, rest, order = self.make_parser(ctx).parse_args(args=list(args))
            except typer.TyperException as error:
                flag, is_unknown = str(getattr(error, "option_name", "")), type(error).__name__ == "NoSuchOption"
                here = next((at for at, word in enumerate(args) if word.partition("=")[0] == flag), None)
                if here is None:  # as -x within -qx
                    raise
                if is_unknown:
                    written.known.add(unknown_flag_sentence(flag, ctx), flag)
                else:
                    written.known.add(f"{flag} {'takes no value' if '=' in args[here] else 'needs a value'}", flag)
                followed = is_unknown and "=" not in args[here] and args[here + 1 : here + 2]
                if followed and not args[here + 1].startswith("-"):
                    written.sure = False
                    del args[here + 1]
                del args[here]
                continue
            taken = [text for each in options.values() for text in (each if isinstance(each, list) else [each])]
            swallowed = [at for at, value in enumerate(args[1:]) if value in taken and value in flags]
            if not swallowed:
                for parameter in dict.fromkeys(each for each in order if order.count(each) > 1):
                    _note_repeated(parameter, args, written)
                return options, rest
            flag, value = args[swallowed[0] : swallowed[0] + 2]
            written.known.add(f"{flag} needs a value; {value} is a flag", flag)
            del args[swallowed[0]]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with faults in its command line, only until it calls its job."""
        written = ctx.meta.get(_WRITTEN) or _Written()
        token = known_faults.set(written.known)
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not written.known.sentences or written.known.sentences[0] in str(error):
                raise
            # an error of its own may come from a gap, and would then mislead
            alone = isinstance(error, PKDError) and not written.has_gaps
            raise_faults([Fault((), str(error), type(error))] if alone else [], lambda _: (0, ""))  # type: ignore[arg-type]
            raise
        finally:
            known_faults.reset(token)


def _note_repeated(parameter: Any, args: list[str], written: _Written) -> None:
    """Note that a flag of one student has several values, as if there were several students.

    Of other flags the last value counts, so that one can be added behind those of a script.
    """
    of_student = (path_of_keyword(parameter.name) or ("",))[0] == "students"
    if not of_student or parameter.multiple or parameter.is_flag:
        return
    following = [*args[1:], ""]
    given = [
        value if equals else following[at]
        for at, (flag, equals, value) in enumerate(word.partition("=") for word in args)
        if flag in parameter.opts
    ]
    if len(different := list(dict.fromkeys(given))) > 1:
        name = name_of(parameter)
        told = f"{name} is given as {' and as '.join(different)}; it takes one value"
        written.known.add(f"{told}; several students are a list in a recipe: `students`", name)


def _note_value(parameter: Any, given: Any, error: typer.TyperException, written: _Written) -> None:
    """Note that a parameter is missing, or what is wrong with its value."""
    if not hasattr(error, "ctx"):  # no error of usage
        raise error
    name, known = name_of(parameter), written.known
    if type(error).__name__ != "MissingParameter":
        known.add(value_sentence(name, given, error), name)
    elif name not in known.names and (written.sure or name.startswith("-")):
        known.add(missing_sentence(parameter), name)
    known.names.add(name)


def _stand_in(parameter: Any) -> Any:
    """A stand-in for a faulty value: the default, or an empty value of the right type."""
    if parameter.required:
        return [] if parameter.multiple or parameter.nargs != 1 else ""
    return parameter.default


def _flags_of(parameters: list[Any]) -> dict[Path, str]:
    flags: dict[Path, str] = {}
    for each in parameters:
        flags[(each.name,)] = flags[path_of_keyword(each.name) or (each.name,)] = name_of(each)
    return flags
