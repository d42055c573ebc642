"""Databases of earlier schema versions with campaigns in them are upgraded without loss."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, Table, Text, select, text
from sqlalchemy.types import TypeEngine

from db import migrate
from db.columns import Floats
from db.engine import Database
from db.store import SqlStore
from db.tables import Base
from star_al.app.running import controlling
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.config.writing import to_yaml
from star_al.errors import SchemaError
from star_al.loop import Loop, Outcome
from star_al.task import closed, make_task
from star_al.types import (
    Annotation,
    Campaign,
    JsonObject,
    Label,
    QueryState,
    Role,
    RoundCollection,
    RoundState,
)
from support.databases import KINDS, empty_url
from support.numpy_learner import NumpyLearner
from support.quiet import Quiet
from support.records import held
from support.stored import ranking

ARCHIVE = Path(__file__).parent / "archive"
ROWS = {
    "0001": {"rounds": 3, "queries": 22, "items": 30},
    "0002": {"rounds": 3, "queries": 19, "items": 30},
    "0003": {"rounds": 3, "queries": 19, "items": 30},
    "0004": {"rounds": 4, "queries": 24, "items": 30},
    "0006": {"rounds": 5, "queries": 26, "items": 30},
}

ASKED_BY_0_1 = {
    (1, Role.AUDIT): [4],
    (1, Role.POOL): [29, 24, 6, 7],
    (2, Role.POOL): [20, 8, 3, 15],
    (3, Role.POOL): [17, 26, 23, 0],
}
"""What version 0.1 itself asked in "midway" of 0004 after the kill: numbers of rows by rank, by round and purpose."""

ASKED_BEFORE_PRESETS = {
    (1, Role.POOL): [16, 6, 24, 8],
    (2, Role.POOL): [19, 7, 3, 15],
    (3, Role.POOL): [29, 26, 20, 0],
}
"""The same of the version that left 0006."""

Contents = dict[str, list[dict[str, Any]]]
Snapshots = dict[tuple[int, int], dict[str, int]]

every_version = pytest.mark.parametrize("version", sorted(ROWS))
every_earlier_version = pytest.mark.parametrize("version", sorted(ROWS.keys() - {migrate.head()}))


@pytest.fixture
def version() -> str:
    """Version of ``archived`` for tests that need a single one: a campaign of three rounds, and one that waits."""
    return "0001"


@pytest.fixture(params=KINDS)
def archived(request: pytest.FixtureRequest, tmp_path: Path, version: str) -> str:
    """URL of a database as a version left it."""
    sqlite_url = f"sqlite:///{_load(version, tmp_path / 'archived.db')}"
    if request.param == "sqlite":
        return sqlite_url
    url = empty_url(request.param, tmp_path)
    _run(url, lambda connection: _create(connection, version))
    contents = _run(sqlite_url, lambda connection: _contents(connection, version))
    _run(url, lambda connection: _insert(connection, contents, version))
    return url


def _load(version: str, file: Path | str) -> Path | str:
    connection = sqlite3.connect(file)
    connection.executescript((ARCHIVE / f"{version}.sql").read_text(encoding="utf-8"))
    connection.close()
    return file


def _run(url: str, body: Callable[[Connection], Any]) -> Any:
    database = Database(url)
    try:
        return database.write(body)
    finally:
        database.close()


def _create(connection: Connection, version: str) -> None:
    config = migrate._config()
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def _insert(connection: Connection, contents: Contents, version: str) -> None:
    for table in _tables(version):
        if rows := contents[table.name]:
            connection.execute(table.insert(), rows)


def _contents(connection: Connection, version: str) -> Contents:
    """Rows of every table, with the columns of the archived version."""
    return _rows(connection, _tables(version))


def _rows(connection: Connection, tables: Sequence[Table]) -> Contents:
    return {
        table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.c)).mappings()]
        for table in tables
    }


def _snapshots(rows: Sequence[dict[str, Any]]) -> Snapshots:
    """What each round trained on: campaign and round → item and version."""
    found: Snapshots = {}
    for row in rows:
        round_ = found.setdefault((row["campaign_id"], row["round_index"]), {})
        round_[row["item_id"]] = row["version"]
    return found


def _snapshots_now(url: str) -> Snapshots:
    store = SqlStore.open(url)
    campaign_ids = _run(
        url, lambda connection: connection.scalars(text("SELECT campaign_id FROM campaigns")).all()
    )
    found = {
        (campaign_id, round_.index): {
            label.item_id: label.version for label in store.training_labels(campaign_id, round_.index)
        }
        for campaign_id in campaign_ids
        for round_ in store.rounds(campaign_id)
    }
    store.close()
    return {key: labels for key, labels in found.items() if labels}


@functools.cache
def _tables(version: str) -> list[Table]:
    """Tables of the archived version, in an order that foreign keys allow."""
    archive = sqlite3.connect(":memory:")
    archive.executescript((ARCHIVE / f"{version}.sql").read_text(encoding="utf-8"))
    tables = []
    for table in Base.metadata.sorted_tables:
        names = {row[1] for row in archive.execute(f"PRAGMA table_info({table.name})")}
        columns = [Column(column.name, _type(column)) for column in table.c if column.name in names]
        if columns:
            tables.append(Table(table.name, MetaData(), *columns))
    if archive.execute("SELECT 1 FROM sqlite_master WHERE name = 'round_labels'").fetchone():
        tables.append(_round_labels())
    archive.close()
    return tables


def _round_labels() -> Table:
    """What rounds trained on, as versions before 0006 had it."""
    numbers = [Column(name, Integer()) for name in ("campaign_id", "round_index", "version")]
    return Table("round_labels", MetaData(), *numbers, Column("item_id", Text()))


def _type(column: Column[Any]) -> TypeEngine[Any]:
    return LargeBinary() if isinstance(column.type, Floats) else column.type  # bytes compare, arrays do not


@every_earlier_version
def test_an_archived_database_is_opened_only_after_its_upgrade(archived: str, version: str) -> None:
    with pytest.raises(SchemaError, match=rf"at version {version}.*star-al db upgrade"):
        SqlStore.open(archived)
    migrate.upgrade(archived)
    SqlStore.open(archived).close()


@every_version
def test_an_archived_database_is_upgraded_without_drift(archived: str, version: str) -> None:
    before = _run(archived, lambda connection: _contents(connection, version))
    copies = before.pop("round_labels", None)  # from 0006 on there are intervals, compared like other tables
    assert migrate.upgrade(archived) == migrate.head()
    assert migrate.check(archived).drift == ()
    kept = [table for table in _tables(version) if table.name != "round_labels"]
    after = _run(archived, lambda connection: _rows(connection, kept))
    assert after == before
    assert copies is None or _snapshots_now(archived) == _snapshots(copies)
    assert {name: len(after[name]) for name in ROWS[version]} == ROWS[version]


@every_earlier_version
def test_an_upgrade_that_fails_leaves_the_archived_version(
    archived: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _run(archived, lambda connection: _contents(connection, version))
    upgrade = command.upgrade

    def and_fail(*args: Any) -> None:
        upgrade(*args)
        raise RuntimeError("the machine stops")

    monkeypatch.setattr(command, "upgrade", and_fail)
    with pytest.raises(RuntimeError):
        migrate.upgrade(archived)
    assert migrate.check(archived).current == version
    assert _run(archived, lambda connection: _contents(connection, version)) == before
    _run(archived, lambda connection: connection.execute(text("SELECT skipped FROM round_history")))


def test_an_upgraded_campaign_reads_as_it_was(archived: str) -> None:
    migrate.upgrade(archived)
    store = SqlStore.open(archived)
    stopped, waiting = _campaigns(store)
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in (stopped.key, waiting.key))
    assert stopped.key != waiting.key
    rounds = store.rounds(stopped.campaign_id)
    assert [one.state for one in rounds] == [RoundState.COLLECTED, RoundState.COLLECTED, RoundState.STOPPED]
    assert [one.selection and one.selection.asked for one in rounds] == [4, 4, None]
    assert [one.collection for one in rounds] == [RoundCollection(1), RoundCollection(2), None]
    assert all(one.fit and one.evaluation and one.decision for one in rounds)
    history = store.history(stopped.campaign_id)
    assert [(row["labels"], row["labels_bought"], row["disputed"]) for row in history] == [
        (0, 5, 0),
        (3, 8, 0),
        (5, 10, 0),
    ]
    assert list(history[0])[19:23] == ["skipped", "disputed", "agreement", "stop_agreement"]
    assert len(store.labels(stopped.campaign_id)) == 10
    assert len(store.pool_ids(stopped.campaign_id, 2)) == 15
    queries = store.queries(stopped.campaign_id)
    assert len(queries) == len(store.annotations(stopped.campaign_id)) - 1 == 15
    assert not any(one.buffer or one.disputed for one in queries)
    assert {one.state for one in queries} == {QueryState.LABELLED, QueryState.SKIPPED}
    store.close()


def _campaigns(store: SqlStore) -> tuple[Campaign, Campaign]:
    return _campaign(store, "archived"), _campaign(store, "waiting")


def _campaign(store: SqlStore, name: str) -> Campaign:
    found = store.find_campaign(name)
    assert found is not None
    return found


@pytest.mark.parametrize("version", ["0002"])
def test_a_ranking_of_a_version_without_the_split_reads_without_it(archived: str) -> None:
    migrate.upgrade(archived)
    store = SqlStore.open(archived)
    campaign = _campaign(store, "archived")
    rows = ranking(store, campaign.campaign_id, 1)
    assert len(rows) == 17
    assert {(row.aleatoric, row.epistemic, row.samples) for row in rows} == {(None, None, None)}
    asked = store.queries(campaign.campaign_id, 1)
    assert [one.buffer for one in asked] == [False] * 4 + [True] * 2
    assert {(one.reason.measure, one.reason.samples) for one in asked} == {("entropy", None)}
    store.close()


def test_an_upgraded_campaign_goes_on(archived: str) -> None:
    migrate.upgrade(archived)
    store = SqlStore.open(archived)
    stopped, waiting = _campaigns(store)
    asked = store.open_queries(waiting.campaign_id)
    assert len(asked) == len(store.tasks(waiting.campaign_id)) == 7
    lease = held(store, waiting)
    store.mirror(lease, "oracle", [Annotation("1", asked[0].query_id, "sport")])
    label = Label(asked[0].item_id, "sport", round_index=0)
    store.close_queries(lease, [(asked[0].query_id, label)], [], [asked[1].query_id])
    assert store.labels(waiting.campaign_id, Role.AUDIT) == {label.item_id: label}
    assert len(store.open_queries(waiting.campaign_id)) == 5
    (corrected,) = [one for one in store.annotations(stopped.campaign_id) if one.revision == 2]
    assert store.mirror(held(store, stopped), "oracle", [corrected]) == 0
    store.close()


class LearnerOf01(NumpyLearner):
    """The NumPy learner as the tests of version 0.1 had it; only the dtype that it reports differs."""

    def versions(self) -> JsonObject:
        return {**super().versions(), "dtype": "float64"}


@pytest.fixture
def campaigns_of_0_1(tmp_path: Path) -> Callable[[str], CampaignFile]:
    """Opens the file of a campaign of 0004 whose artefact folder was lost; its database is upgraded."""
    return _upgraded_campaigns("0004", tmp_path)


def _upgraded_campaigns(version: str, tmp_path: Path) -> Callable[[str], CampaignFile]:
    _load(version, tmp_path / "archive.db")
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    migrate.upgrade(url)

    def file(name: str) -> CampaignFile:
        store = SqlStore.open(url)
        path = tmp_path / f"{name}.yaml"
        path.write_text(to_yaml(_campaign(store, name).config), encoding="utf-8")
        store.close()
        return load_campaign(path)

    return file


def _go_on(file: CampaignFile, learner: type[NumpyLearner] = LearnerOf01) -> Outcome:
    with controlling(file, Quiet(), learner=learner(closed(make_task(file.spec.task)))) as parts:
        return Loop(parts).run(None)


def test_a_campaign_that_version_0_1_left_in_mid_round_goes_on_to_the_same_selections(
    campaigns_of_0_1: Callable[[str], CampaignFile],
) -> None:
    file = campaigns_of_0_1("midway")
    store = SqlStore.open(file.database_url)
    campaign_id = _campaign(store, "midway").campaign_id
    assert [one.state for one in store.rounds(campaign_id)] == [RoundState.COLLECTED, RoundState.SCORED]
    assert _go_on(file) == Outcome("stopped", 4, "round limit reached: round 4 of 4")
    assert _rows_asked_after_the_kill(store, campaign_id) == ASKED_BY_0_1
    store.close()


def test_a_campaign_from_before_presets_goes_on_from_mid_round_to_the_same_selections(tmp_path: Path) -> None:
    file = _upgraded_campaigns("0006", tmp_path)("midway")
    store = SqlStore.open(file.database_url)
    campaign_id = _campaign(store, "midway").campaign_id
    assert [one.state for one in store.rounds(campaign_id)] == [RoundState.COLLECTED, RoundState.SCORED]
    assert _go_on(file, NumpyLearner) == Outcome("stopped", 4, "round limit reached: round 4 of 4")
    assert _rows_asked_after_the_kill(store, campaign_id) == ASKED_BEFORE_PRESETS
    assert all(row["head_accuracy"] is None for row in store.history(campaign_id))
    store.close()


def _rows_asked_after_the_kill(store: SqlStore, campaign_id: int) -> dict[tuple[int, Role], list[int]]:
    asked: dict[tuple[int, Role], list[int]] = {}
    for query in store.queries(campaign_id):
        if query.round_index >= 1 and query.attempt == 1:
            (item,) = store.items(campaign_id, [query.item_id])
            row = int(str(item.external_id).removeprefix("row-0-"))
            asked.setdefault((query.round_index, query.purpose), []).append(row)
    return asked


def test_a_campaign_that_version_0_1_stopped_stays_stopped(
    campaigns_of_0_1: Callable[[str], CampaignFile],
) -> None:
    file = campaigns_of_0_1("archived")
    store = SqlStore.open(file.database_url)
    campaign_id = _campaign(store, "archived").campaign_id
    before = store.queries(campaign_id)
    assert _go_on(file) == Outcome("stopped", 1, "round limit reached: round 1 of 1")
    assert store.queries(campaign_id) == before
    store.close()
