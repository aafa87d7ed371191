"""The commands that deploy a classifier: export, serve, push."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pkd.cli.options import COLUMNS, Classifier, Device, Json, Output, Overwrite, with_flags
from pkd.cli.output import show, show_json
from pkd.cli.session import ask, loading, start, with_progress
from pkd.serving.formats import GRAPH_FORMATS
from pkd.serving.limits import Limits

_LIMITS = Limits()
_MOST = 10**9  # of any limit


@with_progress
@with_flags(COLUMNS)
def export(
    model: Classifier,
    output: Output,
    format: Annotated[
        str, typer.Option("--format", metavar="|".join(GRAPH_FORMATS), help="format of the result")
    ] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="the format in int8: a quarter of the size, and faster")] = False,
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
    """Export a classifier to ONNX or OpenVINO, proven against PyTorch."""
    result = start(
        "export", model, output=output, format=format, int8=int8, eval=eval, max_drop=max_drop,
        min_agreement=min_agreement, overwrite=overwrite, **keys,
    )  # fmt: skip
    if json:
        show_json({"folder": str(result.folder), **result.facts})
        return
    from pkd.reporting.export_card import export_sentences

    for sentence in export_sentences(result.facts):
        show(sentence)
    show(f"served from: {result.folder}")


def _limit(flag: str, help: str) -> Any:
    return typer.Option(flag, metavar="N", min=1, max=_MOST, help=help, rich_help_panel="Limits")


@with_progress
def serve(
    model: Classifier,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="address to listen at; 0.0.0.0 for all")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="port to listen at; 0 takes a free one")
    ] = 8000,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="threads that run the model (default: one a core)"),
    ] = None,
    device: Device = None,
    max_batch: Annotated[int, _limit("--max-batch", "texts the model answers at a time")] = _LIMITS.max_batch,
    max_queue: Annotated[int, _limit("--max-queue", "texts that may wait; beyond it status 429")] = _LIMITS.max_queue,
    max_texts: Annotated[int, _limit("--max-texts", "texts a request; beyond it status 422")] = _LIMITS.max_texts,
    max_characters: Annotated[
        int, _limit("--max-characters", "characters a text; beyond it status 422")
    ] = _LIMITS.max_characters,
    max_body: Annotated[int, _limit("--max-body", "bytes a request; beyond it status 413")] = _LIMITS.max_body,
    drain_seconds: Annotated[
        int, _limit("--drain-seconds", "seconds that a stop waits for accepted requests")
    ] = _LIMITS.drain_seconds,
) -> None:
    """Serve a classifier over HTTP: /predict, /health, /metrics, /docs."""
    limits = {
        "max_body": max_body, "max_texts": max_texts, "max_characters": max_characters, "max_queue": max_queue,
        "max_batch": max_batch, "drain_seconds": drain_seconds,
    }  # fmt: skip
    given: dict[str, Any] = {"host": host, "port": port, "device": device or "auto", "workers": workers}
    ask("serve", model, limits=limits, **given)
    with loading():
        from pkd.jobs.serve import serve

    serve(model, limits=Limits(**limits), **given)


@with_progress
def push(
    model: Classifier,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="repository on the hub", show_default=False)],
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public", help="who sees a new repository (default: as your account has it)", show_default=False
        ),
    ] = None,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="message of the commit")] = "Upload by pkd",
    dry_run: Annotated[
        str | None,
        typer.Option("--dry-run", metavar="DIR", help="write what would be uploaded there instead", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Upload a classifier to the hub, with its card, chart and recipe."""
    result = start("push", model, repo, private=private, message=message, dry_run=dry_run)
    if json:
        show_json({"repo": result.repo, "files": result.files, "where": result.where})
        return
    for name in result.files:
        show(name)
    show(f"{'would be' if dry_run else 'are'} in {result.repo}: {result.where}")
