"""Campaigns: made from data sets, found by name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from db import campaign_items, datasets
from db.statements import now
from db.tables import CampaignRow
from star_al.errors import StoreError
from star_al.types import Campaign, JsonObject, Role

_COLUMNS = (
    CampaignRow.campaign_id,
    CampaignRow.name,
    CampaignRow.dataset_id,
    CampaignRow.config,
    CampaignRow.seed,
    CampaignRow.key,
)
"""The fields of a ``Campaign``, in order."""


def create(
    connection: Connection,
    name: str,
    dataset_id: int,
    config: JsonObject,
    seed: int,
    *,
    held_out: Mapping[str, Role],
    test_dataset_id: int | None,
) -> Campaign:
    """Store a campaign, let the items of its data sets join, and import their given labels.

    Raises:
        StoreError: The name is taken, a data set is not ready, or a held-out item does not exist.
    """
    if find(connection, name) is not None:
        raise StoreError(f"a campaign named {name!r} already exists; choose another name.")
    joining = [(dataset_id, Role.POOL)]
    if test_dataset_id is not None:  # first, so that an item of both data sets is a test item
        joining.insert(0, (test_dataset_id, Role.TEST))
    for each, _ in joining:
        datasets.require_ready(connection, each)
    created = insert(CampaignRow).values(
        name=name,
        key=uuid.uuid4().hex,
        dataset_id=dataset_id,
        test_dataset_id=test_dataset_id,
        config=config,
        seed=seed,
        lease_epoch=0,
        created_at=now(connection),
    )
    campaign = Campaign(*connection.execute(created.returning(*_COLUMNS)).one())
    for each, role in joining:
        campaign_items.join(connection, campaign.campaign_id, each, role, from_round=0)
    campaign_items.hold_out(connection, campaign.campaign_id, held_out)
    for each, _ in joining:
        campaign_items.import_labels(connection, campaign.campaign_id, each, which=campaign_items.same_item())
    return campaign


def find(connection: Connection, name: str) -> Campaign | None:
    """The campaign of this name."""
    row = connection.execute(select(*_COLUMNS).where(CampaignRow.name == name)).one_or_none()
    return None if row is None else Campaign(*row)


def update_config(connection: Connection, campaign_id: int, config: JsonObject) -> None:
    """Replace the config."""
    connection.execute(
        update(CampaignRow).where(CampaignRow.campaign_id == campaign_id).values(config=config)
    )
