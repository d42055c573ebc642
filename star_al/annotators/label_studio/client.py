"""The connection to a Label Studio server: authentication, single requests, and which of them may be repeated.

Requests go out by plain httpx. The SDK's client repeats POSTs, which are not idempotent on the server, and
parses listings into models, which takes several times as long as the JSON itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx
import tenacity

from star_al.annotators.label_studio.refusals import NotFoundError, TokenKind, refusal
from star_al.errors import AnnotatorError, AwayError

OLDEST_VERSION = (1, 13)
"""The first Label Studio with everything used here: ``include`` in listings, the filter on drafts."""

FIRST_PATIENCE, PATIENCE = 2.0, 60.0
"""Seconds for which a read is repeated: before the server has ever answered, and after (it may be restarting)."""

Params = Mapping[str, str | int]
"""The query of a request's address."""


@dataclass(frozen=True)
class Connection:
    """A server and the token to use there.

    Attributes:
        url: Its address.
        timeout: Seconds that one request may take.
        locate: Returns its address now, if it can be told who listens there; None while it does not listen. It is
            asked for each new connection, so that the token never goes to another program.
    """

    url: str
    token: str = field(repr=False)
    timeout: float = 30.0
    locate: Callable[[], str | None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class ServerReport:
    """What ``examine`` found."""

    url: str
    version: str
    token: TokenKind
    user: str


@dataclass(frozen=True)
class Reply:
    """The JSON of a reply, and the server's time when it began to answer (None if it does not say)."""

    json: Any
    time: datetime | None


class UnclearError(Exception):
    """A request whose outcome is unknown: it may have taken effect, or may still do so until ``final_at``.

    ``final_at`` is on the clock of ``time.monotonic``. This error never leaves the package.
    """

    def __init__(self, message: str, final_at: float) -> None:
        super().__init__(message)
        self.final_at = final_at


def examine(connection: Connection) -> ServerReport:
    """Ask once which server answers at the address, and whom the token belongs to.

    Raises:
        AnnotatorError: Nothing answers, it is not Label Studio or too old, or it does not accept the token.
    """
    client = Client(connection, patience=0.0)
    try:
        with replies_as_expected(client):
            user = client.get("api/current-user/whoami").json
            name = str(user.get("email") or user.get("username") or user["id"])
    except (AwayError, NotFoundError) as exc:
        # Label Studio reports its version under every path, so a page's address gets this far.
        if not client.version or not urlsplit(client.url).path:
            raise
        raise AnnotatorError(
            f"{exc} If that is the address of a page, write only http://host:port as annotator.url; "
            "the number of a project belongs in annotator.project."
        ) from exc
    return ServerReport(connection.url, client.version, client.token_kind, name)


@contextmanager
def replies_as_expected(client: Client) -> Iterator[None]:
    """Turn a failure to read what the server answered into a clear error.

    Raises:
        AnnotatorError: The JSON of a reply does not have the shape that Label Studio's has.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as exc:
        raise AnnotatorError(
            f"{client.url} (Label Studio {client.version}) sent a reply that star_al cannot read "
            f"({type(exc).__name__}: {exc}). A proxy may have answered instead, or this version may be too new. "
            "Run `star-al doctor` to check the server; `star-al up` installs a version that works."
        ) from exc


def is_here(url: str) -> bool:
    """True if an address is one of this machine's own."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


class Client:
    """Sends requests to one server; nothing is sent before the first call.

    Reads are repeated while the server is away or busy. Writes are sent once: nothing on the server is
    idempotent, so the caller has to find out what an unclear one did.
    """

    def __init__(self, connection: Connection, patience: float = PATIENCE) -> None:
        self.url, self.version = connection.url.rstrip("/"), ""
        self._token, self._timeout, self._patience = connection.token, connection.timeout, patience
        self._locate = connection.locate
        self._access_token: str | None = None  # short-lived, in exchange for a personal access token

    @property
    def token_kind(self) -> TokenKind:
        """A personal access token is a JSON web token; a legacy token is 40 hexadecimal digits."""
        return "personal" if self._token.startswith("eyJ") else "legacy"

    def get(self, path: str, **params: str | int) -> Reply:
        """Read.

        Raises:
            NotFoundError: There is no such object.
            AwayError: The server cannot be reached, or gave no clear answer for as long as it was asked.
            AnnotatorError: The server refused.
        """
        return self.ask("GET", path, params)

    def ask(self, method: str, path: str, params: Params, body: object = None) -> Reply:
        """Send a request that may be repeated because it changes nothing on the server.

        Args:
            method: The HTTP method.
            path: The path below the server's URL, without a leading slash.
            params: The query parameters.
            body: The JSON body; None for no body.

        Raises:
            NotFoundError, AwayError, AnnotatorError: As for ``get``.
        """
        patience = min(self._patience, PATIENCE if self.version else FIRST_PATIENCE)
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(UnclearError),
            stop=tenacity.stop_after_delay(patience),
            wait=tenacity.wait_exponential(0.2, max=5.0),
            reraise=True,
        )
        try:
            return attempts(self.send, method, path, params, body)
        except UnclearError as exc:
            raise AwayError(f"{self.url}: {exc}. Is the server running, and is this its address?") from exc

    def send(self, method: str, path: str, params: Params, body: object = None) -> Reply:
        """Send a request once.

        Args:
            method: The HTTP method.
            path: The path below the server's URL, without a leading slash.
            params: The query parameters.
            body: The JSON body; None for no body.

        Raises:
            UnclearError: The request may have taken effect.
            NotFoundError, AnnotatorError: The server refused; the request had no effect.
        """
        self._follow()
        if not self.version:
            self._check_server()
        response = self._authenticated(method, path, params, body)
        if response.status_code == 401 and self.token_kind == "personal":
            self._access_token = None  # it has expired by the server's clock
            response = self._authenticated(method, path, params, body)
        return self._read(response, f"{method} {path}")

    def _follow(self) -> None:
        """Go on at the address that the server has now.

        Raises:
            UnclearError: It does not listen anywhere.
        """
        url = self.url if self._locate is None else self._locate()
        if url is None:
            raise UnclearError("it is not running, or is being restarted", time.monotonic())
        self.url = url.rstrip("/")

    def _check_listener(self, event: str, details: Mapping[str, Any]) -> None:
        """Called by the HTTP library at each step of a request; a new connection has sent nothing yet."""
        if event == "connection.connect_tcp.complete" and self._locate is not None:
            url = self._locate()
            if url is None or url.rstrip("/") != self.url:
                details["return_value"].close()
                raise UnclearError("another program listens at its address", time.monotonic())

    @cached_property
    def _http(self) -> httpx.Client:
        # A redirect would turn a POST into a GET; a proxy named in the environment rarely reaches this machine.
        return httpx.Client(timeout=self._timeout, follow_redirects=False, trust_env=not is_here(self.url))

    def _check_server(self) -> None:
        """Make sure that this is a Label Studio before it sees a token."""
        try:
            response = self._http.get(f"{self.url}/api/version", extensions={"trace": self._check_listener})
            if response.status_code >= 500:
                raise UnclearError(f"it answers {response.status_code}", time.monotonic())
            if response.is_redirect:
                raise self._redirected(response)
            release = response.json()["release"]
            major, minor = re.findall(r"\d+", release)[:2]
        except httpx.HTTPError as exc:
            raise UnclearError(f"it cannot be reached ({_describe(exc)})", time.monotonic()) from exc
        except (httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise AnnotatorError(
                f"{self.url} is not a Label Studio: it does not report a version. Check annotator.url."
            ) from exc
        if (int(major), int(minor)) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise AnnotatorError(
                f"{self.url} is Label Studio {release}; star_al needs {oldest} or later. Upgrade the server."
            )
        self.version = release

    def _authenticated(self, method: str, path: str, params: Params, body: object) -> httpx.Response:
        token = self._token
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise AnnotatorError(
                f"{self.url}: the token is empty or has characters that no token has. Copy it again."
            )
        if self.token_kind == "legacy":
            return self._request(method, path, params, body, f"Token {token}")
        if self._access_token is None:
            self._access_token = self._exchange_token()
        return self._request(method, path, params, body, f"Bearer {self._access_token}")

    def _exchange_token(self) -> str:
        """A new access token, good for minutes, in exchange for the personal access token."""
        path = "api/token/refresh/"
        try:
            reply = self._read(self._request("POST", path, {}, {"refresh": self._token}), f"POST {path}")
        except UnclearError as exc:  # the exchange has no effect that would have to be waited for
            raise UnclearError(str(exc), time.monotonic()) from exc
        return str(reply.json["access"])

    def _request(
        self,
        method: str,
        path: str,
        params: Params,
        body: object,
        authorization: str | None = None,
    ) -> httpx.Response:
        final_at = time.monotonic() + self._timeout
        headers = {} if authorization is None else {"Authorization": authorization}
        try:
            response = self._http.request(
                method,
                f"{self.url}/{path}",
                params=dict(params),
                json=body,
                headers=headers,
                extensions={"trace": self._check_listener},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise UnclearError(f"it cannot be reached ({_describe(exc)})", time.monotonic()) from exc
        except (httpx.HTTPError, ValueError) as exc:
            raise UnclearError(f"{method} {path}: no clear answer ({_describe(exc)})", final_at) from exc
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise UnclearError(f"{method} {path}: it answers {response.status_code}", final_at)
        return response

    def _read(self, response: httpx.Response, request: str) -> Reply:
        if response.is_redirect:
            raise self._redirected(response)
        try:
            body = response.json() if response.content else None
        except (ValueError, RecursionError) as exc:
            if response.is_success:
                raise UnclearError(f"{request}: the answer is cut off or not JSON", time.monotonic()) from exc
            body = None
        if response.status_code == 404 and not isinstance(body, Mapping):
            # A proxy that has lost its server must not look like a deleted project.
            raise UnclearError(f"{request}: not found, but not by Label Studio itself", time.monotonic())
        if not response.is_success:
            raise refusal(self.url, response.status_code, body, request, self.token_kind)
        return Reply(body, _server_time(response))

    def _redirected(self, response: httpx.Response) -> AnnotatorError:
        return AnnotatorError(
            f"{self.url} redirects to {response.headers.get('location', 'nowhere')}. "
            "Write the server's own address into annotator.url (with https, if it uses that)."
        )


def _describe(exc: Exception) -> str:
    """The kind of a failure; its own text may contain headers, and with them the token."""
    kinds = {"ConnectError": "connection refused or unknown host", "RemoteProtocolError": "connection lost"}
    name = type(exc).__name__
    return kinds.get(name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _server_time(response: httpx.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
