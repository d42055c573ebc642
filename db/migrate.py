"""Create, upgrade and check the database schema, which the Alembic migrations alone define."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text

from db.engine import Database, sqlite_file
from db.tables import Base
from star_al.errors import SchemaError, StoreError

VIEW = "round_history"
_UPGRADE_LOCK = 0x5354_4152  # key of the advisory lock that upgrades take on Postgres: "STAR"


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """The schema of a database; ``drift`` lists differences from what this program expects."""

    current: str | None
    head: str
    drift: tuple[str, ...]

    @property
    def up_to_date(self) -> bool:
        """True if this program can work with the database."""
        return self.current == self.head and not self.drift


def is_empty(url: str) -> bool:
    """Return whether the database does not exist or has no table of star_al yet, so that its schema may be created.

    Raises:
        StoreError: The database cannot be read.
    """
    database = Database(url)
    try:
        return _no_file(database) or database.read(_is_empty)
    finally:
        database.close()


def upgrade(url: str) -> str:
    """Create the schema or bring it to this program's version, in one transaction; return the version.

    Two processes may call it at once. A database that is already at this version stays as it is.

    Raises:
        SchemaError: The schema is newer than this program, or another program's.
        StoreError: The database cannot be written.
    """
    database = Database(url)
    try:
        if _no_file(database):
            _make_private(Path(str(database.url.database)))
        return database.write(lambda connection: _upgrade(connection, database.location))
    except CommandError as exc:
        raise SchemaError(f"{database.location}: cannot be upgraded ({exc}).") from exc
    finally:
        database.close()


def check(url: str) -> SchemaReport:
    """Compare a database's schema with this program's, changing nothing.

    Raises:
        StoreError: The database cannot be read, or does not exist.
    """
    database = Database(url)
    try:
        if _no_file(database):
            raise StoreError(
                f"{database.location}: no such database. Create it with `star-al db upgrade CONFIG`."
            )
        return database.read(
            lambda connection: SchemaReport(_current(connection), head(), _drift(connection))
        )
    finally:
        database.close()


def require_head(database: Database) -> None:
    """Check that a database is at this program's version.

    Raises:
        SchemaError: It is empty, older, newer, or another program's; the message says what to do.
        StoreError: The database cannot be read.
    """
    if _no_file(database):
        raise SchemaError(
            f"{database.location}: no such database. Run `star-al db upgrade CONFIG` to create it."
        )
    database.read(lambda connection: _require_head(connection, database.location))


def head() -> str:
    """The newest schema version that this program knows."""
    return str(_scripts().get_current_head())


def migrations_folder() -> Path:
    """The folder of the migrations: inside the package if installed, beside it in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "_migrations"
    return installed if installed.is_dir() else here.parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _no_file(database: Database) -> bool:
    file = sqlite_file(database.url)
    return file is not None and not file.exists()  # connecting would create it


def _make_private(file: Path) -> None:
    """Create an empty file that its user alone can read; SQLite gives the files beside it the same rights.

    If that fails, SQLite fails too, with an error that says more.
    """
    with suppress(OSError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))


def _upgrade(connection: Connection, where: str) -> str:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    _refuse_unknown(connection, where)
    newest, current = head(), _current(connection)
    if current is None:
        _refuse_encoding(connection, where)
    if current != newest:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest


def _refuse_encoding(connection: Connection, where: str) -> None:
    """Check that a new database can keep any text.

    Raises:
        StoreError: Its encoding lacks most of the world's characters.
    """
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise StoreError(
            f"{where}: the database has the encoding {encoding}, which cannot keep every text. Create one with "
            "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, and name it in database.url; nothing was "
            "changed."
        )


def _require_head(connection: Connection, where: str) -> None:
    _refuse_unknown(connection, where)
    current = _current(connection)
    if current is None:
        raise SchemaError(
            f"{where}: the database is empty. Run `star-al db upgrade CONFIG` to create its tables."
        )
    if current != head():
        raise SchemaError(
            f"{where}: the schema is at version {current}, but this program needs {head()}. Make a backup, "
            "then run `star-al db upgrade CONFIG`."
        )


def _refuse_unknown(connection: Connection, where: str) -> None:
    current = _current(connection)
    if current is None and not _is_empty(connection):
        raise SchemaError(
            f"{where}: another program has tables here that are named like star_al's. Name another database in "
            "database.url; nothing was changed."
        )
    if current is not None and current not in {script.revision for script in _scripts().walk_revisions()}:
        raise SchemaError(
            f"{where}: the schema is at version {current}, which this program does not know. Install a newer "
            "star_al, or name another database in database.url; nothing was changed."
        )


def _is_empty(connection: Connection) -> bool:
    present = set(inspect(connection).get_table_names())
    return not present & {"alembic_version", *Base.metadata.tables}


def _current(connection: Connection) -> str | None:
    heads = MigrationContext.configure(connection).get_current_heads()
    return ", ".join(sorted(heads)) or None


def _drift(connection: Connection) -> tuple[str, ...]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": _is_ours})
    found = [" ".join(repr(part) for part in _flat(difference)) for difference in _differences(context)]
    if VIEW not in inspect(connection).get_view_names():
        found.append(f"the view {VIEW} is missing")
    return tuple(found)


def _differences(context: MigrationContext) -> list[Any]:
    return list(compare_metadata(context, Base.metadata))


def _flat(difference: Any) -> list[Any]:
    return list(difference[0]) if isinstance(difference, list) else list(difference)


def _is_ours(_: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    return not (type_ == "table" and reflected and compare_to is None and name not in Base.metadata.tables)
