"""Campaigns, and how items join them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)

from db import datasets
from db.statements import count, now, pages, stream
from db.tables import CampaignItemRow, CampaignRow, DatasetRow, ItemRow, LabelRow, QueryRow, RoundRow
from star_al.errors import StoreError
from star_al.types import Campaign, Dataset, Item, JsonObject, QueryState, Role, RoundState

_COLUMNS = (
    CampaignRow.campaign_id,
    CampaignRow.name,
    CampaignRow.dataset_id,
    CampaignRow.config,
    CampaignRow.seed,
    CampaignRow.key,
)
_LEFTOVER = timedelta(days=1)  # an extension that is not finished after this was killed
_UNDECIDED = (RoundState.STARTED, RoundState.FITTED, RoundState.EVALUATED, RoundState.STOPPED)


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """A campaign that has no id yet."""

    name: str
    dataset_id: int
    test_dataset_id: int | None
    config: JsonObject
    seed: int


def create(connection: Connection, new: NewCampaign, held_out: Mapping[str, Role]) -> Campaign:
    """Store a campaign, let the items of its data sets join, import their given labels."""
    if find(connection, new.name) is not None:
        raise StoreError(f"a campaign named {new.name!r} is already there; name this one differently.")
    joining = [(new.dataset_id, Role.POOL)]
    if new.test_dataset_id is not None:  # first, so that an item of both data sets is a test item
        joining.insert(0, (new.test_dataset_id, Role.TEST))
    for dataset_id, _ in joining:
        datasets.require_ready(connection, dataset_id)
    beside = {"key": uuid.uuid4().hex, "lease_epoch": 0, "created_at": now(connection)}
    created = insert(CampaignRow).values(**asdict(new), **beside)
    campaign = Campaign(*connection.execute(created.returning(*_COLUMNS)).one())
    for dataset_id, role in joining:
        _join(connection, campaign.campaign_id, dataset_id, role, from_round=0)
    _hold_out(connection, campaign.campaign_id, held_out)
    for dataset_id, _ in joining:
        _import_labels(connection, campaign.campaign_id, dataset_id, _same_item())
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


def begin_extension(connection: Connection, campaign_id: int, key: str) -> Dataset:
    """An unready data set for rows to come; unseen until ``finish_extension`` joins it."""
    name = connection.scalars(
        select(CampaignRow.name).where(CampaignRow.campaign_id == campaign_id)
    ).one_or_none()
    if name is None:
        raise StoreError(f"there is no campaign number {campaign_id}.")
    prefix = f"extension of campaign {campaign_id} "
    killed = DatasetRow.key.startswith(prefix, autoescape=True) & ~DatasetRow.ready
    connection.execute(delete(DatasetRow).where(killed, DatasetRow.created_at < now(connection) - _LEFTOVER))
    return datasets.begin(connection, prefix + key, f"added to {name}", key, lambda _: False)


def finish_extension(connection: Connection, campaign_id: int, dataset_id: int) -> int:
    """Let the rows that are new to the campaign join its pool, import given labels; how many joined."""
    # The lock keeps a round from starting between here and the commit.
    connection.execute(
        select(CampaignRow.campaign_id)
        .where(CampaignRow.campaign_id == campaign_id)
        .with_for_update(key_share=True)
    )
    from_round = _extensible_round(connection, campaign_id)
    joined = _join(connection, campaign_id, dataset_id, Role.POOL, from_round=from_round)
    _import_late_labels(connection, campaign_id, dataset_id, from_round)
    connection.execute(delete(ItemRow).where(ItemRow.dataset_id == dataset_id, ~exists().where(_same_item())))
    if joined:
        datasets.finish(connection, dataset_id, n_duplicates=0, n_empty=0)
    else:
        datasets.discard(connection, dataset_id)
    return joined


def _extensible_round(connection: Connection, campaign_id: int) -> int:
    """The first round whose pool may still grow: nothing that is a function of it was made."""
    newest = connection.execute(
        select(RoundRow.round_index, RoundRow.state)
        .where(RoundRow.campaign_id == campaign_id)
        .order_by(RoundRow.round_index.desc())
        .limit(1)
    ).one_or_none()
    if newest is None:
        return 0
    # The pool of round 0 is what the stop set is drawn from, so it grows only to free a stopped campaign.
    grows = newest.state in _UNDECIDED if newest.round_index else newest.state == RoundState.STOPPED
    return int(newest.round_index) + (not grows)


def item_ids(connection: Connection, campaign_id: int, role: Role) -> list[str]:
    """Sorted ids of a role."""
    return sorted(stream(connection, _of_role(campaign_id, role)))


def pool_ids(connection: Connection, campaign_id: int, round_index: int) -> list[str]:
    """Sorted ids of what a round may ask, by history alone."""
    imported = exists().where(
        LabelRow.campaign_id == campaign_id,
        LabelRow.item_id == CampaignItemRow.item_id,
        LabelRow.source == "import",
        func.coalesce(LabelRow.round_index, 0) <= round_index,
    )
    asked = exists().where(
        QueryRow.campaign_id == campaign_id,
        QueryRow.item_id == CampaignItemRow.item_id,
        QueryRow.round_index + 0 < round_index,  # + 0: else SQLite reads the whole round for each item
        ~(QueryRow.buffer & (QueryRow.state == QueryState.OPEN.value)),
    )
    free = _of_role(campaign_id, Role.POOL).where(
        CampaignItemRow.from_round <= round_index, ~imported, ~asked
    )
    return sorted(stream(connection, free))


def items(connection: Connection, campaign_id: int, item_ids: Sequence[str]) -> list[Item]:
    """Items in the order of ``item_ids``."""
    found: dict[str, Item] = {}
    for page in pages(item_ids):
        chosen = (
            select(ItemRow.item_id, ItemRow.text, ItemRow.options, ItemRow.external_id, ItemRow.fields)
            .join(CampaignItemRow, _same_item())
            .where(CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.item_id.in_(page))
        )
        for item_id, text, options, external_id, fields in connection.execute(chosen):
            found[item_id] = Item(item_id, text, tuple(options or ()), external_id, fields)
    _require(found, item_ids)
    return [found[item_id] for item_id in item_ids]


def require_items(connection: Connection, campaign_id: int, item_ids: Sequence[str]) -> None:
    """Refuse ids that are not in the campaign."""
    known: set[str] = set()
    for page in pages(item_ids):
        chosen = select(CampaignItemRow.item_id).where(
            CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.item_id.in_(page)
        )
        known.update(connection.scalars(chosen))
    _require(known, item_ids)


def _require(known: Iterable[str], item_ids: Iterable[str]) -> None:
    missing = sorted(set(item_ids) - set(known))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise StoreError(f"the item {missing[0]!r}{more} is not in the campaign.")


def _of_role(campaign_id: int, role: Role) -> Select[str]:
    return select(CampaignItemRow.item_id).where(
        CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.role == role.value
    )


def _same_item() -> ColumnElement[bool]:
    return (CampaignItemRow.dataset_id == ItemRow.dataset_id) & (CampaignItemRow.item_id == ItemRow.item_id)


def _join(connection: Connection, campaign_id: int, dataset_id: int, role: Role, from_round: int) -> int:
    known = exists().where(
        CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.item_id == ItemRow.item_id
    )
    joining = select(
        literal(campaign_id), ItemRow.item_id, ItemRow.dataset_id, literal(role.value), literal(from_round)
    ).where(ItemRow.dataset_id == dataset_id, ~known)
    names = ["campaign_id", "item_id", "dataset_id", "role", "from_round"]
    return count(connection, insert(CampaignItemRow).from_select(names, joining))


def _hold_out(connection: Connection, campaign_id: int, held_out: Mapping[str, Role]) -> None:
    require_items(connection, campaign_id, list(held_out))
    for role in set(held_out.values()):
        for page in pages(item_id for item_id, its_role in held_out.items() if its_role is role):
            connection.execute(
                update(CampaignItemRow)
                .where(
                    CampaignItemRow.campaign_id == campaign_id,
                    CampaignItemRow.item_id.in_(page),
                    CampaignItemRow.role != Role.TEST.value,
                )
                .values(role=role.value)
            )


def _import_late_labels(connection: Connection, campaign_id: int, dataset_id: int, from_round: int) -> None:
    """Labels of added rows, also of rows that were in the pool already, unlabelled and never asked."""
    labelled = exists().where(
        LabelRow.campaign_id == campaign_id, LabelRow.item_id == CampaignItemRow.item_id
    )
    asked = exists().where(QueryRow.campaign_id == campaign_id, QueryRow.item_id == CampaignItemRow.item_id)
    free = (CampaignItemRow.role == Role.POOL.value) & ~labelled & ~asked
    _import_labels(connection, campaign_id, dataset_id, free, from_round)


def _import_labels(
    connection: Connection,
    campaign_id: int,
    dataset_id: int,
    which: ColumnElement[bool],
    from_round: int | None = None,
) -> None:
    given = (
        select(
            CampaignItemRow.campaign_id,
            CampaignItemRow.item_id,
            literal(1),
            ItemRow.given_label,
            literal("import"),
            literal(from_round, Integer()),
            literal(now(connection)),
        )
        .join(ItemRow, CampaignItemRow.item_id == ItemRow.item_id)
        .where(
            CampaignItemRow.campaign_id == campaign_id,
            ItemRow.dataset_id == dataset_id,
            ItemRow.given_label.is_not(null()),
            which,
        )
    )
    names = ["campaign_id", "item_id", "version", "value", "source", "round_index", "created_at"]
    connection.execute(insert(LabelRow).from_select(names, given))
