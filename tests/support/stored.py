"""Read what a store keeps for readers of the database and no method of its port returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, select

from db.store import SqlStore
from db.tables import AdapterRow, LabelRow, ScoreTableRow
from star_al.ports import Store
from star_al.types import Adapter, Label, ScoreRow
from support.memory_store import MemoryStore

T = TypeVar("T")


def label_versions(store: Store, campaign_id: int, item_id: str) -> list[Label]:
    """Every version of an item's label, oldest first."""
    if isinstance(store, MemoryStore):
        return list(store.state(campaign_id).labels.get(item_id, ()))
    columns = (LabelRow.item_id, LabelRow.value, LabelRow.version, LabelRow.source, LabelRow.round_index)
    of_item = (LabelRow.campaign_id == campaign_id) & (LabelRow.item_id == item_id)
    return [Label(**row) for row in _rows(store, select(*columns).where(of_item).order_by(LabelRow.version))]


def ranking(store: Store, campaign_id: int, round_index: int) -> list[ScoreRow]:
    """The stored top of a round's ranking, best rank first."""
    if isinstance(store, MemoryStore):
        return list(store.state(campaign_id).rankings.get(round_index, ()))
    table = ScoreTableRow
    columns = (
        table.item_id,
        table.rank,
        table.base_uncertainty,
        table.adapted_uncertainty,
        table.blended,
        table.aleatoric,
        table.epistemic,
        table.samples,
        table.head_uncertainty,
    )
    of_round = (table.campaign_id == campaign_id) & (table.round_index == round_index)
    return [ScoreRow(**row) for row in _rows(store, select(*columns).where(of_round).order_by(table.rank))]


def adapter(store: Store, sha256: str) -> Adapter | None:
    """An adapter by content hash."""
    if isinstance(store, MemoryStore):
        return store.adapters.get(sha256)
    columns = (AdapterRow.sha256, AdapterRow.kind, AdapterRow.path, AdapterRow.size_bytes)
    rows = _rows(store, select(*columns).where(AdapterRow.sha256 == sha256))
    return Adapter(**rows[0]) if rows else None


def _rows(store: Store, statement: Executable) -> list[Mapping[str, Any]]:
    assert isinstance(store, SqlStore)

    def read(connection: Connection) -> list[Mapping[str, Any]]:
        return [dict(row) for row in connection.execute(statement).mappings()]

    return store.database.read(read)
