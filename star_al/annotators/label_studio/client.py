"""The connection to a Label Studio server: authentication, single requests, and what its refusals mean.

The SDK's client authenticates each request, exchanging a personal access token for one that is good for
minutes. Replies are read as plain JSON: its models are several times slower on long listings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import tenacity
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError

from star_al.errors import AnnotatorError, AwayError

OLDEST = (1, 13)
"""The first version with all that is used here: ``include`` in listings, the filter on drafts."""

FIRST_PATIENCE, PATIENCE = 2.0, 60.0
"""Seconds for which a read is repeated before the server has ever answered, and after: while it restarts."""


@dataclass(frozen=True)
class Connection:
    """Where a server is, and who asks. ``timeout`` is what one request may take, in seconds."""

    url: str
    token: str = field(repr=False)
    timeout: float = 30.0


@dataclass(frozen=True)
class ServerReport:
    """What ``examine`` found."""

    url: str
    version: str
    token: Literal["legacy", "personal"]
    user: str


@dataclass(frozen=True)
class Reply:
    """The JSON of a reply, and the server's time when it began to answer; null if it does not tell."""

    json: Any
    time: datetime | None


class UnclearError(Exception):
    """A request that may or may not have had its effect, or may have it until ``settled``.

    ``settled`` is on the clock of ``time.monotonic``. Never leaves this package.
    """

    def __init__(self, message: str, settled: float) -> None:
        super().__init__(message)
        self.settled = settled


class MissingError(AnnotatorError):
    """What was asked for is not there (404)."""


def examine(connection: Connection) -> ServerReport:
    """Who and what answers there, in one try.

    Raises:
        AnnotatorError: nobody does, or no Label Studio, or one that is too old, or it refuses the token.
    """
    server = Server(connection, patience=0.0)
    try:
        with replies_as_expected(server):
            user = server.get("api/current-user/whoami").json
            name = str(user.get("email") or user.get("username") or user["id"])
    except (AwayError, MissingError) as exc:
        if not server.version or not urlsplit(server.url).path:
            raise
        raise AnnotatorError(  # every page of Label Studio tells the version
            f"{exc} If that is the address of a page, write only http://host:port into annotator.url; "
            "a project goes into annotator.project."
        ) from exc
    return ServerReport(connection.url, server.version, server.token_kind, name)


