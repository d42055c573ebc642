"""What people ask of a campaign while a controller may run it: archive it, pause it, close a round."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from db import event_log
from db.statements import now
from db.tables import CampaignRow
from star_al.errors import StoreError
from star_al.types import Event, Marks

_COLUMNS = (CampaignRow.archived_at, CampaignRow.paused_at, CampaignRow.close_round)
"""The fields of ``Marks``, in order."""


def load(connection: Connection, campaign_id: int) -> Marks:
    """The marks of a campaign.

    Raises:
        StoreError: There is no such campaign.
    """
    row = connection.execute(select(*_COLUMNS).where(CampaignRow.campaign_id == campaign_id)).one_or_none()
    if row is None:
        raise StoreError("the campaign has been deleted.")
    return Marks(*row)


def archive(connection: Connection, campaign_id: int, archived: bool, event: Event) -> None:
    """Put a campaign away, or take it back, and log it. The moment of the first time stays."""
    _set_moment(connection, campaign_id, "archived_at", archived, event)


def pause(connection: Connection, campaign_id: int, paused: bool, event: Event) -> None:
    """Pause a campaign, or let it go on, and log it. The moment of the first time stays."""
    _set_moment(connection, campaign_id, "paused_at", paused, event)


def _set_moment(connection: Connection, campaign_id: int, name: str, wanted: bool, event: Event) -> None:
    column = getattr(CampaignRow, name)
    changes = column.is_(None) if wanted else column.is_not(None)
    changed = (
        update(CampaignRow)
        .where(CampaignRow.campaign_id == campaign_id, changes)
        .values({name: now(connection) if wanted else None})
    )
    _log_if(connection, campaign_id, connection.execute(changed).rowcount, event)


def close_round(connection: Connection, campaign_id: int, round_index: int, event: Event) -> None:
    """Close a round with the answers that it has, and log it; an earlier round changes nothing."""
    later = CampaignRow.close_round.is_(None) | (CampaignRow.close_round < round_index)
    changed = (
        update(CampaignRow)
        .where(CampaignRow.campaign_id == campaign_id, later)
        .values(close_round=round_index)
    )
    _log_if(connection, campaign_id, connection.execute(changed).rowcount, event)


def _log_if(connection: Connection, campaign_id: int, changed: int, event: Event) -> None:
    load(connection, campaign_id)  # a campaign that is gone is an error
    if changed:
        event_log.append(connection, campaign_id, event)
