"""The page of `pkd COMMAND --help`: one line a flag, grouped, no boxes, so that every command fits one screen."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from pkd.cli.options import RESULT_PANEL

_INDENT = 2


class OneScreenCommand(TyperCommand):
    """A command whose help is one screen: Typer's own boxes take twice the lines."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, flags by group, and examples."""
        console = Console(highlight=False)
        console.print(Text(f"Usage: {ctx.command_path} {_usage(self.get_params(ctx))}", "bold"))
        console.print(Text(self.help or ""), "", sep="\n", end="")
        groups: dict[str, list[Any]] = {"Required": []}
        for parameter in self.get_params(ctx):
            groups.setdefault(_group(parameter), []).append(parameter)
        groups[RESULT_PANEL] = groups.pop(RESULT_PANEL, [])  # last
        width = max(len(_flag(parameter)) for group in groups.values() for parameter in group)
        for name, parameters in groups.items():
            if parameters:
                console.print(Text(name, "bold yellow"))
                console.print(_table(parameters, width))
        if self.epilog:
            console.print(Text("Examples", "bold yellow"))
            console.print(Text(self.epilog), soft_wrap=True)


def _usage(parameters: list[Any]) -> str:
    pieces = [_flag(one) for one in parameters if one.required and _is_option(one)]
    pieces += [_flag(one) if one.required else f"[{_flag(one)}]" for one in parameters if not _is_option(one)]
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


def _table(parameters: list[Any], width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=width + _INDENT, no_wrap=True)
    table.add_column()
    for parameter in parameters:
        flag, _, rest = _flag(parameter).partition(" ")
        name = Text(" " * _INDENT).append(flag, "cyan").append(f" {rest}" if rest else "", "dim")
        table.add_row(name, Text(_told(parameter)))
    return table


def _told(parameter: Any) -> str:
    """The flag's help and its default: the recipe's as text, or what the command itself declares."""
    shown, own = parameter.show_default, parameter.default
    if not isinstance(shown, str):
        shown = str(own) if shown and isinstance(own, str | int | float) and not isinstance(own, bool) else ""
    return f"{parameter.help or ''} [default: {shown}]" if shown else str(parameter.help or "")
