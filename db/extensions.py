"""Rows that join the pool of a running campaign.

They gather in an unready data set, which nobody sees, and join in one transaction.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, exists, select

from db import campaign_items, datasets
from db.statements import now
from db.tables import CampaignItemRow, CampaignRow, DatasetRow, ItemRow, LabelRow, QueryRow, RoundRow
from star_al.errors import StoreError
from star_al.types import Dataset, Role, RoundState

_ABANDONED = timedelta(days=1)
"""An extension that is still unfinished after this time was killed."""

_UNDECIDED = (RoundState.STARTED, RoundState.FITTED, RoundState.EVALUATED, RoundState.STOPPED)


def begin(connection: Connection, campaign_id: int, key: str) -> Dataset:
    """Make an unready data set for rows to come.

    Raises:
        StoreError: There is no such campaign.
    """
    name = connection.scalars(
        select(CampaignRow.name).where(CampaignRow.campaign_id == campaign_id)
    ).one_or_none()
    if name is None:
        raise StoreError(f"there is no campaign number {campaign_id}.")
    prefix = f"extension of campaign {campaign_id} "
    unfinished = DatasetRow.key.startswith(prefix, autoescape=True) & ~DatasetRow.ready
    connection.execute(
        delete(DatasetRow).where(unfinished, DatasetRow.created_at < now(connection) - _ABANDONED)
    )
    return datasets.begin(connection, prefix + key, f"added to {name}", key, may_replace=lambda _: False)


def finish(connection: Connection, campaign_id: int, dataset_id: int) -> int:
    """Let rows that are new to the campaign join its pool, with given labels; return how many joined."""
    # The lock keeps a round from starting between here and the commit.
    connection.execute(
        select(CampaignRow.campaign_id)
        .where(CampaignRow.campaign_id == campaign_id)
        .with_for_update(key_share=True)
    )
    from_round = _extensible_round(connection, campaign_id)
    joined = campaign_items.join(connection, campaign_id, dataset_id, Role.POOL, from_round=from_round)
    _import_late_labels(connection, campaign_id, dataset_id, from_round)
    unused = ~exists().where(campaign_items.same_item())
    connection.execute(delete(ItemRow).where(ItemRow.dataset_id == dataset_id, unused))
    if joined:
        datasets.finish(connection, dataset_id, n_duplicates=0, n_empty=0)
    else:
        datasets.discard(connection, dataset_id)
    return joined


def _extensible_round(connection: Connection, campaign_id: int) -> int:
    """The first round whose pool may still grow: nothing has been computed from it yet."""
    newest = connection.execute(
        select(RoundRow.round_index, RoundRow.state)
        .where(RoundRow.campaign_id == campaign_id)
        .order_by(RoundRow.round_index.desc())
        .limit(1)
    ).one_or_none()
    if newest is None:
        return 0
    # The stop set is drawn from the pool of round 0, so that pool grows only to let a stopped campaign go on.
    grows = newest.state in _UNDECIDED if newest.round_index else newest.state == RoundState.STOPPED
    return int(newest.round_index) + (not grows)


def _import_late_labels(connection: Connection, campaign_id: int, dataset_id: int, from_round: int) -> None:
    """Import labels of added rows, including pool items without a label that were never asked."""
    labelled = exists().where(
        LabelRow.campaign_id == campaign_id, LabelRow.item_id == CampaignItemRow.item_id
    )
    asked = exists().where(QueryRow.campaign_id == campaign_id, QueryRow.item_id == CampaignItemRow.item_id)
    free = (CampaignItemRow.role == Role.POOL.value) & ~labelled & ~asked
    campaign_items.import_labels(connection, campaign_id, dataset_id, free, from_round)
