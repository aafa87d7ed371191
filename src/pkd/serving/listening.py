"""The listening socket of a server."""

from __future__ import annotations

import socket

from pkd.errors import RecipeError
from pkd.recipe.spelling import named

_WAITING = 2048  # connections


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address; port 0 takes a free one.

    Raises:
        RecipeError: if the port is taken, or the host is not this machine's.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the last two: a NUL, an invalid name
        listening.close()
        raise RecipeError(
            f"{host!r}:{port} cannot be listened at ({error}). Choose another {named('host')} or {named('port')}."
        ) from error
    listening.listen(_WAITING)
    listening.set_inheritable(True)
    return listening
