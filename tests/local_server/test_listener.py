"""The token goes to the server itself only: not to a program that listens at its address, and to it where it moved."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from star_al.annotators.label_studio.client import Client, Connection
from star_al.errors import AwayError

TOKEN = "0123456789abcdef" * 2


@contextmanager
def _server() -> Iterator[tuple[str, list[str]]]:
    """A server that says it is Label Studio; its address, and the requests it got, each with its token."""
    got: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            got.append(f"{self.path} {self.headers.get('Authorization')}")
            body = json.dumps({"release": "1.23.2", "id": 1}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", got
    finally:
        server.shutdown()
        server.server_close()


def _client(url: str, *addresses: str | None) -> Client:
    """A client whose server is found at these addresses in turn, at last always at the last one."""
    left = list(addresses)
    connection = Connection(url, TOKEN, 5.0, lambda: left.pop(0) if len(left) > 1 else left[0])
    return Client(connection, patience=0.0)


def test_nothing_is_sent_while_the_server_listens_nowhere() -> None:
    with _server() as (url, got), pytest.raises(AwayError, match="is being restarted"):
        _client(url, None).get("api/projects/")
    assert got == []


def test_a_program_that_is_found_there_after_connecting_gets_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taker:
        url = f"http://127.0.0.1:{taker.getsockname()[1]}"
        with pytest.raises(AwayError, match="another program listens"):
            _client(url, url, None).get("api/projects/")
        taker.settimeout(5)
        connected, _ = taker.accept()
        with connected:
            connected.settimeout(5)
            assert connected.recv(1000) == b""


def test_a_server_that_moved_is_followed() -> None:
    with _server() as (old, got_before), _server() as (new, got_after):
        client = _client(old, old, old, old, old, new)
        client.get("api/projects/")
        while client.url == old:
            client.get("api/tasks/")
        assert client.url == new
        client.get("api/tasks/")
    assert got_before[1] == f"/api/projects/ Token {TOKEN}"
    assert got_after[-1] == f"/api/tasks/ Token {TOKEN}"


def test_the_listener_is_asked_for_once_a_connection_and_once_a_request() -> None:
    with _server() as (url, _):
        asked: list[int] = []

        def locate() -> str:
            asked.append(1)
            return url

        client = Client(Connection(url, TOKEN, 5.0, locate), patience=0.0)
        for _ in range(3):
            client.get("api/projects/")
    assert len(asked) == 4
