"""Addresses of SQLite files: ``sqlite:///`` and a path, in which any character may occur.

In a URL, ``?`` and ``#`` end the path and ``%`` begins an escape. A folder may be called "50 % done?", so a path is
escaped before it becomes part of a URL, and what a person has written by hand is read with that in mind.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

_ADDRESS = re.compile(r"sqlite(?:\+pysqlite)?:///(?P<path>.*?)(?P<query>\?\w+=[^/?#]*)?", re.DOTALL)
"""Only ``?name=value`` at the end is a query. Any other ``?``, and every ``#``, belongs to the path."""


def sqlite_address(path: Path) -> str:
    """The URL of a SQLite file, whatever its folders are called."""
    return f"sqlite:///{quote(str(path))}"


def split_sqlite_address(url: str) -> tuple[str, str] | None:
    """The path in the URL of a SQLite file without its escapes, and its query (with ``?``, or empty).

    None if it is the URL of something else.
    """
    found = _ADDRESS.fullmatch(url)
    return None if found is None else (unquote(found["path"]), found["query"] or "")
