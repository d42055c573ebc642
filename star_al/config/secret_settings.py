"""Settings whose values are never printed."""

from __future__ import annotations

_MAY_HOLD_SECRETS = {("annotator", "url"), ("annotator", "token_env")}


def may_hold_secret(location: tuple[str | int, ...]) -> bool:
    """True if somebody may have put a password or a token into the setting with this location."""
    return location[:1] == ("database",) or location in _MAY_HOLD_SECRETS
