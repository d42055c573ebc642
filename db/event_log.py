"""The log of a campaign, and its history for people to read."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, text

from db.statements import now
from db.tables import CampaignRow, EventRow
from star_al.types import Event, JsonObject

_COLUMNS = (
    EventRow.step,
    EventRow.message,
    EventRow.round_index,
    EventRow.seconds,
    EventRow.detail,
    EventRow.created_at,
)


def append(connection: Connection, campaign_id: int, event: Event) -> None:
    """Append to the log."""
    row = {
        "campaign_id": campaign_id,
        "step": event.step,
        "message": event.message,
        "round_index": event.round_index,
        "seconds": event.seconds,
        "detail": event.detail,
        "created_at": event.created_at or now(connection),
    }
    connection.execute(insert(EventRow).values(row))


def load(connection: Connection, campaign_id: int) -> list[Event]:
    """The log, oldest first."""
    chosen = select(*_COLUMNS).where(EventRow.campaign_id == campaign_id).order_by(EventRow.event_id)
    return [Event(*row) for row in connection.execute(chosen)]


def history(connection: Connection, campaign_id: int) -> list[JsonObject]:
    """Rows of the view ``round_history`` (without the campaign's name), by round."""
    name = connection.scalars(
        select(CampaignRow.name).where(CampaignRow.campaign_id == campaign_id)
    ).one_or_none()
    chosen = text("SELECT * FROM round_history WHERE campaign = :name ORDER BY round")
    rows = connection.execute(chosen, {"name": name}).mappings()
    return [{key: value for key, value in row.items() if key != "campaign"} for row in rows]