@contextmanager
def replies_as_expected(server: Server) -> Iterator[None]:
    """Turn a failure to read what the server has answered into a clear error.

    Raises:
        AnnotatorError: its JSON is of another shape than Label Studio's.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as exc:
        raise AnnotatorError(
            f"{server.url} (Label Studio {server.version}) answers what star_al cannot read "
            f"({type(exc).__name__}: {exc}). Does a proxy answer in its place, or is that version too new? "
            "`star-al doctor` looks at it; `star-al up` installs a version that works."
        ) from exc


class Server:
    """Requests to one server. Nothing is asked before the first of them.

    Reads are repeated while the server is away or busy. Writes are sent once: nothing on the server is
    idempotent, so an unclear one is for the caller to look into.
    """

    def __init__(self, connection: Connection, patience: float = PATIENCE) -> None:
        self.url, self.version = connection.url.rstrip("/"), ""
        self._connection, self._patience = connection, patience
        self._http: httpx.Client | None = None
        self._sdk: LabelStudio | None = None

    @property
    def token_kind(self) -> Literal["legacy", "personal"]:
        """A personal access token is a JSON web token; the older kind is 40 hexadecimal digits."""
        return "personal" if self._connection.token.startswith("eyJ") else "legacy"

    def get(self, path: str, **params: object) -> Reply:
        """Read.

        Raises:
            MissingError: it is not there.
            AwayError: the server cannot be reached, or gives no clear answer for as long as it is asked.
            AnnotatorError: it refuses.
        """
        return self.ask("GET", path, params)

    def ask(self, method: str, path: str, params: Mapping[str, object], body: object = None) -> Reply:
        """A request without effect on the server, or one that may be repeated; else as ``get``."""
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
            raise AwayError(f"{self.url}: {exc}. Is it running, and is that its address?") from exc

    def send(self, method: str, path: str, params: Mapping[str, object], body: object = None) -> Reply:
        """One request, sent once.

        Raises:
            UnclearError: nobody can say whether it had its effect.
            MissingError, AnnotatorError: the server refused; it had none.
        """
        if not self.version:
            self._meet()
        response = self._authenticated(method, path, params, body)
        if response.status_code == 401 and self.token_kind == "personal":
            self._sdk = None  # the short-lived token may have expired by the server's clock: get another
            response = self._authenticated(method, path, params, body)
        return self._read(response, f"{method} {path}")

    def _meet(self) -> None:
        """Make sure that this is a Label Studio before it sees a token."""
        # a redirect would turn a POST into a GET; a proxy from the environment rarely reaches this machine
        here = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        if self._http is None:
            self._http = httpx.Client(
                timeout=self._connection.timeout, follow_redirects=False, trust_env=not here
            )
        try:
            response = self._http.get(f"{self.url}/api/version")
            if response.status_code >= 500:
                raise UnclearError(f"it answers {response.status_code}", time.monotonic())
            if response.is_redirect:
                raise self._moved(response)
            release = response.json()["release"]
            major, minor = re.findall(r"\d+", release)[:2]
        except httpx.HTTPError as exc:
            raise UnclearError(f"it cannot be reached ({_words(exc)})", time.monotonic()) from exc
        except (httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise AnnotatorError(
                f"{self.url} is not a Label Studio: it does not tell its version. Check annotator.url."
            ) from exc
        if (int(major), int(minor)) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise AnnotatorError(
                f"{self.url} is Label Studio {release}; star_al works with {wanted} and later. Upgrade it."
            )
        self.version = release

    def _authenticated(
        self, method: str, path: str, params: Mapping[str, object], body: object
    ) -> httpx.Response:
        token, sent = self._connection.token, time.monotonic()
        settled = sent + self._connection.timeout
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise AnnotatorError(f"{self.url}: the token is empty or holds more than a token. Copy it again.")
        try:
            if self._sdk is None:
                self._sdk = LabelStudio(  # type: ignore[no-untyped-call]
                    base_url=self.url + "/", api_key=token, httpx_client=self._http
                )
            response = self._sdk._client_wrapper.httpx_client.request(
                path,
                method=method,
                params=dict(params),
                json=body,
                request_options={"max_retries": 0},
            )
        except ApiError as exc:  # from the exchange of a personal access token: nothing else was sent
            status = exc.status_code or 500
            if status in (408, 429) or status >= 500:
                raise UnclearError(f"it answers {status} when asked for a token", sent) from exc
            raise self._refused(status, exc.body, "token") from exc
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise UnclearError(f"it cannot be reached ({_words(exc)})", sent) from exc
        except (httpx.HTTPError, ValueError) as exc:
            raise UnclearError(f"{method} {path}: no clear answer ({_words(exc)})", settled) from exc
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise UnclearError(f"{method} {path}: it answers {response.status_code}", settled)
        return response

    def _read(self, response: httpx.Response, what: str) -> Reply:
        if response.is_redirect:
            raise self._moved(response)
        try:
            body = response.json() if response.content else None
        except ValueError as exc:
            if response.is_success:
                raise UnclearError(f"{what}: the answer is cut or no JSON", time.monotonic()) from exc
            body = None
        if response.status_code == 404 and not isinstance(body, Mapping):
            # a proxy that has lost its server must not look like a deleted project
            raise UnclearError(
                f"{what}: not found, but it is not Label Studio that says so", time.monotonic()
            )
        if not response.is_success:
            raise self._refused(response.status_code, body, what)
        return Reply(body, _server_time(response))

    def _moved(self, response: httpx.Response) -> AnnotatorError:
        return AnnotatorError(
            f"{self.url} sends us on to {response.headers.get('location', 'nowhere')}. "
            "Write the server's own address into annotator.url (https, if it uses that)."
        )

    def _refused(self, status: int, body: object, what: str) -> AnnotatorError:
        detail = _detail(body)
        match status:
            case 401:
                return AnnotatorError(f"{self.url} refuses the token: {detail}. {self._token_advice(detail)}")
            case 403:
                return AnnotatorError(
                    f"{self.url}: the token's user may not do this ({what}: {detail}). "
                    "Ask the owner of the organisation for membership and rights, or use another user's token."
                )
            case 404:
                return MissingError(f"{self.url}: {what}: not found ({detail}).")
            case 413:
                return AnnotatorError(
                    f"{self.url}: a request was too large for it, or for a proxy before it. "
                    "Raise the limit there (nginx: client_max_body_size), or shorten the longest texts."
                )
        return AnnotatorError(f"{self.url} refuses {what} ({status}): {detail}")

    def _token_advice(self, detail: str) -> str:
        if self.token_kind == "personal":
            return (
                "It is a personal access token; perhaps it was revoked or has expired. "
                "Make a new one in Label Studio under Account & Settings → Personal Access Token."
            )
        if "disabled" in detail:
            return (
                "It is a legacy token, and the organisation does not allow those. Make a personal access token "
                "under Account & Settings, or let the owner allow legacy tokens (Organization → API Tokens)."
            )
        return (
            "It is taken for a legacy token. Copy the one under Account & Settings → Legacy Token, or, where "
            "there is none, make a personal access token there."
        )


def _detail(body: object) -> str:
    """The server's own words, shortened."""
    if not isinstance(body, Mapping):
        return "without a reason"
    words = str(body.get("detail") or "").rstrip(".")
    fields = body.get("validation_errors") or {name: body[name] for name in body if name not in _ENVELOPE}
    words = ": ".join(part for part in (words, _fields(fields)) if part) or "without a reason"
    return words if len(words) <= 400 else words[:399] + "…"


_ENVELOPE = {"id", "status_code", "version", "detail", "exc_info", "validation_errors"}
"""Keys of a refusal beside those of the fields that it is about."""


def _fields(faults: object) -> str:
    """What is wrong with which field, as Django REST framework tells it."""
    if isinstance(faults, Mapping):
        return "; ".join(f"{name}: {_fields(fault)}" for name, fault in faults.items())
    return " ".join(map(str, faults)) if isinstance(faults, list) else str(faults or "")


def _words(exc: Exception) -> str:
    """The kind of a failure; its text may hold headers."""
    kinds = {"ConnectError": "connection refused or name unknown", "RemoteProtocolError": "connection lost"}
    name = type(exc).__name__
    return kinds.get(name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _server_time(response: httpx.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
