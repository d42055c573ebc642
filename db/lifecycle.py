"""A campaign as a whole: copy it, begin it again on other settings, delete it with what only it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Integer, delete, func, insert, literal, null, select, update

from db import campaigns, event_log
from db.statements import now, pages, table_of
from db.tables import (
    AdapterRow,
    Base,
    BaseScoreRow,
    CampaignItemRow,
    CampaignRow,
    DatasetRow,
    ItemRow,
    LabelRow,
    RoundRow,
)
from star_al.errors import StoreError
from star_al.types import Artefacts, Campaign, Event, JsonObject, Role


def clone(connection: Connection, campaign_id: int, name: str, config: JsonObject) -> Campaign:
    """Make a campaign with the items of another, in the same roles, and its labels in force as imported ones.

    Raises:
        StoreError: The name is taken, or there is no such campaign.
    """
    source = connection.execute(
        select(CampaignRow.dataset_id, CampaignRow.test_dataset_id, CampaignRow.seed).where(
            CampaignRow.campaign_id == campaign_id
        )
    ).one_or_none()
    if source is None:
        raise StoreError("the campaign has been deleted.")
    made = campaigns.insert_one(
        connection, name, source.dataset_id, config, source.seed, test_dataset_id=source.test_dataset_id
    )
    _copy_items(connection, campaign_id, made.campaign_id)
    _copy_labels(connection, campaign_id, made.campaign_id)
    event_log.append(
        connection, made.campaign_id, Event("clone", "began with the labels of another campaign")
    )
    return made


def _copy_items(connection: Connection, source_id: int, campaign_id: int) -> None:
    copied = select(
        literal(campaign_id),
        CampaignItemRow.item_id,
        CampaignItemRow.dataset_id,
        CampaignItemRow.role,
        literal(0),
    ).where(CampaignItemRow.campaign_id == source_id)
    names = ["campaign_id", "item_id", "dataset_id", "role", "from_round"]
    connection.execute(insert(CampaignItemRow).from_select(names, copied))


def _copy_labels(connection: Connection, source_id: int, campaign_id: int) -> None:
    newest = (
        select(LabelRow.item_id, func.max(LabelRow.version).label("version"))
        .where(LabelRow.campaign_id == source_id)
        .group_by(LabelRow.item_id)
        .subquery()
    )
    copied = (
        select(
            literal(campaign_id),
            LabelRow.item_id,
            literal(1),
            LabelRow.value,
            literal("import"),
            literal(None, Integer()),
            literal(now(connection)),
        )
        .join(newest, (LabelRow.item_id == newest.c.item_id) & (LabelRow.version == newest.c.version))
        .where(LabelRow.campaign_id == source_id)
    )
    names = ["campaign_id", "item_id", "version", "value", "source", "round_index", "created_at"]
    connection.execute(insert(LabelRow).from_select(names, copied))


def restart(
    connection: Connection,
    campaign_id: int,
    dataset_id: int,
    config: JsonObject,
    seed: int,
    event: Event,
    *,
    held_out: Mapping[str, Role],
    test_dataset_id: int | None,
) -> None:
    """Begin a campaign again as if it had just been made with these settings; its log goes on.

    Raises:
        StoreError: A data set is not ready, or a held-out item does not exist.
    """
    before = _datasets_of(connection, campaign_id)
    _clear(connection, campaign_id, keep=("campaigns", "events"))
    connection.execute(
        update(CampaignRow)
        .where(CampaignRow.campaign_id == campaign_id)
        .values(
            dataset_id=dataset_id,
            test_dataset_id=test_dataset_id,
            config=config,
            seed=seed,
            close_round=None,
        )
    )
    campaigns.fill(connection, campaign_id, dataset_id, held_out=held_out, test_dataset_id=test_dataset_id)
    _delete_unused_datasets(connection, before)
    event_log.append(connection, campaign_id, event)


def own_artefacts(connection: Connection, campaign_id: int) -> Artefacts:
    """Adapters, heads and score files of a campaign's rounds that no other campaign's rounds have."""
    mine, others = RoundRow.campaign_id == campaign_id, RoundRow.campaign_id != campaign_id

    def only(*columns: object) -> frozenset[str]:
        both = [
            {value for column in columns for value in connection.scalars(select(column).where(which))}  # type: ignore[call-overload]
            for which in (mine, others)
        ]
        return frozenset(both[0] - both[1] - {None})

    trained = (RoundRow.adapter_sha256, RoundRow.head_sha256, RoundRow.shadow_sha256)
    return Artefacts(only(*trained), only(RoundRow.scores_sha256))


def remove(connection: Connection, campaign_id: int) -> None:
    """Delete a campaign, its log, and the data sets and adapters that no other campaign has."""
    datasets, artefacts = _datasets_of(connection, campaign_id), own_artefacts(connection, campaign_id)
    _clear(connection, campaign_id, keep=())
    for page in pages(sorted(artefacts.adapters)):
        connection.execute(delete(AdapterRow).where(AdapterRow.sha256.in_(page)))
    _delete_unused_datasets(connection, datasets)


def _datasets_of(connection: Connection, campaign_id: int) -> set[int]:
    """Data sets with items of a campaign, and those that it was made from."""
    of_items = select(CampaignItemRow.dataset_id).where(CampaignItemRow.campaign_id == campaign_id).distinct()
    made_from = select(CampaignRow.dataset_id, CampaignRow.test_dataset_id).where(
        CampaignRow.campaign_id == campaign_id
    )
    found = {*connection.scalars(of_items), *connection.execute(made_from).one()}
    return {dataset_id for dataset_id in found if dataset_id is not None}


def _clear(connection: Connection, campaign_id: int, keep: Iterable[str]) -> None:
    """Delete the rows of a campaign in all tables but ``keep``, those that refer to others first."""
    for table in reversed(Base.metadata.sorted_tables):
        if "campaign_id" in table.c and table.name not in keep:
            connection.execute(table.delete().where(table.c.campaign_id == campaign_id))


def _delete_unused_datasets(connection: Connection, candidates: Iterable[int]) -> None:
    """Delete those of the data sets that no campaign uses, with predictions of texts that are then gone."""
    made_from = connection.execute(select(CampaignRow.dataset_id, CampaignRow.test_dataset_id))
    used = {dataset_id for row in made_from for dataset_id in row}
    for dataset_id in set(candidates) - used:
        joined = select(CampaignItemRow.item_id).where(CampaignItemRow.dataset_id == dataset_id).limit(1)
        if connection.execute(joined).first() is None:
            _delete_base_scores(connection, dataset_id)
            connection.execute(delete(DatasetRow).where(DatasetRow.dataset_id == dataset_id))


def _delete_base_scores(connection: Connection, dataset_id: int) -> None:
    """Delete base predictions of items that are in this data set alone."""
    other = table_of(ItemRow).alias("other")
    elsewhere = (
        select(null()).where(other.c.item_id == ItemRow.item_id, other.c.dataset_id != dataset_id).exists()
    )
    going = select(ItemRow.item_id).where(ItemRow.dataset_id == dataset_id, ~elsewhere)
    connection.execute(delete(BaseScoreRow).where(BaseScoreRow.item_id.in_(going)))
