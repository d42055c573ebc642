"""The lease of a campaign: one controller at a time; its epoch keeps late writers out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, or_, select, update

from db.engine import Database
from db.statements import now
from db.tables import CampaignRow
from star_al.common.process_identity import in_words
from star_al.errors import LeaseHeldError, LeaseLostError, StoreError
from star_al.types import Lease


def holder(connection: Connection, campaign_id: int) -> tuple[str | None, float]:
    """Who holds the campaign (``None`` if its lease is free or expired) and the seconds left.

    Raises:
        StoreError: There is no such campaign.
    """
    row = connection.execute(
        select(CampaignRow.lease_owner, CampaignRow.lease_expires).where(
            CampaignRow.campaign_id == campaign_id
        )
    ).one_or_none()
    if row is None:
        raise StoreError(f"there is no campaign number {campaign_id}.")
    left = _seconds_left(row.lease_expires, now(connection))
    return (row.lease_owner if left > 0 else None), left


def take(
    connection: Connection, campaign_id: int, owner: str, seconds: float, dead: str | None
) -> Lease | None:
    """Take the lease if it is free, expired, or held by ``dead``; return ``None`` otherwise.

    This is one guarded UPDATE, so that exactly one of several controllers that try at once succeeds.
    """
    moment = now(connection)
    # The owner is compared within the UPDATE: if another controller took over from ``dead`` meanwhile, it stays.
    # Without ``dead`` the last condition becomes IS NULL and repeats the first.
    guard = or_(
        CampaignRow.lease_owner.is_(None),
        CampaignRow.lease_expires <= moment,
        CampaignRow.lease_owner == dead,
    )
    taken = (
        update(CampaignRow)
        .where(CampaignRow.campaign_id == campaign_id, guard)
        .values(
            lease_owner=owner,
            lease_epoch=CampaignRow.lease_epoch + 1,
            lease_expires=moment + timedelta(seconds=seconds),
        )
        .returning(CampaignRow.lease_epoch)
    )
    epoch = connection.scalars(taken).one_or_none()
    return None if epoch is None else Lease(campaign_id, owner, epoch)


def acquire(
    database: Database, campaign_id: int, owner: str, seconds: float, may_take: Callable[[str], bool]
) -> Lease:
    """Take the lease. ``may_take`` runs between transactions because it may be slow.

    Raises:
        LeaseHeldError: A living controller holds the campaign.
    """
    present, _ = database.read(lambda connection: holder(connection, campaign_id))
    dead = present if present is not None and may_take(present) else None
    lease = database.write(lambda connection: take(connection, campaign_id, owner, seconds, dead))
    if lease is not None:
        return lease
    # Read again, as the holder may be another one than before the try.
    present, left = database.read(lambda connection: holder(connection, campaign_id))
    raise LeaseHeldError(
        f"{database.location}: another star-al run ({in_words(present) if present else 'which has just begun'}) has "
        f"the campaign; its lease lasts another {left:.0f} s. Stop that run or wait for it to end, then run again."
    )


def renew(connection: Connection, lease: Lease, seconds: float) -> None:
    """Let the lease end ``seconds`` from now.

    Raises:
        LeaseLostError: Another controller has taken over.
    """
    fence(connection, lease)
    end = now(connection) + timedelta(seconds=seconds)
    connection.execute(update(CampaignRow).where(_is_current(lease)).values(lease_expires=end))


def release(connection: Connection, lease: Lease) -> None:
    """Give the campaign back if this lease is still the current one."""
    connection.execute(
        update(CampaignRow).where(_is_current(lease)).values(lease_owner=None, lease_expires=None)
    )


def fence(connection: Connection, lease: Lease) -> None:
    """Check that no other controller has taken over, and lock the campaign until the commit.

    An expired lease that nobody took still belongs to its owner.

    Raises:
        LeaseLostError: Another controller has taken over, or the campaign was given back.
    """
    # FOR NO KEY UPDATE: a plain FOR UPDATE would also block inserts of rows that refer to the campaign, such as
    # those of ``extend_campaign``, which needs no lease.
    row = connection.execute(
        select(CampaignRow.name, CampaignRow.lease_owner, CampaignRow.lease_epoch)
        .where(CampaignRow.campaign_id == lease.campaign_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise StoreError(f"there is no campaign number {lease.campaign_id}.")
    if (row.lease_owner, row.lease_epoch) != (lease.owner, lease.epoch):
        now_with = f"now {in_words(row.lease_owner)} runs it" if row.lease_owner else "it was given back"
        raise LeaseLostError(
            f"campaign {row.name!r}: {in_words(lease.owner)} no longer holds it ({now_with}). Nothing was "
            "written; follow it with `star-al status`, or run again once it is free."
        )


def _is_current(lease: Lease) -> ColumnElement[bool]:
    return (
        (CampaignRow.campaign_id == lease.campaign_id)
        & (CampaignRow.lease_owner == lease.owner)
        & (CampaignRow.lease_epoch == lease.epoch)
    )


def _seconds_left(expires: datetime | None, moment: datetime) -> float:
    return 0.0 if expires is None else max((expires - moment).total_seconds(), 0.0)
