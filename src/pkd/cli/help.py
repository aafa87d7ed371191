"""The pages of `pkd --help` and `pkd COMMAND --help`: one line per command or flag, in groups, one screen each."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from pkd.cli.gathering import GatheringCommand
from pkd.cli.options import RESULT_PANEL

_INDENT = 2
_OWN_WORDS = {  # for the flags that Typer adds
    "help": "show this page",
    "install_completion": "let Tab complete commands and flags in this shell",
    "show_completion": "print what --install-completion would install",
}


class OneScreenCommand(GatheringCommand):
    """A command whose help is one screen: Typer's own boxes take twice the lines."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, flags by group, and examples."""
        console = Console(highlight=False)
        console.print(Text(f"Usage: {ctx.command_path} {_usage(self.get_params(ctx))}", "bold"), soft_wrap=True)
        console.print(Text(self.help or ""), "", sep="\n", end="")
        groups: dict[str, list[Any]] = {"Required": []}
        for parameter in self.get_params(ctx):
            groups.setdefault(_group(parameter), []).append(parameter)
        groups[RESULT_PANEL] = groups.pop(RESULT_PANEL, [])  # last
        width = max(len(_flag(parameter)) for parameter in self.get_params(ctx))
        for name, parameters in groups.items():
            if parameters:
                console.print(Text(name, "bold yellow"))
                console.print(_table(parameters, width))
        if self.epilog:
            console.print(Text("Examples", "bold yellow"))
            console.print(Text(self.epilog), soft_wrap=True)


class OneScreenGroup(TyperGroup):
    """All commands in their groups, the first steps first."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, commands by group, flags, and where to begin."""
        console = Console(highlight=False)
        console.print(Text(f"Usage: {ctx.command_path} COMMAND [OPTIONS]", "bold"))
        console.print(Text(self.help or ""))
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            groups.setdefault(str(command.rich_help_panel), []).append((name, str(command.help or "")))  # type: ignore[attr-defined]
        width = max(map(len, self.commands))
        for title, lines in groups.items():
            console.print(Text(title, "bold yellow"))
            console.print(_lines(lines, width))
        console.print(Text("Options", "bold yellow"))
        console.print(_table(self.get_params(ctx)))
        if self.epilog:
            console.print(Text(self.epilog, "dim"))


def _usage(parameters: list[Any]) -> str:
    pieces = [_flag(one) if one.required else f"[{_flag(one)}]" for one in parameters if not _is_option(one)]
    pieces += [_flag(one) for one in parameters if one.required and _is_option(one)]
    return " ".join([*pieces, "[OPTIONS]"])


def _group(parameter: Any) -> str:
    if parameter.required:
        return "Required"
    if parameter.name == "help":
        return RESULT_PANEL
    return str(getattr(parameter, "rich_help_panel", None) or "Options")


def _is_option(parameter: Any) -> bool:
    return any(name.startswith("-") for name in parameter.opts)


def _flag(parameter: Any) -> str:
    if not _is_option(parameter):
        return str(parameter.metavar or parameter.name)
    names = [*sorted(parameter.opts, key=len, reverse=True), *parameter.secondary_opts]
    return " ".join([", ".join(names), *([parameter.metavar] if parameter.metavar else [])])


def _table(parameters: list[Any], width: int = 0) -> Table:
    lines = [(_flag(parameter), _told(parameter)) for parameter in parameters]
    return _lines(lines, width or max(len(flag) for flag, _ in lines))


def _lines(told: list[tuple[str, str]], width: int) -> Table:
    """One line each: the name, and what it is for."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=width + _INDENT, no_wrap=True)
    table.add_column()
    for flag, about in told:
        name, _, rest = flag.partition(" ")
        table.add_row(Text(" " * _INDENT).append(name, "cyan").append(f" {rest}" if rest else "", "dim"), Text(about))
    return table


def _told(parameter: Any) -> str:
    """The flag's help and its default, from the recipe or from the command itself."""
    if parameter.name in _OWN_WORDS:
        return _OWN_WORDS[parameter.name]
    shown, own = parameter.show_default, parameter.default
    if not isinstance(shown, str):
        shown = _own_default(parameter, own) if shown and isinstance(own, str | int | float) else ""
    return f"{parameter.help or ''} [default: {shown}]" if shown else str(parameter.help or "")


def _own_default(parameter: Any, default: str | int | float) -> str:
    """A command's own default; for a switch with two names the name of the default, for other switches none."""
    if isinstance(default, bool):
        names = parameter.opts if default else parameter.secondary_opts
        return str(names[0]) if parameter.secondary_opts else ""
    return str(default)
