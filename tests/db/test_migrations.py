"""Only the migrations make the schema, and a database at another version is left unchanged."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, inspect, make_url, text

from db import migrate
from db.engine import Database, parse_url
from db.store import SqlStore
from star_al.errors import SchemaError, StoreError
from support.databases import empty_url
from support.records import campaign, source


def execute(url: str, *statements: str) -> None:
    """Change a database without the program."""
    database = Database(url)
    database.write(lambda connection: [connection.execute(text(statement)) for statement in statements])
    database.close()


def tables(url: str) -> Sequence[str]:
    database = Database(url)
    found = database.read(lambda connection: inspect(connection).get_table_names())
    database.close()
    return found


def test_upgrade_makes_the_schema_that_the_program_expects(empty: str) -> None:
    assert migrate.is_empty(empty)
    assert migrate.upgrade(empty) == migrate.head()
    report = migrate.check(empty)
    assert (report.current, report.drift, report.up_to_date) == (migrate.head(), (), True)
    assert not migrate.is_empty(empty)
    SqlStore.open(empty).close()


def test_upgrade_again_changes_nothing(migrated: str) -> None:
    before = tables(migrated)
    assert migrate.upgrade(migrated) == migrate.head()
    assert tables(migrated) == before


def test_several_may_upgrade_at_once(empty: str) -> None:
    errors: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrate.check(empty).up_to_date


def test_the_history_view_has_its_columns(migrated: str) -> None:
    database = Database(migrated)
    columns = database.read(lambda c: [one["name"] for one in inspect(c).get_columns("round_history")])
    database.close()
    assert columns[:3] == ["campaign", "round", "state"]
    assert {"accuracy", "nll", "brier", "ece", "base_ece", "seconds", "stop_reason"} <= set(columns)


def test_the_view_says_which_metrics_it_shows(migrated: str) -> None:
    def comment(connection: Connection) -> str:
        if connection.dialect.name == "postgresql":
            return str(connection.scalar(text("SELECT obj_description('round_history'::regclass)")))
        return str(connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = 'round_history'")))

    database = Database(migrated)
    found = database.read(comment)
    assert "scaled by its temperature where one was fitted" in found
    assert "alpha of Krippendorff" in found
    database.close()


def test_an_empty_database_is_refused_with_the_command_that_creates_it(empty: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="star-al db upgrade"):
        SqlStore.open(empty)
    assert list(tmp_path.iterdir()) == []  # looking at a SQLite file that is not there does not create it


def test_an_existing_file_without_tables_is_refused_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    (tmp_path / "empty.db").touch()
    with pytest.raises(SchemaError, match="star-al db upgrade"):
        SqlStore.open(url)
    assert migrate.is_empty(url)


def test_an_unknown_version_is_refused_and_left_alone(migrated: str) -> None:
    execute(migrated, "UPDATE alembic_version SET version_num = '9999'", "CREATE TABLE future (x INTEGER)")
    before = tables(migrated)
    for touch in (SqlStore.open, migrate.upgrade):
        with pytest.raises(SchemaError, match=r"9999.*newer star_al"):
            touch(migrated)
    assert tables(migrated) == before
    assert migrate.check(migrated).current == "9999"
    assert not migrate.check(migrated).up_to_date


def test_an_older_version_is_refused_with_the_command_that_upgrades(
    migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = migrate.head()
    monkeypatch.setattr(migrate, "head", lambda: "next")  # as the next version of this program would see it
    with pytest.raises(SchemaError, match=rf"at version {present}, .* needs next.*star-al db upgrade"):
        SqlStore.open(migrated)


def test_another_programs_tables_are_left_alone(empty: str) -> None:
    execute(empty, "CREATE TABLE labels (x INTEGER)")
    assert not migrate.is_empty(empty)
    for touch in (SqlStore.open, migrate.upgrade):
        with pytest.raises(SchemaError, match="another program"):
            touch(empty)
    assert tables(empty) == ["labels"]


def test_unrelated_tables_do_not_matter(empty: str) -> None:
    execute(empty, "CREATE TABLE invoices (x INTEGER)")
    assert migrate.is_empty(empty)
    migrate.upgrade(empty)
    assert migrate.check(empty).drift == ()


@pytest.mark.parametrize(
    ("damage", "sign"),
    [
        ("DROP VIEW round_history", "round_history"),
        ("ALTER TABLE events DROP COLUMN seconds", "seconds"),
        ("DROP INDEX ix_queries_campaign_id_round_index", "ix_queries_campaign_id_round_index"),
    ],
)
def test_check_says_what_differs(migrated: str, damage: str, sign: str) -> None:
    execute(migrated, damage)
    (drift,) = migrate.check(migrated).drift
    assert sign in drift


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_a_database_that_cannot_keep_every_text_is_refused_at_once(encoding: str, tmp_path: Path) -> None:
    url = database_with(encoding, empty_url("postgres", tmp_path))
    assert migrate.is_empty(url)
    with pytest.raises(StoreError, match=f"encoding {encoding}.*ENCODING 'UTF8'"):
        migrate.upgrade(url)
    assert tables(url) == []


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_campaign_that_began_in_another_encoding_goes_on(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_with(encoding, empty_url("postgres", tmp_path))
    monkeypatch.setattr(migrate, "_refuse_encoding", lambda *_: None)  # as earlier versions did
    migrate.upgrade(url)
    store = SqlStore.open(url)
    made = campaign(store, [source("a", text="Grüße")])
    (item,) = store.items(made.campaign_id, ["a"])
    assert item.text == "Grüße"
    store.close()


def database_with(encoding: str, url: str) -> str:
    """Create a database of this encoding beside the one at ``url``; return its URL."""
    name = f"in_{encoding.lower()}_{make_url(url).database}"
    engine = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        )
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def test_check_of_a_missing_file_says_how_to_create_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="star-al db upgrade"):
        migrate.check(f"sqlite:///{tmp_path / 'none.db'}")


def test_a_failed_upgrade_leaves_nothing(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the machine stops")

    monkeypatch.setattr(command, "upgrade", _then(command.upgrade, fail))
    with pytest.raises(RuntimeError):
        migrate.upgrade(empty)
    assert migrate.is_empty(empty)


def _then(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def both(*args: object) -> None:
        first(*args)
        second(*args)

    return both


def test_a_new_file_is_for_its_user_alone_and_an_old_one_keeps_its_rights(tmp_path: Path) -> None:
    """What people wrote is in it, and in SQLite's files beside it."""
    new, shared = tmp_path / "new.db", tmp_path / "shared.db"
    shared.touch(mode=0o664)
    shared.chmod(0o664)
    for file in (new, shared):
        migrate.upgrade(f"sqlite:///{file}")
    database = Database(f"sqlite:///{new}")
    database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE t (x)"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    database.close()
    assert modes.pop("shared.db") == 0o664
    assert modes.keys() >= {"new.db", "new.db-wal"} and set(modes.values()) == {0o600}
