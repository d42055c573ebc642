"""A proxy between an HTTP client and its server that breaks chosen requests; it runs in threads of this process.

    with FaultProxy("http://127.0.0.1:8080", [Fault(Kind.DROP_REPLY, method="POST", path="/import")]) as proxy:
        ...  # talk to proxy.url

It says what it did in ``record``, one ``Exchange`` a request, in the order in which requests came.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

UPSTREAM_LIMIT = 120.0  # seconds that the server may take
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class Kind(StrEnum):
    """The faults that one request can suffer."""

    DROP_REPLY = "reply dropped"  # the server did it, the client's connection is closed
    DROP_REQUEST = "request dropped"  # the connection is closed and the server gets nothing
    HOLD = "held back"  # the server does it later, perhaps when the client has gone
    DELAY = "reply delayed"  # the server did it, the client hears after ``seconds``
    ERROR_BEFORE = "error, not done"  # ``status`` in place of the server
    ERROR_AFTER = "error, but done"  # ``status`` in place of the server's answer
    CUT = "reply cut"  # the server did it, the client gets half of the answer
    REFUSE = "connections refused"  # this connection is closed, new ones are refused for ``seconds``


@dataclass(frozen=True)
class Fault:
    """``kind`` hits the ``nth`` matching request (from 1) and the next ``times`` − 1 matching ones.

    ``path`` is a regular expression searched for in path and query. A request that is held back goes on after
    ``requests`` further requests or ``seconds``, whichever comes first, else at ``FaultProxy.release``; with
    ``gone`` its client's connection is closed at once, else the client waits as long as it likes.
    """

    kind: Kind
    nth: int = 1
    times: int = 1
    method: str | None = None
    path: str = ""
    status: int = 500
    seconds: float | None = None
    requests: int | None = None
    gone: bool = False

    def matches(self, method: str, path: str) -> bool:
        return self.method in (None, method) and re.search(self.path, path) is not None


@dataclass
class Exchange:
    """One request, with what the client sent; ``status`` and ``reply`` are the server's, None if it has not answered.

    The reply to a GET is not kept.
    """

    number: int
    method: str
    path: str
    fault: Fault | None
    body: bytes = b""
    status: int | None = None
    reply: bytes | None = None


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class FaultProxy:
    """Listens on a free port of 127.0.0.1 until it is closed. ``plan`` replaces the faults at any time."""

    def __init__(self, upstream: str, faults: Sequence[Fault] = ()) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        self._upstream = (parts.hostname, parts.port or 80)
        self.record: list[Exchange] = []
        self._faults: list[tuple[Fault, Counter[str]]] = []
        self._news = threading.Condition()  # a request came, held ones are released, the proxy closes
        self._held: set[int] = set()
        self._forwarded: set[int] = set()  # the server has not answered yet
        self._releases = 0
        self._closing = False
        self._connections: set[socket.socket] = set()
        self.plan(faults)
        self._server = _Server(("127.0.0.1", 0), self)
        self.port = self._server.server_address[1]
        self._listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def injected(self) -> Counter[Kind]:
        """Number of requests that each kind of fault has hit."""
        with self._news:
            return Counter(each.fault.kind for each in self.record if each.fault is not None)

    def plan(self, faults: Sequence[Fault]) -> None:
        """Replace the faults that have not happened yet; the new ones count requests from now on."""
        with self._news:
            self._faults = [(fault, Counter()) for fault in faults]

    def held(self) -> int:
        """Number of requests held back at the moment."""
        with self._news:
            return len(self._held)

    def wait_until_held(self, seconds: float) -> bool:
        """Wait until a request is held back; ``False`` if none is within ``seconds``."""
        with self._news:
            return self._news.wait_for(lambda: bool(self._held), seconds)

    def release(self) -> None:
        """Forward every request held back, and wait until the server has answered all of them."""
        with self._news:
            self._releases += 1
            self._news.notify_all()
            self._news.wait_for(lambda: not self._held and not self._forwarded, UPSTREAM_LIMIT)

    def close(self) -> None:
        """Close the proxy; requests still held back never reach the server."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._deaf()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one request -----------------------------------------------------------------------------------

    def serve(self, request: _Handler, body: bytes) -> None:
        """Handle one request as planned."""
        exchange = self._note(request.command, request.path, body)
        fault = exchange.fault
        match fault.kind if fault else None:
            case Kind.DROP_REQUEST:
                request.hang_up()
            case Kind.ERROR_BEFORE:
                assert fault is not None
                request.answer(_error(fault.status))
            case Kind.REFUSE:
                assert fault is not None
                request.hang_up()
                self._refuse(fault.seconds or 1.0)
            case Kind.HOLD:
                assert fault is not None
                if fault.gone:
                    request.hang_up()
                with self._holding(exchange, fault) as goes_on:
                    reply = self._forward(exchange, request, body) if goes_on else _error(502)
                request.answer(reply)
            case _:
                self._break_reply(fault, request, self._forward(exchange, request, body))

    def _break_reply(self, fault: Fault | None, request: _Handler, reply: _Reply) -> None:
        match fault.kind if fault else None:
            case Kind.DROP_REPLY:
                request.hang_up()
            case Kind.CUT:
                request.answer(reply, cut=True)
            case Kind.ERROR_AFTER:
                assert fault is not None
                request.answer(_error(fault.status))
            case Kind.DELAY:
                assert fault is not None
                with self._news:
                    self._news.wait_for(lambda: self._closing, fault.seconds)
                request.answer(reply)
            case _:
                request.answer(reply)

    def _note(self, method: str, path: str, body: bytes) -> Exchange:
        """Record the request and return its fault: the first planned one that is due."""
        with self._news:
            chosen = None
            for fault, count in self._faults:
                if fault.matches(method, path):
                    count["seen"] += 1
                    if chosen is None and fault.nth <= count["seen"] < fault.nth + fault.times:
                        chosen = fault
            exchange = Exchange(len(self.record) + 1, method, path, chosen, body)
            self.record.append(exchange)
            self._news.notify_all()
            return exchange

    @contextmanager
    def _holding(self, exchange: Exchange, fault: Fault) -> Iterator[bool]:
        """Wait until the request may go on; ``held`` counts it until the server has answered."""
        with self._news:
            releases, later = self._releases, exchange.number + (fault.requests or 0)
            self._held.add(exchange.number)
            self._news.notify_all()
            self._news.wait_for(
                lambda: (
                    self._closing
                    or self._releases > releases
                    or (fault.requests is not None and len(self.record) >= later)
                ),
                fault.seconds,
            )
            goes_on = not self._closing
        try:
            yield goes_on
        finally:
            with self._news:
                self._held.discard(exchange.number)
                self._news.notify_all()

    def _forward(self, exchange: Exchange, request: _Handler, body: bytes) -> _Reply:
        """Return the server's answer, or 502 if there is none, as a proxy does while its server restarts."""
        with self._news:
            self._forwarded.add(exchange.number)
        connection = http.client.HTTPConnection(*self._upstream, timeout=UPSTREAM_LIMIT)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        try:
            connection.request(request.command, request.path, body or None, headers)
            response = connection.getresponse()
            reply = _Reply(response.status, response.getheaders(), response.read())
        except (OSError, http.client.HTTPException):
            return _error(502)
        finally:
            connection.close()
            with self._news:
                self._forwarded.discard(exchange.number)
                self._news.notify_all()
        exchange.status = reply.status
        exchange.reply = None if request.command == "GET" else reply.body
        return reply

    # -- connections -----------------------------------------------------------------------------------

    def joined(self, connection: socket.socket) -> None:
        """Count a client that has connected."""
        with self._news:
            self._connections.add(connection)

    def left(self, connection: socket.socket) -> None:
        """Count a client that has disconnected."""
        with self._news:
            self._connections.discard(connection)

    def _listen(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _deaf(self) -> None:
        """Stop listening and close all open connections."""
        self._server.shutdown()
        self._server.server_close()
        with self._news:
            connections = list(self._connections)
        for connection in connections:
            _close(connection)

    def _refuse(self, seconds: float) -> None:
        self._deaf()
        with self._news:
            self._news.wait_for(lambda: self._closing, seconds)
            if not self._closing:
                self._server = _Server(("127.0.0.1", self.port), self)
                self._listen()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: clients that hang up are expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.proxy.joined(self.connection)

    def finish(self) -> None:
        self.server.proxy.left(self.connection)
        with suppress(OSError):
            super().finish()

    def _serve(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.answer(_error(411))
            return
        length = int(self.headers.get("Content-Length") or 0)
        self.server.proxy.serve(self, self.rfile.read(length))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def answer(self, reply: _Reply, *, cut: bool = False) -> None:
        """Send the reply; with ``cut``, send half of it and close the connection."""
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        body = b"" if self.command == "HEAD" else reply.body
        if cut and not body:
            self.hang_up()  # in the middle of a header that has not been sent
            return
        with suppress(OSError):
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
        if cut:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection."""
        self.close_connection = True
        _close(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; see ``FaultProxy.record``."""


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _error(status: int) -> _Reply:
    body = f'{{"detail": "the fault proxy says {status}"}}'.encode()
    return _Reply(status, [("Content-Type", "application/json")], body)
