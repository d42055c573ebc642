"""The lease between processes, and writers that wait for each other."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from db.engine import BUSY_SECONDS, Database
from db.store import SqlStore
from star_al.errors import LeaseHeldError
from star_al.types import Annotation, Event, Label
from support.records import EVENT, a_round, campaign, held, never, query, source
from support.stored import label_versions


def acquire(url: str, campaign_id: int, owner: str, at: datetime) -> str:
    """Run in a process of its own: wait for the start time, then try to take the campaign."""
    store = SqlStore.open(url)
    time.sleep(max((at - datetime.now(UTC)).total_seconds(), 0.0))
    try:
        return store.acquire_lease(campaign_id, owner, 60.0, may_take=never).owner
    except LeaseHeldError as exc:
        return f"refused: {exc}"
    finally:
        store.close()


def test_of_two_processes_exactly_one_takes_the_campaign(migrated: str, sql_store: SqlStore) -> None:
    made = campaign(sql_store, [source("a")])
    at = datetime.now(UTC) + timedelta(seconds=3)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        tries = [pool.submit(acquire, migrated, made.campaign_id, owner, at) for owner in ("p1", "p2")]
        answers = sorted(one.result(timeout=60) for one in tries)
    winner, refusal = answers
    assert winner in {"p1", "p2"}
    assert refusal.startswith("refused:")
    assert winner in refusal


def test_a_lease_is_kept_by_the_databases_clock(migrated: str, sql_store: SqlStore) -> None:
    made = campaign(sql_store, [source("a")])
    sql_store.acquire_lease(made.campaign_id, "me", 60.0, may_take=never)
    database = Database(migrated)
    left = database.read(_seconds_left)
    database.close()
    assert 50 < left <= 60


def _seconds_left(connection: Connection) -> float:
    if connection.dialect.name == "postgresql":
        sql = "SELECT EXTRACT(EPOCH FROM lease_expires - clock_timestamp()) FROM campaigns"
    else:
        sql = "SELECT (julianday(lease_expires) - julianday('now')) * 86400 FROM campaigns"
    return float(connection.execute(text(sql)).scalar_one())


def test_readers_are_served_while_another_writes(migrated: str, sql_store: SqlStore) -> None:
    made = campaign(sql_store, [source("a")])
    lease = held(sql_store, made)
    sql_store.start_round(lease, a_round(), [])
    database = Database(migrated)

    def write_and_look(connection: Connection) -> None:
        connection.execute(text("UPDATE campaigns SET seed = 99"))
        started = time.monotonic()
        assert sql_store.find_campaign("one") == made  # as it was before the open transaction
        assert len(sql_store.history(made.campaign_id)) == 1
        assert time.monotonic() - started < BUSY_SECONDS / 2  # it did not wait

    database.write(write_and_look)
    database.close()
    found = sql_store.find_campaign("one")
    assert found is not None
    assert found.seed == 99


def test_a_writer_waits_for_another_instead_of_failing(migrated: str, sql_store: SqlStore) -> None:
    made = campaign(sql_store, [source("a")])
    lease = held(sql_store, made)
    database, locked = Database(migrated), threading.Event()

    def hold(connection: Connection) -> None:
        connection.execute(text("UPDATE campaigns SET seed = 99"))
        locked.set()
        time.sleep(0.5)

    holder = threading.Thread(target=lambda: database.write(hold))
    holder.start()
    locked.wait(10)
    sql_store.add_event(lease, Event("fit", "waited"))
    holder.join()
    database.close()
    assert [event.message for event in sql_store.events(made.campaign_id)] == ["waited"]


def test_many_threads_append_versions_without_losing_one(migrated: str, sql_store: SqlStore) -> None:
    made = campaign(sql_store, [source("a")])
    lease = held(sql_store, made)
    sql_store.add_queries(lease, [query("a")], EVENT)
    others = [SqlStore.open(migrated) for _ in range(4)]

    def correct(number: int) -> None:
        for turn in range(5):
            others[number].close_queries(lease, [("q-a-1", Label("a", f"{number}.{turn}"))], [])

    threads = [threading.Thread(target=correct, args=(number,)) for number in range(len(others))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in others:
        store.close()
    versions = label_versions(sql_store, made.campaign_id, "a")
    assert [label.version for label in versions] == list(range(1, 21))
    assert len({label.value for label in versions}) == 20


def test_controllers_that_mirror_at_once_count_each_revision_once(migrated: str, sql_store: SqlStore) -> None:
    made = campaign(sql_store, [source("a")])
    lease = held(sql_store, made)
    sql_store.add_queries(lease, [query("a")], EVENT)
    others = [SqlStore.open(migrated) for _ in range(4)]
    new: list[int] = []

    def poll(number: int) -> None:
        for turn in range(5):
            own = Annotation("mine", "q-a-1", f"{number}.{turn}")
            shared = Annotation(f"shared {turn}", "q-a-1", "pos")
            new.append(others[number].mirror(lease, "tool", [own, shared]))

    threads = [threading.Thread(target=poll, args=(number,)) for number in range(len(others))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in others:
        store.close()
    annotations = sql_store.annotations(made.campaign_id)
    assert sum(new) == len(annotations) == 25
    mine = [one for one in annotations if one.external_id == "mine"]
    assert [one.revision for one in mine] == list(range(1, 21))
    assert len({one.value for one in mine}) == 20
