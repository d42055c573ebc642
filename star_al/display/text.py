"""Make text safe to print: without control characters, and without passwords."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # window titles, links
    r"|\x1b.?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u202a-\u202e\u2066-\u2069]",  # the direction of writing, which would reach into the next column
    re.DOTALL,
)
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)\S*@")
_NAMED_PASSWORD = re.compile(r"(?i)(\bpassword=)[^\s&'\"]+")


def clean(text: str) -> str:
    """Remove ANSI escapes and control characters; line feeds and tabs stay."""
    return _CONTROL.sub("", text)


def one_line(text: str) -> str:
    """Remove control characters and fold all white space, so that the text fits on one line."""
    return " ".join(clean(text).split())


def redacted(text: str) -> str:
    """Replace the passwords in URLs and connection strings by asterisks."""
    return _NAMED_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1***@", text))
