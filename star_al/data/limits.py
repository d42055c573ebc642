"""How much of a file may become one row or one file's rows, so that no file fills the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from star_al.common.wording import count
from star_al.errors import DataError

if TYPE_CHECKING:
    from star_al.data.rows import Row
    from star_al.data.source import Table

MAX_ROW = 2**24
"""Most characters of a row, or of a line of a text file. An open quote would else read the whole file into a cell."""

MAX_COLUMNS = 10_000
"""Most columns of a table."""

LARGE = 2**30
"""Characters up to which a file may hold anything, however well it is compressed."""

MAX_RATIO = 200
"""A larger file may not hold more than this many characters for each of its bytes. Text shrinks less than this."""


def within_limits(rows: Iterator[Row], table: Table) -> Iterator[Row]:
    """Pass on the rows of a table as long as they are within the limits.

    Raises:
        DataError: A row is too long or has too many columns, or the file expands too much.
    """
    n_bytes = table.path.stat().st_size if table.path is not None and table.path.is_file() else None
    total = 0
    for row in rows:
        if len(row.values) > MAX_COLUMNS:
            raise DataError(f"{table.place(row.number)}: {too_many_columns(len(row.values))}")
        length = sum(map(_length, row.values.values()))
        if length > MAX_ROW:
            raise DataError(f"{table.place(row.number)}: {TOO_LONG}")
        total += length
        if n_bytes is not None and total > max(LARGE, MAX_RATIO * n_bytes):
            raise DataError(f"{table.name}: {expands(n_bytes)}")
        yield row


TOO_LONG = (
    f"this row is longer than {MAX_ROW:,} characters, the most that is read. Shorten it or leave it out."
)


def too_many_columns(n: int) -> str:
    """What is wrong with a row of ``n`` columns."""
    return f"{count(n, 'column')}, but at most {MAX_COLUMNS:,} are read. Is this really a table?"


def expands(n_bytes: int) -> str:
    """What is wrong with a file of ``n_bytes`` that holds too much."""
    return (
        f"{count(n_bytes, 'byte')} of file hold more than {MAX_RATIO} times as much text, as no real data do. "
        "Unpack the file, and check what is in it."
    )


def _length(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_length, value.values())) + sum(map(_length, value))
    return sum(map(_length, value)) if isinstance(value, (list, tuple)) else 1
