"""Campaigns work behind a connection pooler in transaction mode, where no session is ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from db import engine, migrate
from db.engine import Database
from db.store import SqlStore
from star_al.types import Event, Role
from support import controller
from support.campaigns import write_campaign
from support.databases import empty_url
from support.pooler import Pooler, needs_pgbouncer
from support.records import campaign, held, source
from support.zygote import Zygote

pytestmark = [pytest.mark.postgres, needs_pgbouncer]


@pytest.fixture
def direct_url(tmp_path: Path) -> str:
    return empty_url("postgres", tmp_path)


@pytest.fixture
def pooled_url(direct_url: str, tmp_path: Path) -> Iterator[str]:
    with Pooler(direct_url, tmp_path / "pooler") as pooler:
        yield pooler.url


def test_a_schema_is_made_and_checked_through_a_pooler(pooled_url: str) -> None:
    assert migrate.upgrade(pooled_url) == migrate.head()
    assert migrate.check(pooled_url).up_to_date


def test_many_clients_share_few_connections(pooled_url: str) -> None:
    migrate.upgrade(pooled_url)
    store = SqlStore.open(pooled_url)
    made = campaign(store, [source(str(number)) for number in range(50)])
    lease = held(store, made)
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            other = SqlStore.open(pooled_url)
            for number in range(20):  # psycopg would prepare a statement that it runs this often
                other.add_event(lease, Event("fit", f"{name} {number}"))
                assert len(other.item_ids(made.campaign_id, Role.POOL)) == 50
            other.close()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    logged = [each.message for each in store.events(made.campaign_id) if each.step == "fit"]
    assert len(set(logged)) == len(logged) == 80
    store.close()


def test_no_setting_stays_on_a_connection_that_others_get(
    direct_url: str, pooled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SLEEP_SECONDS", 77.0)
    ours, theirs = Database(pooled_url), Database(pooled_url)
    shown = text("SHOW idle_in_transaction_session_timeout")
    assert ours.write(lambda connection: connection.scalar(shown)) == "77s"
    monkeypatch.setattr(engine, "_begin_postgres", lambda connection: None)
    monkeypatch.setattr(engine, "SLEEP_SECONDS", 0.0)
    plain = Database(pooled_url)
    assert plain.read(lambda connection: connection.scalar(shown)) == "0"
    for database in (ours, theirs, plain):
        database.close()


def test_two_campaigns_at_once_end_as_without_a_pooler(pooled_url: str, tmp_path: Path) -> None:
    seeds = {"one": 1, "two": 2}
    with Zygote() as zygote:
        alone = [write_campaign(tmp_path / f"alone-{name}", name=name, seed=seeds[name]) for name in seeds]
        for path in alone:
            assert zygote.run("run", str(path)).returncode == 0
        assert zygote.run("db", "upgrade", pooled_url).returncode == 0
        database = {"url": pooled_url, "lease_seconds": 60.0}
        pooled = [
            write_campaign(tmp_path / name, name=name, seed=seeds[name], database=database) for name in seeds
        ]
        for running in [zygote.start("run", str(path)) for path in pooled]:
            ended = running.wait(120)
            assert ended.returncode == 0, ended.output
        assert [controller.record(path) for path in pooled] == [controller.record(path) for path in alone]
