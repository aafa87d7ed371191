"""`pkd`: one command per verb. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from pkd._version import __version__
from pkd.cli import inspecting, serving, training
from pkd.cli.help import OneScreenCommand, OneScreenGroup
from pkd.cli.session import complain, explain, silence_libraries, stopping_on_signals
from pkd.cli.usage import usage_sentence
from pkd.errors import Stopped

_EXAMPLES = {
    "run": ["pkd run recipe.yaml", "pkd run recipe.yaml --set students.0.beta=500 --seeds 3"],
    "sweep": ["pkd sweep recipe.yaml", "pkd sweep recipe.yaml --set 'sweep={grid: published, early_stopping: asha}'"],
    "demo": ["pkd demo", "pkd demo --quick"],
    "paper": ["pkd paper table1 --glue glue/ --tasks RTE,MRPC --quick", "pkd paper table1 --glue glue/ --dry-run"],
    "recipe": ["pkd recipe > recipe.yaml"],
    "finetune": ["pkd finetune --model bert-base-uncased --train train.csv --eval dev.csv --output teacher/"],
    "annotate": ["pkd annotate --teacher teacher/ --train train.csv --output annotated/ --layers 6"],
    "augment": ["pkd augment --train train.csv --variants 8 --output more.csv --eval dev.csv --test test.csv"],
    "distill": ["pkd distill --teacher teacher/ --train train.csv --eval dev.csv --layers 6 --output student/"],
    "compress": [
        "pkd compress --teacher teacher/ --train train.csv --eval dev.csv --latency 3ms --output served/",
        "pkd compress --pick 2 --output other/",
        "pkd compress --demo",
    ],
    "evaluate": ["pkd evaluate student/ served/ --test test.csv --teacher teacher/"],
    "report": ["pkd report runs/demo"],
    "verify": ["pkd verify runs/demo", "pkd verify student/ --json"],
    "predict": ["pkd predict student/ 'a fine film'", "pkd predict student/ --file new.csv --json > answers.jsonl"],
    "check": ["pkd check recipe.yaml"],
    "submit": ["pkd submit student/ --task SST-2 --folder glue/ --output submission/"],
    "export": [
        "pkd export student/ --output served/",
        "pkd export student/ --int8 --eval dev.csv --output served-int8/",
    ],
    "push": ["pkd push student/ org/name --private", "pkd push student/ org/name --dry-run upload/"],
    "serve": ["pkd serve served/", "pkd serve served/ --host 0.0.0.0 --port 8080 --workers 2"],
    "speed": [
        "pkd speed teacher/ student/ served/ served-int8/ --test test.csv",
        "pkd speed google-bert/bert-base-uncased --layers 6,3 --lengths 32,128 --chart speed.png",
    ],
}
_GROUPS: dict[str, list[Callable[..., None]]] = {
    "Start here": [training.demo, training.finetune, training.distill, training.compress, inspecting.predict],
    "Whole jobs": [
        training.recipe,
        inspecting.check,
        training.run,
        training.sweep,
        training.annotate,
        training.augment,
        training.paper,
    ],
    "Look closely": [inspecting.evaluate, inspecting.speed, inspecting.report, inspecting.verify, inspecting.submit],
    "Bring to production": [serving.export, serving.serve, serving.push],
}

app = typer.Typer(
    name="pkd",
    cls=OneScreenGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps: `pkd demo`, which needs no files; then `pkd distill --help`.",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"pkd {__version__}")
        raise typer.Exit


@app.callback()
def _pkd(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="print the version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Make BERT-like classifiers small and fast by Patient Knowledge Distillation."""


def _add(command: Callable[..., None], group: str) -> None:
    name = command.__name__
    app.command(
        name,
        cls=OneScreenCommand,
        help=(command.__doc__ or "").splitlines()[0],
        epilog="\n".join(f"  {example}" for example in _EXAMPLES[name]),
        rich_help_panel=group,
    )(command)


for _group, _commands in _GROUPS.items():
    for _command in _commands:
        _add(_command, _group)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `pkd` and return its exit code; every error is printed here, once, without a traceback unless `--debug`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    _mend_streams()
    if not debug:
        silence_libraries()
    with stopping_on_signals():
        try:
            return _run_and_explain(given, debug=debug)
        except Stopped as stopped:  # a signal that came while an error was printed
            return stopped.exit_code


def _run_and_explain(arguments: list[str], *, debug: bool) -> int:
    try:
        return _run(arguments)
    except BrokenPipeError:  # the reader of our output closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        if debug and not isinstance(error, SystemExit):
            traceback.print_exc()
        return _exit_code(error, debug=debug)


def _mend_streams() -> None:
    """Replace closed standard streams, and write `?` for what an output's encoding cannot hold.

    A closed one is None; otherwise the next opened file would get its descriptor, and what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in the order of their descriptors
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _run(arguments: list[str]) -> int:
    try:
        result: Any = app(args=arguments, prog_name="pkd", standalone_mode=False)
        sys.stdout.flush()  # so that a closed pipe is noticed here
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.TyperException as error:  # usage: an unknown flag, a value of the wrong type
        if type(error).__name__ != "NoArgsIsHelpError":
            return complain(usage_sentence(error), error.exit_code)
        return error.exit_code
    except SystemExit as error:  # Typer and rich turn a closed pipe into exit code 1
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    if result == 130:  # and Typer an interrupt into a silent 130
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _exit_code(error: BaseException, *, debug: bool) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    known = explain(error)
    if known is None:
        if not debug:
            traceback.print_exc()
        return complain("This is a bug in pkd; please report it with the lines above.", 1)
    return complain(*known)
