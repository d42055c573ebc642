"""Connections from a URL, and transactions that begin, retry and fail the same way on SQLite and Postgres."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from db.columns import to_json
from db.failures import is_away, is_busy, translated
from star_al.common.patience import Outage, Patience
from star_al.common.sqlite_address import split_sqlite_address
from star_al.errors import StoreError

T = TypeVar("T")

BUSY_SECONDS = 120.0
"""How long a transaction waits for another process to finish writing to the same SQLite file."""

BUSY_ATTEMPT = 1.0
"""Seconds of that which SQLite waits by itself: Ctrl-C is not heard meanwhile."""

BUSY_PAUSE = 0.25
"""Seconds between two attempts at something that others hold, at most."""

SLEEP_SECONDS = 30.0
"""Postgres ends a transaction that is idle for this long, so that a suspended controller holds no locks."""

_CONNECTING: dict[str, Any] = {
    "prepare_threshold": None,  # a pooler may run the next transaction on another connection
    "client_encoding": "utf8",  # otherwise the server's own, which may lack characters
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,  # milliseconds; a vanished server would be noticed after a quarter of an hour
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""How psycopg connects, unless the URL says otherwise."""


class Database:
    """One database. ``read`` and ``write`` run a function on a connection as one transaction.

    The function runs again if the database rolled the transaction back for a passing reason (a lock, a
    deadlock, a lost connection), so it must affect nothing but the connection. A transaction happens once: if
    the answer to its commit was lost, the database is asked what became of it.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        """Prepare the engine; the first transaction connects.

        Args:
            url: Its URL.
            patience: How long it is waited for once it was reached; None waits briefly. A database that was
                never reached is reported at once, because its address may be wrong.

        Raises:
            StoreError: Not the URL of a SQLite file or a Postgres database.
        """
        self.url = parse_url(url)
        self._patience = patience or Patience()
        self._reached = False
        self._engine = _engine(self.url)
        self._writing = self._engine.execution_options(star_al_writes=True)
        event.listen(self._engine, "connect", self._note_reached)

    @property
    def location(self) -> str:
        """The database as messages name it: without a password."""
        return location(self.url)

    def read(self, body: Callable[[Connection], T]) -> T:
        """Run ``body`` in a transaction that does not block writers.

        Raises:
            StoreError: The database cannot be reached or read.
        """
        return self._run(_Transaction(self._engine, body))

    def write(self, body: Callable[[Connection], T]) -> T:
        """Run ``body`` in a transaction that holds SQLite's write lock from its start.

        Raises:
            StoreError: The database cannot be reached or written; nothing was changed, unless the connection
                was lost at the commit and the database did not come back.
        """
        return self._run(_Transaction(self._writing, body))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _note_reached(self, *_: object) -> None:
        self._reached = True

    def _run(self, transaction: _Transaction[T]) -> T:
        try:
            return self._patience.again(transaction.run, self._outage)
        except SQLAlchemyError as exc:
            raise translated(exc, self.location) from exc
        except OverflowError as exc:
            raise StoreError(f"{self.location}: a number is too large to be stored ({exc}).") from exc

    def _outage(self, exc: BaseException) -> Outage | None:
        """How an error of a transaction is waited out; None for one that lasts."""
        if isinstance(exc, _UnclearError):
            return Outage(self._patience.seconds, message=str(exc), source=self.location)
        if not isinstance(exc, DBAPIError):
            return None
        if is_busy(exc):
            return Outage(BUSY_SECONDS, longest_pause=BUSY_PAUSE)
        if self._reached and is_away(exc):
            message = str(translated(exc, self.location))
            return Outage(self._patience.seconds, message=message, source=self.location)
        return None


class _UnclearError(StoreError):
    """It is not known yet whether a transaction was committed."""


class _Transaction(Generic[T]):
    """A function on a connection as one transaction, which may be tried again until it has happened once."""

    def __init__(self, engine: Engine, body: Callable[[Connection], T]) -> None:
        self._engine, self._body = engine, body
        self._unclear: tuple[int, T] | None = (
            None  # its number and result, if the answer to its commit was lost
        )

    def run(self) -> T:
        """Run it, or find out that an earlier try has happened after all; return the result of the body."""
        if self._unclear is not None:
            number, result = self._unclear
            if self._was_committed(number):
                return result
            self._unclear = None
        with self._engine.connect() as connection, connection.begin() as transaction:
            result = self._body(connection)
            if (begun := _transaction_number(connection)) is not None:
                self._unclear = begun, result
            transaction.commit()
        self._unclear = None
        return result

    def _was_committed(self, number: int) -> bool:
        with self._engine.connect() as connection:
            try:
                status = connection.scalar(text("SELECT txid_status(:number)"), {"number": number})
            except DBAPIError as exc:
                if getattr(exc.orig, "sqlstate", None) != "22023":
                    raise
                status = "aborted"  # "in the future": a standby took over that never heard of it
        if status == "in progress":
            raise _UnclearError(f"{location(self._engine.url)}: the last transaction has not ended yet.")
        return bool(status == "committed")


def _transaction_number(connection: Connection) -> int | None:
    """The number by which Postgres knows a transaction that has written something."""
    if connection.dialect.name != "postgresql" or not _writes(connection):
        return None
    number: int | None = connection.scalar(text("SELECT txid_current_if_assigned()"))
    return number


def parse_url(url: str) -> URL:
    """Parse a URL and add its driver.

    Raises:
        StoreError: Not the URL of a SQLite file or a Postgres database.
    """
    try:
        parsed = _sqlite_url(url) or make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as exc:
        raise StoreError(
            "database.url is not a database URL; write sqlite:///FILE or postgresql://…"
        ) from exc
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite")
    if backend == "postgresql" and parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(
        f"{location(parsed)}: campaigns are kept in a file (sqlite:///FILE) or in Postgres (postgresql://…)."
    )


def _sqlite_url(url: str) -> URL | None:
    """The parsed URL of a SQLite file; None for another URL."""
    parts = split_sqlite_address(url)
    if parts is None:
        return None
    path, query = parts
    return URL.create("sqlite", database=path, query=dict(parse_qsl(query[1:])))


def location(url: URL) -> str:
    """A file's path, or a URL without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or "sqlite://"
    bare = url.set(drivername=url.get_backend_name(), query={})  # options may hold passwords too
    return bare.render_as_string(hide_password=True)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite database; ``None`` for Postgres."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _engine(url: URL) -> Engine:
    if sqlite_file(url) is not None:
        engine = create_engine(url, connect_args={"timeout": min(BUSY_ATTEMPT, BUSY_SECONDS)})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    connecting = {name: value for name, value in _CONNECTING.items() if name not in url.query}
    try:
        # A ping before use: a server that restarted or timed out has closed the connections in the pool.
        engine = create_engine(url, pool_pre_ping=True, json_serializer=to_json, connect_args=connecting)
    except ImportError as exc:
        raise StoreError('Postgres needs the driver psycopg; run `pip install "psycopg[binary]"`.') from exc
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # sqlite3 begins its transactions too late; _begin_sqlite does it
    for pragma in (
        "journal_mode = WAL",  # readers and the writer do not wait for each other
        "foreign_keys = ON",  # SQLite does not check them otherwise
        "cache_size = -65536",  # negative means KiB: 64 MiB
        "journal_size_limit = 67108864",  # bytes; otherwise the log keeps its largest size for ever
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: if it read first and then waited, SQLite would refuse its stale snapshot.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgres(connection: Connection) -> None:
    # Of the transaction, not of the session, which behind a pooler belongs to other clients as well.
    limit = round(SLEEP_SECONDS * 1000)
    connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {limit}")


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("star_al_writes", False))
