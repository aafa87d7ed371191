"""Processes of their own that have loaded the libraries: forks of a server that imported them and computed nothing.

A fresh Python needs many times as long for its imports as a tiny job for its work. A fork differs in one thing: what a
library reads from the environment as it is imported, it has read already.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_MOST_BYTES = 1 << 20  # of a request
_SERVER: list[socket.socket] = []  # at most one

_IMPORTED = (
    *(f"pkd.jobs.{job}" for job in ("annotate", "distill", "finetune", "report", "run", "sweep")),
    *("transformers.models.bert.modeling_bert", "torch._dynamo", "altair", "sklearn.linear_model"),
)


@dataclass
class Process:
    """A started process, as `subprocess.Popen` has it."""

    pid: int
    _ended: int  # the end of a pipe that says how it ended
    _out: IO[str]
    _error: IO[str] | None
    returncode: int | None = field(default=None, init=False)

    def poll(self) -> int | None:
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):  # it runs
                self.returncode = os.waitstatus_to_exitcode(int(os.read(self._ended, 100)))
                os.close(self._ended)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Standard output and standard error, when it has ended."""
        self.wait(timeout)
        said = []
        for file in (self._out, self._error):
            if file is not None:
                file.seek(0)
            said.append(file.read() if file is not None else "")
        return said[0], said[1]


def start(*arguments: object, code: str = "", merged: bool = False, **environment: str) -> Process:
    """Start `pkd` with these arguments, or Python code that has them, in a session of its own.

    `merged`: standard error goes where standard output goes.
    """
    out = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - open as long as the process runs
    error = None if merged else tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    request = {
        "arguments": [str(each) for each in arguments],
        "code": code,
        "environment": {**os.environ, **environment},
        "folder": str(Path.cwd()),
    }
    descriptors = [out.fileno(), (error or out).fileno(), writes]
    server = _server()
    socket.send_fds(server, [json.dumps(request).encode()], descriptors)
    os.close(writes)
    pid = int(server.recv(100))
    return Process(pid, reads, out, error)


def start_ranks(number: int, *arguments: object, code: str = "", **environment: str) -> list[Process]:
    """Start the same on several ranks of this machine, as a launcher does."""
    from conftest import free_port

    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(number)}
    return [
        start(*arguments, code=code, **meeting, RANK=str(rank), LOCAL_RANK=str(rank), **environment)
        for rank in range(number)
    ]


def run_ranks(number: int, *arguments: object, code: str = "", timeout: float = 240) -> tuple[list[int], str]:
    """The exit codes of several ranks, and what all of them said on standard error."""
    processes = start_ranks(number, *arguments, code=code)
    try:
        said = [process.communicate(timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.wait() for process in processes], "".join(error for _, error in said)


def _server() -> socket.socket:
    if not _SERVER:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        there.close()
        _SERVER.append(here)
        atexit.register(process.wait)
        atexit.register(here.close)  # which ends it
    return _SERVER[0]


def _serve(asked: socket.socket) -> Callable[[], Any] | None:
    """Fork a process for each request: what it shall do is returned in it, and None in the server, at its end."""
    to_tell: dict[int, int] = {}

    def tell_of_ends(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                descriptor = to_tell.pop(ended[0])
                with contextlib.suppress(BrokenPipeError):
                    os.write(descriptor, str(ended[1]).encode())
                os.close(descriptor)

    while True:
        message, descriptors, *_ = socket.recv_fds(asked, _MOST_BYTES, 3)
        if not message:
            return None
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        signal.signal(signal.SIGCHLD, tell_of_ends)
        if not (pid := os.fork()):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            for descriptor in [asked.detach(), descriptors[2], *to_tell.values()]:
                os.close(descriptor)
            return _begin(json.loads(message), descriptors)
        to_tell[pid] = descriptors[2]
        for descriptor in descriptors[:2]:
            os.close(descriptor)
        asked.send(str(pid).encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def _begin(request: dict[str, Any], descriptors: array.array[int] | list[int]) -> Callable[[], Any]:
    os.setsid()
    for number, descriptor in enumerate(descriptors[:2], start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["pkd", *request["arguments"]]
    if request["code"]:
        return lambda: exec(compile(request["code"], "<code>", "exec"), {"__name__": "__main__"})
    from pkd.cli.main import main

    return main


if __name__ == "__main__":
    import gc
    import importlib

    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    if (work := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        sys.exit(work())
