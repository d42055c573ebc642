"""Labels: append-only versions, of which the highest is in force."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from db import campaign_items
from db.columns import same_json
from db.statements import now, pages
from db.tables import CampaignItemRow, LabelRow
from star_al.errors import StoreError
from star_al.types import JsonValue, Label, Role

COLUMNS = (LabelRow.item_id, LabelRow.value, LabelRow.version, LabelRow.source, LabelRow.round_index)
"""The fields of a ``Label``, in order."""


def in_force(connection: Connection, campaign_id: int, role: Role | None = None) -> dict[str, Label]:
    """The newest version of each labelled item, in order of item id."""
    chosen = select(*COLUMNS).where(LabelRow.campaign_id == campaign_id).order_by(LabelRow.version)
    if role is not None:
        same_item = (CampaignItemRow.campaign_id == LabelRow.campaign_id) & (
            CampaignItemRow.item_id == LabelRow.item_id
        )
        chosen = chosen.join(CampaignItemRow, same_item).where(CampaignItemRow.role == role.value)
    newest = {row.item_id: Label(*row) for row in connection.execute(chosen)}
    return dict(sorted(newest.items()))


def append(connection: Connection, campaign_id: int, labels: Sequence[Label]) -> None:
    """Append those that differ from the value in force. The caller holds the campaign's lock.

    Raises:
        StoreError: An item is not in the campaign, or a label has no value.
    """
    campaign_items.require(connection, campaign_id, [label.item_id for label in labels])
    for page in pages(labels):
        _append_page(connection, campaign_id, page)


def _append_page(connection: Connection, campaign_id: int, labels: Sequence[Label]) -> None:
    newest = _newest(connection, campaign_id, [label.item_id for label in labels])
    moment = now(connection)
    rows = []
    for label in labels:
        if label.value is None:
            raise StoreError(f"the label of item {label.item_id!r} has no value; skip the item instead.")
        version, value = newest.get(label.item_id, (0, None))
        if version and same_json(value, label.value):
            continue
        newest[label.item_id] = (version + 1, label.value)
        rows.append(
            {
                "campaign_id": campaign_id,
                "item_id": label.item_id,
                "version": version + 1,
                "value": label.value,
                "source": label.source,
                "round_index": label.round_index,
                "created_at": moment,
            }
        )
    if rows:
        connection.execute(insert(LabelRow), rows)


def _newest(
    connection: Connection, campaign_id: int, item_ids: Sequence[str]
) -> dict[str, tuple[int, JsonValue]]:
    chosen = (
        select(LabelRow.item_id, LabelRow.version, LabelRow.value)
        .where(LabelRow.campaign_id == campaign_id, LabelRow.item_id.in_(item_ids))
        .order_by(LabelRow.version)
    )
    return {item_id: (version, value) for item_id, version, value in connection.execute(chosen)}
