"""Whether the local server accepts its stored login, and the end of its log if it does not."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from contextlib import suppress

from star_al.errors import AnnotatorError
from star_al.local_server.credentials import LocalServer, read_credentials
from star_al.local_server.place import Place

TAIL_LINES = 20
"""Lines of the log in an error message."""


def accepts_token(place: Place, server: LocalServer) -> bool:
    """Return whether the server accepts our token; False while it does not answer at all.

    Raises:
        AnnotatorError: The server answers, but refuses the token.
    """
    request = urllib.request.Request(
        f"{server.url}/api/current-user/whoami", headers={"Authorization": f"Token {server.token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as reply:
            reply.read()
    except urllib.error.HTTPError as exc:
        if exc.code not in (401, 403):
            raise AnnotatorError(f"{server.url} answers {exc.code}. {log_tail(place)}") from exc
        raise AnnotatorError(_token_advice(place, server, exc)) from exc
    except (OSError, http.client.HTTPException):
        return False
    return True


def _token_advice(place: Place, server: LocalServer, refusal: urllib.error.HTTPError) -> str:
    with suppress(OSError, http.client.HTTPException):
        if b"disabled" in refusal.read():  # for the whole organisation, so a new user would not help
            return (
                f"Label Studio at {server.url} does not allow legacy tokens, which `star-al up` needs. "
                f"Log in there as {server.user} (the password is in {place.credentials}) and allow them "
                "under Organization → API Tokens."
            )
    return (
        f"Label Studio at {server.url} does not accept the token of {server.user} in {place.credentials}. Run "
        "`star-al up --stop`, delete that file, and run `star-al up`, which creates another user. Projects are kept."
    )


def log_tail(place: Place) -> str:
    """The path of the log and its last lines, without secrets."""
    with suppress(OSError):
        lines = place.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        text, stored = "\n".join(lines), read_credentials(place)
        for secret in (stored.token, stored.password) if stored else ():
            text = text.replace(secret, "***")
        return f"The end of its log ({place.log}):\n{text}"
    return f"Its log is {place.log}."
