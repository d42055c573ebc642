"""All campaigns of a database, a line each."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from sqlalchemy import Connection, func, select, text

from db.statements import now
from db.tables import AnnotationRow, CampaignItemRow, CampaignRow, EventRow, LabelRow
from star_al.types import CampaignSummary, Marks, Role, RoundState

_HISTORY = text(
    "SELECT campaign, state, COALESCE(accuracy, head_accuracy) AS accuracy, stop_reason "
    "FROM round_history ORDER BY round"
)


def summaries(connection: Connection) -> list[CampaignSummary]:
    """A line about each campaign, by name."""
    rounds = defaultdict(list)
    for row in connection.execute(_HISTORY):
        rounds[row.campaign].append(row)
    labels, active = _labels(connection), _active(connection)
    moment, found = now(connection), []
    columns = (
        CampaignRow.campaign_id,
        CampaignRow.name,
        CampaignRow.created_at,
        CampaignRow.lease_owner,
        CampaignRow.lease_expires,
        CampaignRow.archived_at,
        CampaignRow.paused_at,
        CampaignRow.close_round,
    )
    for row in connection.execute(select(*columns)):
        own = rounds[row.name]
        runs = row.lease_expires is not None and row.lease_expires > moment
        found.append(
            CampaignSummary(
                name=row.name,
                rounds=len(own),
                state=RoundState(own[-1].state) if own else None,
                stop_reason=own[-1].stop_reason if own else None,
                labels=labels.get(row.campaign_id, 0),
                accuracy=next((each.accuracy for each in reversed(own) if each.accuracy is not None), None),
                active_at=max(row.created_at, active.get(row.campaign_id, row.created_at)),
                runs=row.lease_owner if runs else None,
                marks=Marks(row.archived_at, row.paused_at, row.close_round),
            )
        )
    return sorted(found, key=lambda one: one.name)


def _labels(connection: Connection) -> dict[int, int]:
    """How many items of each campaign have a label, without those of test files."""
    same_item = (CampaignItemRow.campaign_id == LabelRow.campaign_id) & (
        CampaignItemRow.item_id == LabelRow.item_id
    )
    counted = (
        select(LabelRow.campaign_id, func.count())
        .join(CampaignItemRow, same_item)
        .where(LabelRow.version == 1, CampaignItemRow.role != Role.TEST.value)
        .group_by(LabelRow.campaign_id)
    )
    return {campaign_id: n for campaign_id, n in connection.execute(counted)}


def _active(connection: Connection) -> dict[int, datetime]:
    """The moment of the last event or answer of each campaign."""
    newest: dict[int, datetime] = {}
    for campaign, moment in (
        (EventRow.campaign_id, EventRow.created_at),
        (AnnotationRow.campaign_id, AnnotationRow.mirrored_at),
    ):
        for campaign_id, latest in connection.execute(select(campaign, func.max(moment)).group_by(campaign)):
            newest[campaign_id] = max(latest, newest.get(campaign_id, latest))
    return newest
