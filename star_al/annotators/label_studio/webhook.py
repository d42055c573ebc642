"""Label Studio's webhooks: word that somebody has labelled, so that the next poll need not wait.

They are hints and no more. Label Studio tries each once, for a second, while the annotator's own request waits;
so the receiver answers at once and reads nothing out of them. What was labelled comes with the poll.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

from star_al.annotators.label_studio.client import (
    Connection,
    MissingError,
    Server,
    UnclearError,
    replies_as_expected,
)
from star_al.errors import AnnotatorError, AwayError, ConfigError

SECRET_HEADER = "X-Star-Al-Secret"

ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_DELETED",
)
"""What can bring a poll something new. A project that is deleted takes its webhooks along, unheard."""

LARGEST_BODY = 64 * 1024
"""Bytes; Label Studio sends the name of the action alone."""

MOST_AT_ONCE, LONGEST = 8, 2.0
"""Connections at a time, and seconds that one may last; what is beyond is cut off."""

ATTACH_SECONDS, DETACH_SECONDS = 5.0, 2.0
"""What one request may take; at the end of a run somebody may be waiting who has pressed Ctrl-C."""

AGAIN_AFTER = 10
"""Calls of ``attach``, one a poll, until Label Studio is asked again after it gave no clear answer."""


class Receiver:
    """Listens for webhooks, as a context manager; ``woken`` is set by each that knows the ``secret``.

    It listens on ``bind``, HOST:PORT, where port 0 is any that is free.

    Raises:
        ConfigError: ``bind`` is no such thing, or cannot be listened on.
    """

    def __init__(self, bind: str = "127.0.0.1:0") -> None:
        self.woken = threading.Event()
        self.secret = secrets.token_urlsafe(32)
        try:
            self._server = _Server(_host_and_port(bind), self.secret, self.woken)
        except OSError as exc:
            reason = exc.strerror or exc
            raise ConfigError(
                f"--webhook-bind {bind}: cannot be listened on ({reason}). Give another."
            ) from exc
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="webhooks", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens, as this machine sees it.

        Raises:
            ConfigError: it listens on every address of the machine, of which none is known to be the right one.
        """
        host, port = str(self._server.server_address[0]), self._server.server_address[1]
        if host in ("0.0.0.0", "::"):
            raise ConfigError(
                f"--webhook-bind {host}:{port} is no address to call. "
                "Give --webhook-url too: how Label Studio reaches this machine."
            )
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class Webhook:
    """A receiver that Label Studio knows of, as a context manager; a campaign has one at a time.

    Its address there ends in the campaign's key, by which what a killed run left is found and removed.
    ``url`` is how Label Studio reaches the receiver; null: as this machine does.

    Raises:
        ConfigError: ``bind`` cannot be listened on, or needs a ``url``.
    """

    def __init__(
        self, connection: Connection, campaign_key: str, *, bind: str = "127.0.0.1:0", url: str | None = None
    ) -> None:
        self._connection = connection
        self._receiver = Receiver(bind)
        self.woken = self._receiver.woken
        self._path = f"/star_al/{campaign_key}"
        self._address = (url or self._receiver.url).rstrip("/") + self._path
        self._place: str | None = None
        self._calls_left = 0  # until ``attach`` asks; below zero: it does not

    def attach(self, place: str) -> None:
        """Have the project at ``place``, the annotator's, send its webhooks here; once for each place.

        Raises:
            AnnotatorError: Label Studio refuses, and is not asked again for this place.
            AwayError: it gives no clear answer; it is asked again in a later call.
        """
        if place != self._place:
            self._place, self._calls_left = place, 1
        self._calls_left -= 1
        if self._calls_left != 0:
            return
        hook = {
            "project": _project_id(place),
            "url": self._address,
            "headers": {SECRET_HEADER: self._receiver.secret},
            "send_payload": False,
            "send_for_all_actions": False,
            "actions": ACTIONS,
        }
        server = self._server(ATTACH_SECONDS)
        try:
            self._remove(server, lambda hook: True)
            server.send("POST", "api/webhooks/", {}, hook)
        except (AwayError, UnclearError) as exc:
            self._calls_left = AGAIN_AFTER
            reason = f"{server.url}: {exc}." if isinstance(exc, UnclearError) else str(exc)
            raise AwayError(f"No webhook for now: {reason}") from exc
        except AnnotatorError as exc:
            raise AnnotatorError(f"No webhook: {_advice(str(exc))}") from exc

    def __enter__(self) -> Webhook:
        self._receiver.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receiver.__exit__(kind, error, trace)
        if self._place is not None:
            with suppress(AnnotatorError, UnclearError):  # what stays there is removed by the next run
                self._remove(self._server(DETACH_SECONDS), self._is_of_this_run)

    def _remove(self, server: Server, doomed: Callable[[Mapping[str, Any]], bool]) -> None:
        """Remove those webhooks of this campaign that are ``doomed``."""
        with replies_as_expected(server):
            for hook in server.get("api/webhooks/").json:
                if hook["url"].endswith(self._path) and doomed(hook):
                    with suppress(MissingError):  # another controller was quicker
                        server.send("DELETE", f"api/webhooks/{hook['id']}/", {})

    def _is_of_this_run(self, hook: Mapping[str, Any]) -> bool:
        """Another controller may have taken the campaign over, and have its own."""
        return bool((hook["headers"] or {}).get(SECRET_HEADER) == self._receiver.secret)

    def _server(self, seconds: float) -> Server:
        timeout = min(seconds, self._connection.timeout)
        return Server(replace(self._connection, timeout=timeout), patience=0.0)


class _Server(ThreadingHTTPServer):
    """A thread for each connection, of which there are few and none lasts."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], secret: str, woken: threading.Event) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.secret, self.woken = secret, woken
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._ends: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the name service for our own name

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + LONGEST
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ends.pop(request, None)
            self._free.release()

    def service_actions(self) -> None:
        """Cut off what lasts too long; a client that sends byte by byte would hold its thread for ever."""
        now = time.monotonic()
        for request, end in list(self._ends.items()):
            if now > end:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's to hear of."""


class _Handler(BaseHTTPRequestHandler):
    """Answers a POST, 200 to one that knows the secret; and wakes the run only after that."""

    timeout = LONGEST
    server_version, sys_version = "star_al", ""

    def do_POST(self) -> None:
        server = cast("_Server", self.server)
        if not self._skip_body():
            self._answer(413)
            return
        given = self.headers.get(SECRET_HEADER, "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, server.secret.encode()):
            self._answer(403)
            return
        self._answer(200)
        server.woken.set()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the display belongs to the run."""

    def _skip_body(self) -> bool:
        """Read what was sent, or the connection's end would reset it before the answer arrives."""
        size = self.headers.get("Content-Length", "0")
        if not size.isdecimal() or int(size) > LARGEST_BODY:
            return False
        self.rfile.read(int(size))
        return True

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _host_and_port(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--webhook-bind {bind}: is not HOST:PORT, like 127.0.0.1:0 (0: any free port).")
    return host, int(port)


def _project_id(place: str) -> int:
    found = re.search(r"/projects/(\d+)", place)
    if found is None:
        raise AnnotatorError(f"No webhook: {place} is not the address of a project.")
    return int(found[1])


def _advice(reason: str) -> str:
    """Why Label Studio takes no webhook, and what to do, in one line."""
    if "network address" in reason:
        return (
            "Label Studio does not call addresses of its own network (SSRF protection). Start it with "
            "LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false, or give a --webhook-url that it may call."
        )
    return f"{reason.rstrip('.')}. Check --webhook-url and the token's rights."
