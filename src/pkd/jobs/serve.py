"""`pkd serve`: serve a classifier over HTTP until it is stopped; accepted requests are answered first."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from pkd import progress
from pkd.errors import RecipeError
from pkd.jobs import asking_without_keys
from pkd.recipe.places import AnyPath, path_text
from pkd.serving.classifier import Classifier
from pkd.serving.limits import Limits, usable_cores
from pkd.serving.listening import listen


def serve(
    model: AnyPath,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> None:
    """Serve a classifier over HTTP; returns after SIGINT or SIGTERM, once accepted requests are answered.

    Args:
        model: an exported folder, any other folder of a classifier, or a hub name.
        host: address to listen at; 0.0.0.0 for all.
        port: 0 picks a free one.
        limits: beyond which a request is refused.
        device: "auto", "cpu" or "cuda".
        workers: threads that call the model at the same time, one core each; by default all cores of this process. On a
            GPU there is one.

    Raises:
        RecipeError: if the port is taken, the device is unknown, or libraries are missing.
        TeacherError: if the model cannot be loaded.
    """
    with asking_without_keys.serve(model, host=host, port=port, device=device, workers=workers):
        model, limits = path_text(model, "model"), limits or Limits()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the workers are already parallel
    try:
        import uvicorn

        from pkd.serving.server import make_app
    except ImportError as error:
        raise RecipeError(f"pkd serve needs more libraries: pip install 'pkd[serve]'. ({error})") from error
    listening = listen(host, port)
    with contextlib.closing(listening):
        count = workers or usable_cores()
        classifier = Classifier.load(model, device, threads=1, callers=count)
        count = 1 if classifier.model.device == "cuda" else count
        app = make_app(classifier, limits, count)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=limits.drain_seconds
        )
        server = uvicorn.Server(config)
        server.capture_signals = lambda: _stopping(server)  # type: ignore[method-assign] # its own raises them again
        url = f"http://{host}:{listening.getsockname()[1]}"
        progress.note(f"serving {model} at {url} (what it takes: {url}/docs); Ctrl-C stops it")
        server.run(sockets=[listening])
    progress.note("stopped; all that was accepted is answered")


@contextlib.contextmanager
def _stopping(server: object) -> Iterator[None]:
    """Stop the server gracefully on the first SIGINT or SIGTERM, and at once on a second SIGINT."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    handler = server.handle_exit  # type: ignore[attr-defined]
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
