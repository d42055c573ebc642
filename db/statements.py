"""The few statements that every table needs: pages, and inserts that keep or update existing rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Select, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from db.tables import Base
from star_al.common import paging

T = TypeVar("T")
Row = Mapping[str, Any]

PAGE = 5_000
"""Rows in one statement; SQLite takes at most 32,766 parameters."""


def pages(values: Iterable[T], size: int = PAGE) -> Iterator[list[T]]:
    """``values`` in lists that one statement can take."""
    return paging.pages(values, size)


def table_of(row: type[Base]) -> Table:
    """The table behind a row class."""
    assert isinstance(row.__table__, Table)
    return row.__table__


def insert_new(connection: Connection, row: type[Base], rows: Sequence[Row]) -> int:
    """Insert the rows whose keys do not exist yet; return how many were inserted."""
    statement = _insert(connection, row).on_conflict_do_nothing()
    return sum(count(connection, statement, page) for page in pages(rows))


def count(connection: Connection, statement: Insert, rows: Sequence[Row] | None = None) -> int:
    """Run an INSERT; return how many rows were inserted."""
    return connection.execute(statement, rows, execution_options={"preserve_rowcount": True}).rowcount


def upsert(connection: Connection, row: type[Base], rows: Sequence[Row], key: Sequence[str]) -> None:
    """Insert rows; rows whose ``key`` exists get the new values."""
    if not rows:
        return
    statement = _insert(connection, row)
    values = {name: statement.excluded[name] for name in rows[0] if name not in key}
    statement = statement.on_conflict_do_update(index_elements=key, set_=values)
    for page in pages(rows):
        connection.execute(statement, page)


def stream(connection: Connection, statement: Select[T]) -> Iterator[T]:
    """Iterate over a one-column result of up to a million rows in bounded memory."""
    return iter(connection.execution_options(yield_per=10_000).scalars(statement))


def now(connection: Connection) -> datetime:
    """The time by the clock that all controllers share: the server's, or for a file this machine's."""
    if connection.dialect.name == "postgresql":
        moment: datetime = connection.scalars(select(func.clock_timestamp())).one()
        return moment.astimezone(UTC)
    return datetime.now(UTC)


def _insert(connection: Connection, row: type[Base]) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table_of(row))
