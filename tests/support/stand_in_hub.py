"""A stand-in for the Hugging Face hub on this machine: what creating a repository and uploading a folder ask of it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_TheTokenOfTheTests"
"""The only token that it accepts."""


@dataclass
class StandInHub:
    """What the hub holds.

    Attributes:
        address: Where it listens.
        visibility: ``private`` or ``public``, by repository.
        files: Contents by repository and path.
        may_write: False to refuse each write with 403.
        tokens: The tokens of all requests.
    """

    address: str = ""
    visibility: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    may_write: bool = True
    tokens: list[str | None] = field(default_factory=list)


@contextmanager
def stand_in_hub() -> Iterator[StandInHub]:
    """A hub that listens within."""
    hub = StandInHub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(lambda path, _: _read(hub, path))

        def do_POST(self) -> None:
            self._answer(lambda path, body: _write(hub, path, body))

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hub.large[urlsplit(self.path).path.rsplit("/", 1)[-1]] = body
            self._send(200, {})

        def _answer(self, answer: Any) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            hub.tokens.append(token)
            if token != TOKEN:
                self._send(401, {"error": "Invalid credentials"})
                return
            status, value = answer(urlsplit(self.path).path, body)
            self._send(status, value)

        def _send(self, status: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status >= 400:
                self.send_header("X-Error-Message", str(value.get("error", "")))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _read(hub: StandInHub, path: str) -> tuple[int, Any]:
    """What ``repo_info`` asks."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and parts[1] in ("models", "datasets"):
        repo = "/".join(parts[2:4])
        if repo in hub.visibility:
            private = hub.visibility[repo] == "private"
            return 200, {"id": repo, "private": private, "siblings": [], "sha": "0" * 40, "tags": []}
    return 404, {"error": "Repository not found"}


def _write(hub: StandInHub, path: str, body: bytes) -> tuple[int, Any]:
    if path == "/api/validate-yaml":
        return 200, {"errors": [], "warnings": []}
    if not hub.may_write:
        return 403, {"error": "You don't have the rights to write here"}
    if path == "/api/repos/create":
        wanted = json.loads(body)
        repo = f"{wanted['organization'] or 'me'}/{wanted['name']}"
        kind = "datasets/" if wanted.get("type") == "dataset" else ""
        if repo in hub.visibility:
            return 409, {"error": "You already created this repo", "url": f"{hub.address}/{kind}{repo}"}
        hub.visibility[repo] = wanted.get("visibility", "public")
        return 200, {"url": f"{hub.address}/{kind}{repo}", "name": repo, "id": repo}
    if "/preupload/" in path:
        files = json.loads(body)["files"]
        modes = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["path"].endswith((".safetensors", ".parquet")) else "regular",
                "shouldIgnore": False,
            }
            for each in files
        ]
        return 200, {"files": modes}
    if path.endswith("/info/lfs/objects/batch"):
        objects = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{hub.address}/large/{each['oid']}"}},
            }
            for each in json.loads(body)["objects"]
        ]
        return 200, {"transfer": "basic", "objects": objects}
    if "/commit/" in path:
        return _commit(hub, path, body)
    return 404, {"error": f"nothing here: {path}"}


def _commit(hub: StandInHub, path: str, body: bytes) -> tuple[int, Any]:
    repo = "/".join(path.strip("/").split("/")[2:4])
    files = hub.files.setdefault(repo, {})
    for line in map(json.loads, body.decode().splitlines()):
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.large[value["oid"]]
    return 200, {"commitUrl": f"{hub.address}/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40}
