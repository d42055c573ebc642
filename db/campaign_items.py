"""The items in a campaign: their roles, the pool of a round, and how items join with their given labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)

from db.statements import count, now, pages, stream
from db.tables import CampaignItemRow, ItemRow, LabelRow, QueryRow
from star_al.errors import StoreError
from star_al.types import Item, QueryState, Role


def ids(connection: Connection, campaign_id: int, role: Role, *, by_round: int | None = None) -> list[str]:
    """Sorted ids of the items of a role: all, or those that had joined by a round."""
    chosen = _of_role(campaign_id, role)
    if by_round is not None:
        chosen = chosen.where(CampaignItemRow.from_round <= by_round)
    return sorted(stream(connection, chosen))


def sizes(connection: Connection, campaign_id: int) -> dict[Role, int]:
    """How many items each role has."""
    counted = (
        select(CampaignItemRow.role, func.count())
        .where(CampaignItemRow.campaign_id == campaign_id)
        .group_by(CampaignItemRow.role)
    )
    return _by_role(connection.execute(counted))


def label_counts(connection: Connection, campaign_id: int) -> dict[Role, int]:
    """How many items of each role have a label."""
    same = (CampaignItemRow.campaign_id == LabelRow.campaign_id) & (
        CampaignItemRow.item_id == LabelRow.item_id
    )
    counted = (
        select(CampaignItemRow.role, func.count())
        .join(LabelRow, same)
        .where(LabelRow.campaign_id == campaign_id, LabelRow.version == 1)
        .group_by(CampaignItemRow.role)
    )
    return _by_role(connection.execute(counted))


def _by_role(rows: Iterable[Any]) -> dict[Role, int]:
    return dict.fromkeys(Role, 0) | {Role(role): n for role, n in rows}


def pool_ids(connection: Connection, campaign_id: int, round_index: int) -> list[str]:
    """Sorted ids of the items that a round may ask: a function of history alone."""
    imported = exists().where(
        LabelRow.campaign_id == campaign_id,
        LabelRow.item_id == CampaignItemRow.item_id,
        LabelRow.source == "import",
        func.coalesce(LabelRow.round_index, 0) <= round_index,
    )
    asked = exists().where(
        QueryRow.campaign_id == campaign_id,
        QueryRow.item_id == CampaignItemRow.item_id,
        QueryRow.round_index + 0 < round_index,  # + 0: without it, SQLite reads the whole round for each item
        ~(QueryRow.buffer & (QueryRow.state == QueryState.OPEN.value)),
    )
    free = _of_role(campaign_id, Role.POOL).where(
        CampaignItemRow.from_round <= round_index, ~imported, ~asked
    )
    return sorted(stream(connection, free))


def load(connection: Connection, campaign_id: int, item_ids: Sequence[str]) -> list[Item]:
    """Load items in the order of ``item_ids``.

    Raises:
        StoreError: An id is not in the campaign.
    """
    found: dict[str, Item] = {}
    for page in pages(item_ids):
        chosen = (
            select(ItemRow.item_id, ItemRow.text, ItemRow.options, ItemRow.external_id, ItemRow.fields)
            .join(CampaignItemRow, same_item())
            .where(CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.item_id.in_(page))
        )
        for item_id, text, options, external_id, fields in connection.execute(chosen):
            found[item_id] = Item(item_id, text, tuple(options or ()), external_id, fields)
    _require_all(found, item_ids)
    return [found[item_id] for item_id in item_ids]


def load_options(
    connection: Connection, campaign_id: int, item_ids: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The options of those items that have options of their own, by item id."""
    found: dict[str, tuple[str, ...]] = {}
    for page in pages(item_ids):
        chosen = (
            select(ItemRow.item_id, ItemRow.options)
            .join(CampaignItemRow, same_item())
            .where(
                CampaignItemRow.campaign_id == campaign_id,
                CampaignItemRow.item_id.in_(page),
                ItemRow.options.is_not(null()),
            )
        )
        found.update((item_id, tuple(options)) for item_id, options in connection.execute(chosen))
    return found


def require(connection: Connection, campaign_id: int, item_ids: Sequence[str]) -> None:
    """Check that all ids are in the campaign.

    Raises:
        StoreError: One of them is not.
    """
    _require_all(known(connection, campaign_id, item_ids), item_ids)


def known(connection: Connection, campaign_id: int, item_ids: Sequence[str]) -> set[str]:
    """Those of the ids that are items of the campaign."""
    found: set[str] = set()
    for page in pages(item_ids):
        chosen = select(CampaignItemRow.item_id).where(
            CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.item_id.in_(page)
        )
        found.update(connection.scalars(chosen))
    return found


def _require_all(known: Iterable[str], item_ids: Iterable[str]) -> None:
    missing = sorted(set(item_ids) - set(known))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise StoreError(f"the item {missing[0]!r}{more} is not in the campaign.")


def _of_role(campaign_id: int, role: Role) -> Select[str]:
    return select(CampaignItemRow.item_id).where(
        CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.role == role.value
    )


def same_item() -> ColumnElement[bool]:
    """Joins an item of a campaign to its text."""
    return (CampaignItemRow.dataset_id == ItemRow.dataset_id) & (CampaignItemRow.item_id == ItemRow.item_id)


def join(connection: Connection, campaign_id: int, dataset_id: int, role: Role, from_round: int) -> int:
    """Let the items of a data set that are new to a campaign join it; return how many were new."""
    joined = exists().where(
        CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.item_id == ItemRow.item_id
    )
    joining = select(
        literal(campaign_id), ItemRow.item_id, ItemRow.dataset_id, literal(role.value), literal(from_round)
    ).where(ItemRow.dataset_id == dataset_id, ~joined)
    names = ["campaign_id", "item_id", "dataset_id", "role", "from_round"]
    return count(connection, insert(CampaignItemRow).from_select(names, joining))


def hold_out(connection: Connection, campaign_id: int, held_out: Mapping[str, Role]) -> None:
    """Give items their held-out roles; test items stay test items."""
    require(connection, campaign_id, list(held_out))
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


def import_labels(
    connection: Connection,
    campaign_id: int,
    dataset_id: int,
    which: ColumnElement[bool],
    from_round: int | None = None,
) -> None:
    """Turn the given labels of a data set's items, of ``which`` of them, into labels of the campaign."""
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
