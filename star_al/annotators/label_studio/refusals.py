"""What a Label Studio server's refusals mean, in words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from star_al.errors import AnnotatorError

TokenKind = Literal["legacy", "personal"]

LONGEST_DETAIL = 400
"""Characters of the server's own explanation that a message repeats."""

_ENVELOPE = {"id", "status_code", "version", "detail", "exc_info", "validation_errors"}
"""Keys of a refusal that are not names of the fields it is about."""


class NotFoundError(AnnotatorError):
    """The server has no such project, task or other object (404)."""


def refusal(url: str, status: int, body: object, request: str, token_kind: TokenKind) -> AnnotatorError:
    """The error for a request that the server refused.

    Args:
        url: The server's address.
        status: The HTTP status, 4xx.
        body: The JSON of the reply, or None if it was not JSON.
        request: Method and path, for the message.
        token_kind: The kind of the token that was sent.

    Returns:
        The error to raise; a ``NotFoundError`` for status 404.
    """
    detail = _detail(body)
    match status:
        case 401:
            advice = _token_advice(token_kind, detail)
            return AnnotatorError(f"{url} does not accept the token: {detail}. {advice}")
        case 403:
            return AnnotatorError(
                f"{url}: the token's user is not allowed to do this ({request}: {detail}). "
                "Ask the owner of the organisation for access, or use another user's token."
            )
        case 404:
            return NotFoundError(f"{url}: {request}: not found ({detail}).")
        case 413:
            return AnnotatorError(
                f"{url}: a request was too large for the server or for a proxy in front of it. "
                "Raise the limit there (nginx: client_max_body_size), or shorten the longest texts."
            )
    return AnnotatorError(f"{url} refused {request} ({status}): {detail}")


def _token_advice(kind: TokenKind, detail: str) -> str:
    if kind == "personal":
        return (
            "It is a personal access token that may have been revoked or may have expired. "
            "Create a new one in Label Studio under Account & Settings → Personal Access Token."
        )
    if "disabled" in detail:
        return (
            "It is a legacy token, and the organisation does not allow those. Create a personal access token "
            "under Account & Settings, or have the owner allow legacy tokens (Organization → API Tokens)."
        )
    return (
        "It looks like a legacy token. Copy the one under Account & Settings → Legacy Token, or, if "
        "there is none, create a personal access token there."
    )


def _detail(body: object) -> str:
    """The server's own explanation, shortened."""
    if not isinstance(body, Mapping):
        return "no reason given"
    words = str(body.get("detail") or "").rstrip(".")
    fields = body.get("validation_errors") or {name: body[name] for name in body if name not in _ENVELOPE}
    words = ": ".join(part for part in (words, _field_errors(fields)) if part) or "no reason given"
    return words if len(words) <= LONGEST_DETAIL else words[: LONGEST_DETAIL - 1] + "…"


def _field_errors(errors: object) -> str:
    """The errors of each field, as Django REST framework nests them, on one line."""
    if isinstance(errors, Mapping):
        return "; ".join(f"{name}: {_field_errors(error)}" for name, error in errors.items())
    return " ".join(map(str, errors)) if isinstance(errors, list) else str(errors or "")
