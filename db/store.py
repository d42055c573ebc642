"""``SqlStore``: the Store port on SQLite and Postgres; each method is one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress

from db import annotations as annotations_
from db import base_predictions as base_predictions_
from db import (
    campaign_items,
    campaign_list,
    campaigns,
    datasets,
    event_log,
    extensions,
    leases,
    lifecycle,
    migrate,
    people,
    steps,
)
from db import labels as labels_
from db import marks as marks_
from db import queries as queries_
from db import rounds as rounds_
from db import studies as studies_
from db import tasks as tasks_
from db import training_labels as training_labels_
from db import waiting as waiting_
from db.engine import Database
from db.methods import OnDatabase, fenced, reads, writes
from db.statements import pages
from star_al.common.patience import Patience
from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import Lease, SourceItem


class SqlStore(OnDatabase, Store):
    """Campaigns in a database. ``star_al.ports.store`` says what each method does and what its arguments are."""

    @classmethod
    def open(cls, url: str, patience: Patience | None = None) -> SqlStore:
        """The store in a database that is at this program's schema version.

        Args:
            url: The database's URL.
            patience: How long it is waited for once it was reached; None waits briefly.

        Raises:
            SchemaError: The database is missing, empty, older, newer, or another program's.
            StoreError: Not a database URL, or the database cannot be reached or read.
        """
        database = Database(url, patience)
        try:
            migrate.require_head(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        self.database.close()

    # -- data sets -------------------------------------------------------------------------------------

    find_dataset = reads(datasets.find)
    begin_dataset = writes(datasets.begin)
    finish_dataset = writes(datasets.finish)
    dataset_item_ids = reads(datasets.item_ids)

    def add_items(self, dataset_id: int, items: Iterable[SourceItem]) -> int:
        # Pages are made outside the transactions, so that reading and parsing never holds the database's lock.
        return sum(self._add_page(dataset_id, page) for page in pages(items))

    _add_page = writes(datasets.add_page)
    _discard_dataset = writes(datasets.discard)

    # -- campaigns -------------------------------------------------------------------------------------

    create_campaign = writes(campaigns.create)
    find_campaign = reads(campaigns.find)
    summaries = reads(campaign_list.summaries)
    clone_campaign = writes(lifecycle.clone)
    restart_campaign = fenced(lifecycle.restart)
    own_artefacts = reads(lifecycle.own_artefacts)
    delete_campaign = fenced(lifecycle.remove)
    project_stamps = reads(campaigns.project_stamps)
    save_project_stamps = writes(campaigns.save_project_stamps)
    separate_campaign = fenced(campaigns.separate)
    update_config = fenced(campaigns.update_config)
    item_ids = reads(campaign_items.ids)
    sizes = reads(campaign_items.sizes)
    pool_ids = reads(campaign_items.pool_ids)
    items = reads(campaign_items.load)
    known_items = reads(campaign_items.known)
    options = reads(campaign_items.load_options)

    def extend_campaign(self, campaign_id: int, items: Iterable[SourceItem]) -> int:
        # Rows gather in an unready data set, which nobody sees; one transaction lets them join.
        extension = self._begin_extension(campaign_id, uuid.uuid4().hex)
        try:
            self.add_items(extension.dataset_id, items)
            return self._finish_extension(campaign_id, extension.dataset_id)
        except (
            Exception
        ):  # not after Ctrl-C, which must not wait for a lock; a later extension deletes the rest
            with suppress(StoreError):  # the user needs the first error
                self._discard_dataset(extension.dataset_id)
            raise

    _begin_extension = writes(extensions.begin)
    _finish_extension = writes(extensions.finish)

    # -- marks -----------------------------------------------------------------------------------------

    marks = reads(marks_.load)
    archive = writes(marks_.archive)
    pause = writes(marks_.pause)
    close_round = writes(marks_.close_round)

    # -- lease -----------------------------------------------------------------------------------------

    def acquire_lease(
        self, campaign_id: int, owner: str, seconds: float, *, may_take: Callable[[str], bool]
    ) -> Lease:
        return leases.acquire(self.database, campaign_id, owner, seconds, may_take)

    def lease_owner(self, campaign_id: int) -> str | None:
        return self.database.read(lambda connection: leases.holder(connection, campaign_id))[0]

    renew_lease = writes(leases.renew)
    release_lease = writes(leases.release)

    # -- labels and annotations ------------------------------------------------------------------------

    labels = reads(labels_.in_force)
    label_counts = reads(campaign_items.label_counts)
    answer_counts = reads(people.answer_counts)
    lead_times = reads(people.lead_times)
    mirror = fenced(annotations_.mirror)
    annotations = reads(annotations_.load)

    # -- rounds ----------------------------------------------------------------------------------------

    rounds = reads(rounds_.load)
    start_round = fenced(rounds_.start)
    training_labels = reads(training_labels_.load)
    commit_step = fenced(steps.commit)
    evaluations = reads(rounds_.evaluations)
    held_out = reads(rounds_.held_out)
    base_predictions = reads(base_predictions_.load)
    save_base_predictions = fenced(base_predictions_.save)

    # -- queries ---------------------------------------------------------------------------------------

    add_queries = fenced(queries_.add)
    queries = reads(queries_.load)
    open_queries = reads(queries_.load_open)
    attempts = reads(queries_.load_attempts)
    waiting = reads(waiting_.count)
    query_counts = reads(waiting_.query_counts)
    save_tasks = fenced(tasks_.save)
    tasks = reads(tasks_.load)
    projects = reads(tasks_.projects)
    withdraw_queries = fenced(queries_.withdraw)
    carry_over = fenced(queries_.carry_over)
    close_queries = fenced(queries_.close)

    # -- studies ---------------------------------------------------------------------------------------

    save_study = writes(studies_.save)
    study = reads(studies_.find)

    # -- log -------------------------------------------------------------------------------------------

    add_event = fenced(event_log.append)
    events = reads(event_log.load)
    history = reads(event_log.history)
