"""A row as it was read."""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """A row as read. ``number`` counts from 1; in files of lines it is the row's first line."""

    number: int
    values: dict[str, Any]
