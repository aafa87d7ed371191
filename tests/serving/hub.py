"""The part of the hub's HTTP interface that an upload uses, on this machine: what `huggingface_hub` sends is real."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class LocalHub:
    """Repositories and their files, and how often each path was asked."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool | None] = {}
        self.refuse = 0  # answer everything with this status

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        path, _, _ = path.partition("?")
        if self.refuse:
            return self.refuse, {"error": "You don't have the rights"}
        if path == "/api/repos/create":
            given = json.loads(body)
            name = "/".join(part for part in (given.get("organization") or "me", given["name"]) if part)
            self.repos.setdefault(name, {})
            self.private[name] = given.get("private", given.get("visibility") == "private")
            return 200, {"url": f"{self.url}/{name}", "name": name, "id": name}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/whoami-v2":
            return 200, {"name": "me", "type": "user", "orgs": []}
        parts = path.split("/")
        name = "/".join(parts[3:5])
        if "preupload" in parts:
            files = json.loads(body)["files"]
            told = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return 200, {"files": told}
        if "commit" in parts:
            for line in body.splitlines():
                operation = json.loads(line)
                if operation["key"] == "file":
                    value = operation["value"]
                    self.repos[name][value["path"]] = base64.b64decode(value["content"])
            return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.url}/{name}/commit/{'0' * 40}"}
        if method == "GET" and path.startswith("/api/models/"):
            return 200, {"id": name, "modelId": name, "sha": "0" * 40, "siblings": [], "private": False}
        return 404, {"error": f"{method} {path} is not known here"}

    url = ""


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self._body()
            status, told = hub.answer(self.command, self.path, body)
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
