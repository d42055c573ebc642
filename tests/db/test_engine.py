"""Driver errors become clear messages without a password, and transactions are atomic and isolated."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import OperationalError

from db import engine, leases, migrate
from db.columns import same_json, storable_text, to_json
from db.engine import Database, parse_url
from db.store import SqlStore
from star_al.errors import LeaseLostError, StoreError
from support.databases import migrated_url
from support.records import begin, campaign, held, source


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://u:geheim@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+asyncpg://u:geheim@h/d",
    ],
)
def test_other_databases_are_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Database(url)
    assert "postgresql://" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
def test_postgres_goes_through_psycopg(url: str) -> None:
    assert parse_url(url).drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "url", ["postgresql://someone:geheim@127.0.0.1:9/x", "postgresql://someone@127.0.0.1:9/x?password=geheim"]
)
def test_a_server_that_is_not_there_is_reported_without_the_password(url: str) -> None:
    with pytest.raises(StoreError, match=r"@127\.0\.0\.1:9/x: cannot be reached") as caught:
        SqlStore.open(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_reported(tmp_path: Path) -> None:
    url = make_url(migrated_url("postgres", tmp_path)).set(database="nowhere")
    with pytest.raises(StoreError, match="nowhere"):
        SqlStore.open(url.render_as_string(hide_password=False))


@pytest.mark.parametrize("action", [SqlStore.open, migrate.upgrade, migrate.check, migrate.is_empty])
def test_a_file_that_is_no_database_is_reported_and_left_alone(
    tmp_path: Path, action: Callable[[str], object]
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are my notes, and no database at all\n" * 100)
    with pytest.raises(StoreError, match=r"notes\.txt: not a SQLite database"):
        action(f"sqlite:///{file}")
    assert file.read_text().startswith("these are my notes")


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"store\.db: cannot be opened.*folder"):
        migrate.upgrade(f"sqlite:///{tmp_path / 'nowhere' / 'store.db'}")


def test_a_file_that_may_not_be_written_is_reported(tmp_path: Path) -> None:
    url = migrated_url("sqlite", tmp_path)
    store = SqlStore.open(url)
    made = campaign(store, [source("a")])
    store.close()
    # SQLite's own mode, as the permissions of a file do not bind root.
    store = SqlStore(Database(f"sqlite:///file:{make_url(url).database}?mode=ro&uri=true"))
    assert store.find_campaign(made.name) == made
    with pytest.raises(StoreError, match="may not be written"):
        held(store, made)
    store.close()


def test_a_read_only_database_is_reported(tmp_path: Path) -> None:
    url = migrated_url("sqlite", tmp_path)
    database = Database(url)

    def write(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.execute(text("UPDATE campaigns SET seed = 1"))

    with pytest.raises(StoreError, match="may not be written"):
        database.write(write)
    database.close()


def test_a_full_disk_is_reported_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = SqlStore.open(migrated_url("sqlite", tmp_path))
    made = campaign(store, [source("a")])

    def shrink(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}")

    store.database.read(shrink)  # the pool's only connection: the next transaction uses it again
    many = [source(f"i{number}", text="x" * 1000) for number in range(2000)]
    with pytest.raises(StoreError, match="disk is full; nothing was written"):
        store.extend_campaign(made.campaign_id, many)
    assert len(store.pool_ids(made.campaign_id, 0)) == 1
    store.close()


def test_a_lock_that_lasts_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    url = migrated_url("sqlite", tmp_path)
    store = SqlStore.open(url)
    other = sqlite3.connect(str(make_url(url).database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="kept it locked for too long"):
        begin(store)
    other.execute("ROLLBACK")
    other.close()
    assert begin(store).n_items == 0
    store.close()


def test_a_passing_error_is_tried_again_and_a_lasting_one_is_not(migrated: str) -> None:
    database, tries = Database(migrated), []

    def locked_twice(connection: Connection) -> str:
        tries.append(1)
        connection.execute(text("UPDATE campaigns SET seed = seed"))
        if len(tries) < 3:
            raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked"))
        return "done"

    assert database.write(locked_twice) == "done"
    assert len(tries) == 3
    tries.clear()

    def broken(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(StoreError):
        database.write(broken)
    assert len(tries) == 1
    database.close()


@pytest.mark.postgres
def test_a_lost_connection_is_made_anew(tmp_path: Path) -> None:
    url = migrated_url("postgres", tmp_path)
    database, tries = Database(url), []
    others = "SELECT pg_terminate_backend(pg_backend_pid())"

    def dies_once(connection: Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            connection.execute(text(others))
        return int(connection.execute(text("SELECT 1")).scalar_one())

    assert database.write(dies_once) == 1
    assert len(tries) == 2
    database.close()


def test_foreign_keys_are_enforced(migrated: str) -> None:
    database = Database(migrated)
    orphan = text(
        "INSERT INTO events (campaign_id, step, message, detail, created_at) "
        "VALUES (9, 'a', 'b', '{}', '2024-01-01')"
    )
    with pytest.raises(StoreError, match="contradicts"):
        database.write(lambda connection: connection.execute(orphan))
    database.close()


def test_a_number_that_does_not_fit_is_reported(sql_store: SqlStore) -> None:
    made = campaign(sql_store, [source("a")])
    with pytest.raises(StoreError):
        sql_store.create_campaign("big", made.dataset_id, {}, 2**70, held_out={}, test_dataset_id=None)


@pytest.mark.postgres
def test_a_writer_that_falls_asleep_does_not_hold_its_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = migrated_url("postgres", tmp_path)
    store, database, locked, woken = SqlStore.open(url), Database(url), threading.Event(), threading.Event()
    made = campaign(store, [source("a")])
    lease = held(store, made, "asleep")
    monkeypatch.setattr(engine, "SLEEP_SECONDS", 0.2)
    failures: list[LeaseLostError] = []

    def fall_asleep(connection: Connection) -> None:
        leases.fence(connection, lease)
        locked.set()
        woken.wait(20)
        connection.execute(text("UPDATE campaigns SET seed = 100"))

    def sleeper() -> None:
        try:
            database.write(fall_asleep)
        except LeaseLostError as exc:
            failures.append(exc)

    thread = threading.Thread(target=sleeper)
    thread.start()
    locked.wait(20)
    store.acquire_lease(made.campaign_id, "awake", 60.0, may_take=lambda _: True)
    woken.set()
    thread.join()
    assert len(failures) == 1  # tried again, and refused
    assert store.find_campaign(made.name) == made
    store.close()
    database.close()


@pytest.mark.parametrize("fine", ["\\u0000 spelled out", "\\\\u0000", "😀", "tab\tnewline\n"])
def test_texts_that_only_look_bad_are_kept(fine: str) -> None:
    assert storable_text(fine) == fine
    assert to_json({"text": fine})


def test_json_compares_by_type_and_without_key_order() -> None:
    assert same_json({"a": 1, "b": [True]}, {"b": (True,), "a": 1})
    assert not same_json(1, True)
    assert not same_json(1, 1.0)
    assert not same_json(None, False)
