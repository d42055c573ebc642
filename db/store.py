"""``SqlStore``: the Store port on SQLite and Postgres; each method is one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Connection

from db import annotations as annotations_
from db import base_scores, campaigns, datasets, event_log, leases, migrate, rounds, studies
from db import labels as labels_
from db import queries as queries_
from db import tasks as tasks_
from db.engine import Database
from db.statements import pages
from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import (
    NO_RESULTS,
    Annotation,
    BasePrediction,
    Campaign,
    Dataset,
    Evaluation,
    Event,
    ExternalTask,
    HeldOutPrediction,
    Item,
    JsonObject,
    Label,
    Lease,
    Query,
    Role,
    Round,
    SourceItem,
    StepResults,
    Study,
)

T = TypeVar("T")


class SqlStore(Store):
    """Campaigns in a database. The contract of each method is that of ``star_al.ports.Store``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> SqlStore:
        """The store in a database that is at this program's schema version.

        Raises:
            SchemaError: the database is missing, empty, older, newer, or another program's.
            StoreError: not a database URL, or the database cannot be reached or read.
        """
        database = Database(url)
        try:
            migrate.require_head(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        self._database.close()

    # -- data sets -------------------------------------------------------------------------------------

    def find_dataset(self, key: str) -> Dataset | None:
        return self._read(lambda c: datasets.find(c, key))

    def begin_dataset(
        self, key: str, name: str, importer: str, *, may_replace: Callable[[str], bool]
    ) -> Dataset:
        return self._database.write(lambda c: datasets.begin(c, key, name, importer, may_replace))

    def add_items(self, dataset_id: int, items: Iterable[SourceItem]) -> int:
        # Outside the transactions, so that reading and parsing never holds the database's lock.
        return sum(self._add_page(dataset_id, page) for page in pages(items))

    def _add_page(self, dataset_id: int, page: Sequence[SourceItem]) -> int:
        return self._database.write(lambda c: datasets.add_page(c, dataset_id, page))

    def finish_dataset(self, dataset_id: int, *, n_duplicates: int, n_empty: int) -> Dataset:
        return self._database.write(lambda c: datasets.finish(c, dataset_id, n_duplicates, n_empty))

    def dataset_item_ids(self, dataset_id: int) -> list[str]:
        return self._read(lambda c: datasets.item_ids(c, dataset_id))

    # -- campaigns -------------------------------------------------------------------------------------

    def create_campaign(
        self,
        name: str,
        dataset_id: int,
        config: JsonObject,
        seed: int,
        *,
        held_out: Mapping[str, Role],
        test_dataset_id: int | None,
    ) -> Campaign:
        campaign = campaigns.NewCampaign(name, dataset_id, test_dataset_id, config, seed)
        return self._database.write(lambda c: campaigns.create(c, campaign, held_out), repeatable=False)

    def find_campaign(self, name: str) -> Campaign | None:
        return self._read(lambda c: campaigns.find(c, name))

    def update_config(self, lease: Lease, config: JsonObject) -> None:
        self._fenced(lease, lambda c: campaigns.update_config(c, lease.campaign_id, config))

    def extend_campaign(self, campaign_id: int, items: Iterable[SourceItem]) -> int:
        # Rows gather in an unready data set, which nobody sees; one transaction lets them join.
        key = uuid.uuid4().hex
        extension = self._database.write(lambda c: campaigns.begin_extension(c, campaign_id, key))
        try:
            self.add_items(extension.dataset_id, items)
            return self._database.write(
                lambda c: campaigns.finish_extension(c, campaign_id, extension.dataset_id), repeatable=False
            )
        except BaseException:
            with suppress(StoreError):  # the first error is the one to tell
                self._database.write(lambda c: datasets.discard(c, extension.dataset_id))
            raise

    # -- lease -----------------------------------------------------------------------------------------

    def acquire_lease(
        self, campaign_id: int, owner: str, seconds: float, *, may_take: Callable[[str], bool]
    ) -> Lease:
        return leases.acquire(self._database, campaign_id, owner, seconds, may_take)

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        self._database.write(lambda c: leases.renew(c, lease, seconds))

    def release_lease(self, lease: Lease) -> None:
        self._database.write(lambda c: leases.release(c, lease))

    # -- items -----------------------------------------------------------------------------------------

    def item_ids(self, campaign_id: int, role: Role) -> list[str]:
        return self._read(lambda c: campaigns.item_ids(c, campaign_id, role))

    def pool_ids(self, campaign_id: int, round_index: int) -> list[str]:
        return self._read(lambda c: campaigns.pool_ids(c, campaign_id, round_index))

    def items(self, campaign_id: int, item_ids: Sequence[str]) -> list[Item]:
        return self._read(lambda c: campaigns.items(c, campaign_id, item_ids))

    # -- labels and annotations ------------------------------------------------------------------------

    def labels(self, campaign_id: int, role: Role | None = None) -> dict[str, Label]:
        return self._read(lambda c: labels_.in_force(c, campaign_id, role))

    def mirror(self, lease: Lease, annotator: str, annotations: Sequence[Annotation]) -> int:
        return self._fenced(
            lease, lambda c: annotations_.mirror(c, lease.campaign_id, annotator, annotations)
        )

    def annotations(self, campaign_id: int, query_ids: Sequence[str] | None = None) -> list[Annotation]:
        return self._read(lambda c: annotations_.find(c, campaign_id, query_ids))

    # -- rounds ----------------------------------------------------------------------------------------

    def rounds(self, campaign_id: int) -> list[Round]:
        return self._read(lambda c: rounds.all_of_them(c, campaign_id))

    def start_round(self, lease: Lease, round_: Round, training: Sequence[Label]) -> None:
        self._fenced(lease, lambda c: rounds.start(c, lease.campaign_id, round_, training))

    def training_labels(self, campaign_id: int, round_index: int) -> list[Label]:
        return self._read(lambda c: rounds.training_labels(c, campaign_id, round_index))

    def commit_step(
        self, lease: Lease, round_: Round, event: Event, results: StepResults = NO_RESULTS
    ) -> None:
        def commit(connection: Connection) -> None:
            rounds.save(connection, lease.campaign_id, round_, results)
            if results.queries:
                queries_.replace(connection, lease.campaign_id, round_.index, results.queries)
            event_log.add_event(connection, lease.campaign_id, event)

        self._fenced(lease, commit)

    def add_queries(self, lease: Lease, queries: Sequence[Query], event: Event) -> None:
        def add(connection: Connection) -> None:
            queries_.add(connection, lease.campaign_id, queries)
            event_log.add_event(connection, lease.campaign_id, event)

        self._fenced(lease, add)

    def evaluations(self, campaign_id: int, round_index: int) -> list[Evaluation]:
        return self._read(lambda c: rounds.evaluations(c, campaign_id, round_index))

    def held_out(self, campaign_id: int, round_index: int) -> list[HeldOutPrediction]:
        return self._read(lambda c: rounds.held_out(c, campaign_id, round_index))

    # -- queries ---------------------------------------------------------------------------------------

    def queries(self, campaign_id: int, round_index: int | None = None) -> list[Query]:
        return self._read(lambda c: queries_.find(c, campaign_id, round_index))

    def open_queries(self, campaign_id: int) -> list[Query]:
        return self._read(lambda c: queries_.still_open(c, campaign_id))

    def save_tasks(self, lease: Lease, tasks: Sequence[ExternalTask]) -> None:
        self._fenced(lease, lambda c: tasks_.save(c, lease.campaign_id, tasks))

    def tasks(self, campaign_id: int) -> list[ExternalTask]:
        return self._read(lambda c: tasks_.find(c, campaign_id))

    def withdraw(self, lease: Lease, query_ids: Sequence[str], event: Event) -> None:
        def forget(connection: Connection) -> None:
            queries_.withdraw(connection, lease.campaign_id, query_ids)
            event_log.add_event(connection, lease.campaign_id, event)

        self._fenced(lease, forget)

    def carry_over(self, lease: Lease, query_ids: Sequence[str], round_index: int) -> None:
        self._fenced(lease, lambda c: queries_.carry_over(c, lease.campaign_id, query_ids, round_index))

    def settle(
        self,
        lease: Lease,
        labels: Sequence[tuple[str, Label]],
        skipped: Sequence[str],
        disputed: Sequence[str] = (),
        follow_up: Sequence[Query] = (),
    ) -> None:
        def close(connection: Connection) -> None:
            queries_.settle(connection, lease.campaign_id, labels, skipped, disputed)
            queries_.add(connection, lease.campaign_id, follow_up)

        self._fenced(lease, close)

    # -- base predictions ------------------------------------------------------------------------------

    def base_predictions(self, base_key: str, item_ids: Sequence[str]) -> dict[str, BasePrediction]:
        return self._read(lambda c: base_scores.find(c, base_key, item_ids))

    def save_base_predictions(
        self, lease: Lease, base_key: str, predictions: Sequence[BasePrediction]
    ) -> None:
        self._fenced(lease, lambda c: base_scores.save(c, base_key, predictions))

    # -- studies ---------------------------------------------------------------------------------------

    def save_study(self, study: Study) -> Study:
        return self._database.write(lambda c: studies.save(c, study))

    def study(self, name: str) -> Study | None:
        return self._read(lambda c: studies.find(c, name))

    # -- record ----------------------------------------------------------------------------------------

    def add_event(self, lease: Lease, event: Event) -> None:
        self._fenced(lease, lambda c: event_log.add_event(c, lease.campaign_id, event))

    def events(self, campaign_id: int) -> list[Event]:
        return self._read(lambda c: event_log.events(c, campaign_id))

    def history(self, campaign_id: int) -> list[JsonObject]:
        return self._read(lambda c: event_log.history(c, campaign_id))

    # -- transactions ----------------------------------------------------------------------------------

    def _read(self, body: Callable[[Connection], T]) -> T:
        return self._database.read(body)

    def _fenced(self, lease: Lease, body: Callable[[Connection], T]) -> T:
        def guarded(connection: Connection) -> T:
            leases.fence(connection, lease)
            return body(connection)

        return self._database.write(guarded)
