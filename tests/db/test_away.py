"""A database that goes away is waited for, and what was under way happens exactly once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text

from db.engine import Database
from db.store import SqlStore
from star_al.common.patience import Patience
from star_al.errors import LeaseHeldError, StoreError
from star_al.types import Event
from support.databases import OwnPostgres, migrated_url
from support.records import campaign, held, source
from support.wire_proxy import Cut, WireProxy

pytestmark = pytest.mark.postgres


@pytest.fixture
def postgres_url(tmp_path: Path) -> str:
    return migrated_url("postgres", tmp_path)


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[WireProxy]:
    with WireProxy(postgres_url) as one:
        yield one


def patient(said: list[str] | None = None) -> Patience:
    return Patience(waits=True, say=(said if said is not None else []).append)


@pytest.mark.parametrize("done", [False, True])
def test_a_commit_whose_connection_breaks_happens_once(proxy: WireProxy, done: bool) -> None:
    store = SqlStore.open(proxy.url)
    made = campaign(store, [source("a")])
    lease = held(store, made)
    before = len(store.events(made.campaign_id))
    proxy.plan([Cut(1, commit=True, done=done)])
    store.add_event(lease, Event("fit", "trained"))
    assert [each.message for each in store.events(made.campaign_id)[before:]] == ["trained"]
    assert len(proxy.happened) == 1
    store.close()


def test_a_lease_whose_commit_was_not_answered_is_held(proxy: WireProxy) -> None:
    store = SqlStore.open(proxy.url)
    made = campaign(store, [source("a")])
    proxy.plan([Cut(2, commit=True, done=True)])  # the first is that of reading who holds it
    lease = store.acquire_lease(made.campaign_id, "me", 60.0, may_take=lambda _: False)
    assert lease.epoch == 1 and len(proxy.happened) == 1
    store.renew_lease(lease, 60.0)
    with pytest.raises(LeaseHeldError):
        store.acquire_lease(made.campaign_id, "another", 60.0, may_take=lambda _: False)
    store.close()


@pytest.mark.parametrize("done", [False, True])
def test_a_step_is_stored_once_whichever_statement_breaks(proxy: WireProxy, done: bool) -> None:
    store = SqlStore.open(proxy.url)
    made = campaign(store, [source(name) for name in "abc"])
    lease = held(store, made)
    for nth in range(1, 12):
        before = len(store.events(made.campaign_id))
        proxy.plan([Cut(nth, done=done)])
        store.add_event(lease, Event("fit", f"statement {nth}"))
        proxy.plan([])
        added = [each.message for each in store.events(made.campaign_id)[before:]]
        assert added == [f"statement {nth}"]
    assert len(proxy.happened) >= 5
    store.close()


def test_a_server_that_restarts_is_waited_for_and_reported_once(tmp_path: Path) -> None:
    said: list[str] = []
    with OwnPostgres(tmp_path / "server") as server:
        database = Database(server.url, patient(said))
        database.write(lambda connection: connection.execute(text("CREATE TABLE notes (note TEXT)")))
        server.stop()
        timer = threading.Timer(2.0, server.start)
        timer.start()
        database.write(lambda connection: connection.execute(text("INSERT INTO notes VALUES ('kept')")))
        timer.join()
        count = database.read(lambda c: c.scalar(text("SELECT count(*) FROM notes")))
        database.close()
    assert count == 1
    assert len(said) == 1 and said[0].endswith("Waiting until it is back.")


def test_a_server_that_was_never_there_is_reported_at_once(tmp_path: Path) -> None:
    database, started = Database("postgresql://someone@127.0.0.1:9/x", patient()), time.monotonic()
    with pytest.raises(StoreError, match="cannot be reached"):
        database.read(lambda connection: None)
    assert time.monotonic() - started < 2.0


def test_without_waiting_a_server_that_went_away_is_reported_within_seconds(proxy: WireProxy) -> None:
    store, started = SqlStore.open(proxy.url), time.monotonic()
    proxy.refuse(60.0)
    with pytest.raises(StoreError, match="cannot be reached"):
        store.find_campaign("any")
    assert time.monotonic() - started < 15.0
    store.close()


def test_a_database_that_exists_no_more_is_not_waited_for(proxy: WireProxy, postgres_url: str) -> None:
    database = Database(proxy.url, patient())
    name = make_url(postgres_url).database
    database.read(lambda connection: None)
    with OwnName(postgres_url, str(name)):
        proxy.refuse(0.0)
        with pytest.raises(StoreError, match="does not exist"):
            database.read(lambda connection: None)
    database.close()


class OwnName:
    """Renames a database meanwhile."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = make_url(url).set(database="postgres"), name

    def __enter__(self) -> None:
        self._rename(self._name, f"{self._name}_away")

    def __exit__(self, *_: object) -> None:
        self._rename(f"{self._name}_away", self._name)

    def _rename(self, before: str, after: str) -> None:
        database = Database(self._url.render_as_string(hide_password=False))

        def rename(connection: Connection) -> None:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
            connection.execute(text(ended), {"name": before})
            connection.execute(text(f"ALTER DATABASE {before} RENAME TO {after}"))

        database.write(rename)
        database.close()


def test_waiting_ends_with_the_run(proxy: WireProxy) -> None:
    patience = patient()
    store = SqlStore.open(proxy.url, patience)
    proxy.refuse(60.0)
    threading.Timer(1.0, patience.end).start()
    started = time.monotonic()
    with pytest.raises(StoreError, match="cannot be reached"):
        store.find_campaign("any")
    assert time.monotonic() - started < 10.0
    store.close()


def test_a_locked_file_is_waited_for_in_short_steps(tmp_path: Path) -> None:
    url = migrated_url("sqlite", tmp_path)
    patience = patient()
    store = SqlStore.open(url, patience)
    made = campaign(store, [source("a")])
    other = sqlite3.connect(str(make_url(url).database), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(2.5, lambda: other.execute("ROLLBACK")).start()
    assert held(store, made).epoch == 1  # longer than one attempt
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, patience.end).start()
    started = time.monotonic()
    with pytest.raises(StoreError, match="kept it locked"):
        held(store, made)
    assert time.monotonic() - started < 4.0
    other.close()
    store.close()
