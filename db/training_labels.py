"""The labels that each round trained on, stored once for all rounds in a row that trained on the same version."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, exists, insert, null, or_, select, update

from db.labels import COLUMNS
from db.statements import pages
from db.tables import LabelRow, RoundRow, TrainingLabelRow
from star_al.types import Label


def start(connection: Connection, campaign_id: int, round_index: int, training: Sequence[Label]) -> None:
    """Store the snapshot of a new round, the newest, as what differs from the round before."""
    versions = {label.item_id: label.version for label in training}
    before = _open(connection, campaign_id)
    ended = [item_id for item_id, version in before.items() if versions.get(item_id) != version]
    for page in pages(ended):
        changed = update(TrainingLabelRow).where(_is_open(campaign_id), TrainingLabelRow.item_id.in_(page))
        connection.execute(changed.values(until_round=round_index))
    rows = [
        {"campaign_id": campaign_id, "item_id": item_id, "from_round": round_index, "version": version}
        for item_id, version in versions.items()
        if before.get(item_id) != version
    ]
    if rows:
        connection.execute(insert(TrainingLabelRow), rows)


def load(connection: Connection, campaign_id: int, round_index: int) -> list[Label]:
    """The snapshot of a round, in order of item id."""
    same_label = (
        (LabelRow.campaign_id == TrainingLabelRow.campaign_id)
        & (LabelRow.item_id == TrainingLabelRow.item_id)
        & (LabelRow.version == TrainingLabelRow.version)
    )
    chosen = (
        select(*COLUMNS)
        .join(TrainingLabelRow, same_label)
        .where(
            TrainingLabelRow.campaign_id == campaign_id,
            exists().where(RoundRow.campaign_id == campaign_id, RoundRow.round_index == round_index),
            TrainingLabelRow.from_round <= round_index,
            or_(TrainingLabelRow.until_round.is_(null()), TrainingLabelRow.until_round > round_index),
        )
    )
    return sorted((Label(*row) for row in connection.execute(chosen)), key=lambda label: label.item_id)


def _open(connection: Connection, campaign_id: int) -> dict[str, int]:
    """The versions that the newest round trained on, by item id."""
    chosen = select(TrainingLabelRow.item_id, TrainingLabelRow.version).where(_is_open(campaign_id))
    return dict(connection.execute(chosen).all())


def _is_open(campaign_id: int) -> ColumnElement[bool]:
    return (TrainingLabelRow.campaign_id == campaign_id) & TrainingLabelRow.until_round.is_(null())
