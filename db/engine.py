"""Connections from a URL, and transactions that begin, retry and fail the same way on SQLite and Postgres."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import tenacity
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from db.columns import to_json
from star_al.common.sqlite_address import split_sqlite_address
from star_al.errors import StarALError, StoreError

T = TypeVar("T")

BUSY_SECONDS = 30.0
"""How long one attempt waits for another process to finish writing to the same SQLite file."""

SLEEP_SECONDS = 30.0
"""Postgres ends a transaction that is idle for this long, so that a suspended controller holds no locks."""

ATTEMPTS = 4

_SQLITE_BUSY = ("database is locked", "database table is locked", "database schema is locked")
_POSTGRES_ROLLED_BACK = frozenset({"40001", "40P01", "55P03"})  # serialisation, deadlock, lock not available


class Database:
    """One database. ``read`` and ``write`` run a function on a connection as one transaction.

    The function runs again if the database rolled the transaction back for a passing reason (a lock, a
    deadlock, a lost connection), so it must affect nothing but the connection.
    """

    def __init__(self, url: str) -> None:
        """Prepare the engine; the first transaction connects.

        Raises:
            StoreError: Not the URL of a SQLite file or a Postgres database.
        """
        self.url = parse_url(url)
        self._engine = _engine(self.url)
        self._writing = self._engine.execution_options(star_al_writes=True)

    @property
    def location(self) -> str:
        """The database as messages name it: without a password."""
        return location(self.url)

    def read(self, body: Callable[[Connection], T]) -> T:
        """Run ``body`` in a transaction that does not block writers.

        Raises:
            StoreError: The database cannot be reached or read.
        """
        return self._run(self._engine, body, repeatable=True)

    def write(self, body: Callable[[Connection], T], *, repeatable: bool = True) -> T:
        """Run ``body`` in a transaction that holds SQLite's write lock from its start.

        With ``repeatable=False`` it does not run again after a lost connection, when the first run may have
        been committed.

        Raises:
            StoreError: The database cannot be reached or written; nothing was changed.
        """
        return self._run(self._writing, body, repeatable=repeatable)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _run(self, engine: Engine, body: Callable[[Connection], T], *, repeatable: bool) -> T:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda exc: _passes(exc, repeatable=repeatable)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            # Random, so that two controllers that collided do not collide again.
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),
            reraise=True,
        )
        try:
            done: T = attempts(_transaction, engine, body)
            return done
        except SQLAlchemyError as exc:
            raise translated(exc, self.location) from exc
        except OverflowError as exc:
            raise StoreError(f"{self.location}: a number is too large to be stored ({exc}).") from exc


def _transaction(engine: Engine, body: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return body(connection)


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
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        # A ping before use: a server that restarted or timed out has closed the connections in the pool.
        engine = create_engine(url, pool_pre_ping=True, json_serializer=to_json)
    except ImportError as exc:
        raise StoreError('Postgres needs the driver psycopg; run `pip install "psycopg[binary]"`.') from exc
    event.listen(engine, "connect", _prepare_postgres)
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


def _prepare_postgres(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.autocommit = True  # or the first rollback would undo the setting
    connection.execute(f"SET idle_in_transaction_session_timeout = {round(SLEEP_SECONDS * 1000)}")
    connection.autocommit = False


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: if it read first and then waited, SQLite would refuse its stale snapshot.
    writes = connection.get_execution_options().get("star_al_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _passes(exc: BaseException, *, repeatable: bool) -> bool:
    if not isinstance(exc, DBAPIError):
        return False
    if str(exc.orig).startswith(_SQLITE_BUSY) or getattr(exc.orig, "sqlstate", None) in _POSTGRES_ROLLED_BACK:
        return True
    return repeatable and exc.connection_invalidated


def translated(exc: SQLAlchemyError, where: str) -> StarALError:
    """Turn an error into what a user reads: what happened, in which database, and what to do."""
    original = exc.orig if isinstance(exc, StatementError) else None
    if isinstance(original, StarALError):  # a column type raised it
        return original
    reason = " ".join(str(original or exc).split()) or type(original).__name__
    if isinstance(exc, DBAPIError):
        for sign, advice in _ADVICE.items():
            if sign in reason:
                return StoreError(f"{where}: {advice}")
    if isinstance(exc, IntegrityError):
        return StoreError(
            f"{where}: refused, because it contradicts what is stored; nothing was written ({reason})."
        )
    if isinstance(exc, OperationalError):
        return StoreError(
            f"{where}: cannot be reached or used ({reason}). Check that it runs, and its address."
        )
    return StoreError(f"{where}: the database refused a statement; nothing was written ({reason}).")


# By text: the drivers raise the same class for most of these, and only some carry a code.
_ADVICE = {
    "file is not a database": "not a SQLite database. Name another file in database.url.",
    "disk image is malformed": "the database file is damaged. Restore it from a backup.",
    "unable to open database file": "cannot be opened. Check that its folder exists and may be written.",
    "readonly database": "may not be written. Check the permissions of the file and its folder.",
    "disk is full": "the disk is full; nothing was written. Free some space and run again.",
    "No space left on device": "the disk is full; nothing was written. Free some space and run again.",
    "disk I/O error": "the disk cannot be read or written (disk I/O error). Check the disk, then run again.",
    "database is locked": "another program kept it locked for too long. End that program and run again.",
    "no such table": "a table is missing. Run `star-al db check` for details.",
    "password authentication failed": "wrong user or password. Check database.url and the environment.",
}
