"""A proxy between a client and Postgres that breaks the connection at a chosen statement, before or after it.

with WireProxy(postgres_url, [Cut(nth=1, commit=True, done=True)]) as proxy:
    ...  # connect to proxy.url; the answer to the first COMMIT is lost
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

READY = b"Z\x00\x00\x00\x05"
"""The head of the server's last message of an answer; one byte follows."""


@dataclass(frozen=True)
class Cut:
    """Breaks the connection at the ``nth`` statement (from 1) that the proxy sees; with ``commit``, the nth COMMIT.

    With ``done`` the server carries the statement out, and its answer is lost. New connections are refused
    for ``seconds``.
    """

    nth: int
    commit: bool = False
    done: bool = False
    seconds: float = 0.0


class WireProxy:
    """Listens on a free port of 127.0.0.1 until it is closed."""

    def __init__(self, postgres_url: str, cuts: Sequence[Cut] = ()) -> None:
        url = make_url(postgres_url)
        self._upstream = _address(str(url.query["host"]), url.port or 5432)
        self.happened: list[Cut] = []
        self._cuts = [(cut, [0]) for cut in cuts]
        self._refusing_until = 0.0
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        query = {"sslmode": "disable", "gssencmode": "disable"}
        port = self._listener.getsockname()[1]
        self.url = url.set(host="127.0.0.1", port=port, query=query).render_as_string(hide_password=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def plan(self, cuts: Sequence[Cut]) -> None:
        """Replace the cuts that have not happened yet; the new ones count statements from now on."""
        with self._lock:
            self._cuts = [(cut, [0]) for cut in cuts]

    def refuse(self, seconds: float) -> None:
        """Break all connections, and refuse new ones for a time."""
        with self._lock:
            self._refusing_until = time.monotonic() + seconds
            sockets = list(self._sockets)
        for each in sockets:
            _shut(each)

    def close(self) -> None:
        self._listener.close()
        self.refuse(float("inf"))

    def __enter__(self) -> WireProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if time.monotonic() < self._refusing_until:
                    client.close()
                    continue
                try:
                    server = _connect(self._upstream)
                except OSError:  # the server is down
                    client.close()
                    continue
                _Connection(self, client, server).start()

    def note(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets.update(sockets)

    def forget(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets.difference_update(sockets)

    def cut_at(self, message: bytes) -> Cut | None:
        """The cut that hits this statement, if one does."""
        with self._lock:
            for position, (cut, seen) in enumerate(self._cuts):
                seen[0] += not cut.commit or message[5:11] == b"COMMIT"
                if seen[0] == cut.nth:
                    del self._cuts[position]
                    self.happened.append(cut)
                    return cut
        return None


class _Connection:
    """Two threads that copy messages between a client and the server."""

    def __init__(self, proxy: WireProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._swallow: Cut | None = None

    def start(self) -> None:
        self._proxy.note(self._client, self._server)
        for target in (self._to_server, self._to_client):
            threading.Thread(target=self._until_broken, args=(target,), daemon=True).start()

    def _until_broken(self, copy: object) -> None:
        with suppress(OSError, EOFError):
            copy()  # type: ignore[operator]
        self._proxy.forget(self._client, self._server)
        for each in (self._client, self._server):
            _shut(each)

    def _to_server(self) -> None:
        self._server.sendall(self._message(typed=False))
        while True:
            message = self._message(typed=True)
            cut = self._proxy.cut_at(message) if message[:1] in b"QS" else None
            if cut is not None and not cut.done:
                self._break(cut)
            self._swallow = cut
            self._server.sendall(message)

    def _to_client(self) -> None:
        swallowed = b""
        while data := self._server.recv(1 << 16):
            if self._swallow is None:
                self._client.sendall(data)
                continue
            swallowed = (swallowed + data)[-6:]
            if swallowed[:5] == READY:
                self._break(self._swallow)

    def _break(self, cut: Cut) -> None:
        if cut.seconds:
            self._proxy.refuse(cut.seconds)
        raise EOFError

    def _message(self, *, typed: bool) -> bytes:
        head = self._exactly(5 if typed else 4)
        length = int.from_bytes(head[-4:], "big")
        return head + self._exactly(length - 4)

    def _exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            part = self._client.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def _address(host: str, port: int) -> str | tuple[str, int]:
    return str(Path(host) / f".s.PGSQL.{port}") if host.startswith("/") else (host, port)


def _connect(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    return connection


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        connection.close()
