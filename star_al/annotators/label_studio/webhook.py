"""Label Studio's webhooks: a hint that somebody has labelled, so that the next poll need not wait.

A webhook is only a hint. Label Studio sends each once, with a time limit of a second, while the annotator's own
request waits. So the receiver answers at once and ignores the content; the annotations come with the poll.
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

from star_al.annotators.label_studio.client import Client, Connection, UnclearError, replies_as_expected
from star_al.annotators.label_studio.refusals import NotFoundError
from star_al.errors import AnnotatorError, AwayError, ConfigError

SECRET_HEADER = "X-Star-Al-Secret"

ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_DELETED",
)
"""Events after which a poll may find something new. A deleted project sends none: its webhooks go with it."""

LARGEST_BODY = 64 * 1024
"""Bytes; Label Studio sends only the name of the action."""

MAX_CONNECTIONS, CONNECTION_SECONDS = 8, 2.0
"""Connections at a time, and seconds that one may last; more of either are cut off."""

ATTACH_SECONDS, DETACH_SECONDS = 5.0, 2.0
"""Time limits of one request; at the end of a run somebody who has pressed Ctrl-C may be waiting."""

RETRY_AFTER = 10
"""Calls of ``attach`` (one per poll) before the next attempt when Label Studio gave no clear answer."""


class Receiver:
    """Context manager that listens for webhooks; one that carries ``secret`` sets ``woken``.

    Args:
        bind: HOST:PORT to listen on; port 0 means any free port.

    Raises:
        ConfigError: ``bind`` is not HOST:PORT, or the address cannot be bound.
    """

    def __init__(self, bind: str = "127.0.0.1:0") -> None:
        self.woken = threading.Event()
        self.secret = secrets.token_urlsafe(32)
        try:
            self._server = _Server(_host_and_port(bind), self.secret, self.woken)
        except OSError as exc:
            reason = exc.strerror or exc
            raise ConfigError(
                f"--webhook-bind {bind}: cannot listen there ({reason}). Choose another address or port."
            ) from exc
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="webhooks", daemon=True
        )

    @property
    def url(self) -> str:
        """The address at which this machine reaches the receiver.

        Raises:
            ConfigError: It listens on all addresses of the machine, so none of them is known to be the right one.
        """
        host, port = str(self._server.server_address[0]), self._server.server_address[1]
        if host in ("0.0.0.0", "::"):
            raise ConfigError(
                f"--webhook-bind {host}:{port} means all addresses of this machine. "
                "Add --webhook-url with the address at which Label Studio reaches it."
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
    """A receiver that is registered with Label Studio, as a context manager; a campaign has one at a time.

    The registered address ends in the campaign's key. By it the next run finds and removes what a killed one left.

    Args:
        connection: The server.
        campaign_key: The key of the campaign.
        bind: As for ``Receiver``.
        url: The address at which Label Studio reaches the receiver; None: as this machine does.

    Raises:
        ConfigError: It is impossible to listen on ``bind``, or it needs a ``url``.
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
        self._calls_left = 0  # calls of ``attach`` until the next attempt; negative: none will follow

    def attach(self, place: str) -> None:
        """Register with the project at ``place`` (the annotator's), once for each place.

        Raises:
            AnnotatorError: Label Studio refused; later calls for this place do nothing.
            AwayError: Label Studio gave no clear answer; a later call tries again.
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
        client = self._client(ATTACH_SECONDS)
        try:
            self._remove(client, lambda hook: True)
            client.send("POST", "api/webhooks/", {}, hook)
        except (AwayError, UnclearError) as exc:
            self._calls_left = RETRY_AFTER
            reason = f"{client.url}: {exc}." if isinstance(exc, UnclearError) else str(exc)
            raise AwayError(f"The webhook is not set up yet: {reason}") from exc
        except AnnotatorError as exc:
            raise AnnotatorError(f"The webhook cannot be set up: {_advice(str(exc))}") from exc

    def __enter__(self) -> Webhook:
        self._receiver.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receiver.__exit__(kind, error, trace)
        if self._place is not None:
            with suppress(AnnotatorError, UnclearError):  # the next run removes what stays there
                self._remove(self._client(DETACH_SECONDS), self._is_of_this_run)

    def _remove(self, client: Client, chosen: Callable[[Mapping[str, Any]], bool]) -> None:
        """Remove the ``chosen`` ones of this campaign's webhooks."""
        with replies_as_expected(client):
            for hook in client.get("api/webhooks/").json:
                if hook["url"].endswith(self._path) and chosen(hook):
                    with suppress(NotFoundError):  # another controller was quicker
                        client.send("DELETE", f"api/webhooks/{hook['id']}/", {})

    def _is_of_this_run(self, hook: Mapping[str, Any]) -> bool:
        # Another controller may have taken over the campaign and registered its own.
        headers = hook["headers"]
        return isinstance(headers, Mapping) and headers.get(SECRET_HEADER) == self._receiver.secret

    def _client(self, seconds: float) -> Client:
        timeout = min(seconds, self._connection.timeout)
        return Client(replace(self._connection, timeout=timeout), patience=0.0)


class _Server(ThreadingHTTPServer):
    """Serves each connection in a thread of its own; there are few of them, and none lasts."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], secret: str, woken: threading.Event) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.secret, self.woken = secret, woken
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._ends: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's version looks up this machine's name

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + CONNECTION_SECONDS
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ends.pop(request, None)
            self._free.release()

    def service_actions(self) -> None:
        """Cut off connections that last too long; a client that sends byte by byte would hold its thread for ever."""
        now = time.monotonic()
        for request, end in list(self._ends.items()):
            if now > end:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about a broken connection."""


class _Handler(BaseHTTPRequestHandler):
    """Answers a POST, with 200 if it has the secret, and only then wakes the run."""

    timeout = CONNECTION_SECONDS
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
        """Print nothing: the display belongs to the run."""

    def _skip_body(self) -> bool:
        """Read the body: closing the connection with unread data would reset it before the answer arrives."""
        size = self.headers.get("Content-Length", "0")
        if not size.isdecimal() or len(size) > len(str(LARGEST_BODY)) or int(size) > LARGEST_BODY:
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
        raise ConfigError(
            f"--webhook-bind {bind} is not HOST:PORT. Write for example 127.0.0.1:0 (0 means any free port)."
        )
    return host, int(port)


def _project_id(place: str) -> int:
    found = re.search(r"/projects/(\d+)", place)
    if found is None:
        raise AnnotatorError(f"The webhook cannot be set up: {place} is not the address of a project.")
    return int(found[1])


def _advice(reason: str) -> str:
    """Why Label Studio does not accept the webhook, and what to do."""
    if "network address" in reason:
        return (
            "Label Studio does not call addresses in its own network (SSRF protection). Stop the local one with "
            "`star-al up --stop` and start it with `star-al up --webhooks`; start another one with "
            "LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false, or pass a --webhook-url that it may call."
        )
    return f"{reason.rstrip('.')}. Check --webhook-url, and whether the token's user may create webhooks."
