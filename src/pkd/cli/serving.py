"""The commands that bring a classifier to where it is used: export."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pkd.cli.options import COLUMNS, Json, Overwrite, with_flags
from pkd.cli.session import with_progress
from pkd.cli.showing import show, show_json

Model = Annotated[str, typer.Argument(metavar="MODEL", help="folder of a classifier", show_default=False)]


@with_progress
@with_flags(COLUMNS)
def export(
    model: Model,
    output: Annotated[str, typer.Option("--output", metavar="DIR", help="folder for the result", show_default=False)],
    format: Annotated[str, typer.Option("--format", metavar="onnx", help="the only one there is")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="int8 weights: a quarter of the size, and faster")] = False,
    eval: Annotated[
        str | None,
        typer.Option(
            "--eval",
            metavar="FILE",
            help="measure int8 on it (default: the development data of the run beside MODEL)",
            show_default=False,
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option("--max-drop", metavar="X", help="refuse int8 if the metric falls by more: 0.005 is ½ point")
    ] = 0.005,
    min_agreement: Annotated[
        float, typer.Option("--min-agreement", metavar="X", help="refuse int8 if fewer answers stay the same")
    ] = 0.97,
    overwrite: Overwrite = False,
    json: Json = False,
    **keys: Any,
) -> None:
    """Export a classifier to ONNX, proven against PyTorch, to be served without it."""
    from pkd.jobs.export import export

    result = export(
        model, output=output, format=format, int8=int8, eval=eval, max_drop=max_drop, min_agreement=min_agreement,
        overwrite=overwrite, **keys,
    )  # fmt: skip
    if json:
        show_json({"folder": str(result.folder), **result.facts})
        return
    from pkd.reporting.export_card import export_sentences

    for sentence in export_sentences(result.facts):
        show(sentence)
    show(f"served from: {result.folder}")
