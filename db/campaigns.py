"""Campaigns: made from data sets, found by name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from db import campaign_items, datasets, event_log, labels, queries
from db.statements import now
from db.tables import CampaignRow, ExternalTaskRow
from star_al.errors import StoreError
from star_al.types import Campaign, Event, JsonObject, Label, Role

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
    made = insert_one(connection, name, dataset_id, config, seed, test_dataset_id=test_dataset_id)
    fill(connection, made.campaign_id, dataset_id, held_out=held_out, test_dataset_id=test_dataset_id)
    return made


def insert_one(
    connection: Connection,
    name: str,
    dataset_id: int,
    config: JsonObject,
    seed: int,
    *,
    test_dataset_id: int | None,
) -> Campaign:
    """Store a campaign without items.

    Raises:
        StoreError: The name is taken.
    """
    if find(connection, name) is not None:
        raise StoreError(f"a campaign named {name!r} already exists; choose another name.")
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
    return Campaign(*connection.execute(created.returning(*_COLUMNS)).one())


def fill(
    connection: Connection,
    campaign_id: int,
    dataset_id: int,
    *,
    held_out: Mapping[str, Role],
    test_dataset_id: int | None,
) -> None:
    """Let the items of data sets join a campaign without items, and import their given labels.

    Raises:
        StoreError: A data set is not ready, or a held-out item does not exist.
    """
    joining = [(dataset_id, Role.POOL)]
    if test_dataset_id is not None:  # first, so that an item of both data sets is a test item
        joining.insert(0, (test_dataset_id, Role.TEST))
    for each, _ in joining:
        datasets.require_ready(connection, each)
    for each, role in joining:
        campaign_items.join(connection, campaign_id, each, role, from_round=0)
    campaign_items.hold_out(connection, campaign_id, held_out)
    for each, _ in joining:
        campaign_items.import_labels(connection, campaign_id, each, which=campaign_items.same_item())


def find(connection: Connection, name: str) -> Campaign | None:
    """The campaign of this name."""
    row = connection.execute(select(*_COLUMNS).where(CampaignRow.name == name)).one_or_none()
    return None if row is None else Campaign(*row)


def update_config(
    connection: Connection,
    campaign_id: int,
    config: JsonObject,
    *,
    relabelled: Sequence[Label] = (),
    settled: Sequence[tuple[str, Label]] = (),
    events: Sequence[Event] = (),
) -> None:
    """Replace the config, with the labels that follow from it, and log it."""
    connection.execute(
        update(CampaignRow).where(CampaignRow.campaign_id == campaign_id).values(config=config)
    )
    labels.append(connection, campaign_id, relabelled)
    queries.close(connection, campaign_id, settled, [])
    for event in events:
        event_log.append(connection, campaign_id, event)


def project_stamps(connection: Connection, campaign_id: int) -> list[str] | None:
    """Stamps of this database on the annotation project, the newest first; None if any may be replaced."""
    chosen = select(CampaignRow.project_stamp).where(CampaignRow.campaign_id == campaign_id)
    stamps: list[str] | None = connection.scalars(chosen).one_or_none()
    return stamps


def save_project_stamps(connection: Connection, campaign_id: int, stamps: Sequence[str] | None) -> None:
    """Replace the stamps; None lets the next run replace any."""
    value = None if stamps is None else list(stamps)
    connection.execute(
        update(CampaignRow).where(CampaignRow.campaign_id == campaign_id).values(project_stamp=value)
    )


def separate(connection: Connection, campaign_id: int) -> None:
    """Give the campaign a new key and forget its tasks."""
    connection.execute(delete(ExternalTaskRow).where(ExternalTaskRow.campaign_id == campaign_id))
    connection.execute(
        update(CampaignRow)
        .where(CampaignRow.campaign_id == campaign_id)
        .values(key=uuid.uuid4().hex, project_stamp=None)
    )
