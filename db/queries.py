"""Queries: what was asked and why, where it lives in the annotation tool, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Row, Select, delete, exists, func, select, update

from db import campaigns, labels
from db.statements import insert_new, now, pages, upsert
from db.tables import AnnotationRow, ExternalTaskRow, QueryRow
from star_al.errors import StoreError
from star_al.types import ExternalTask, Item, Label, Query, QueryState, Reason, Role

_COLUMNS = (
    QueryRow.query_id,
    QueryRow.item_id,
    QueryRow.round_index,
    QueryRow.purpose,
    QueryRow.rank,
    QueryRow.reason,
    QueryRow.attempt,
    QueryRow.wanted,
    QueryRow.state,
)


def add(connection: Connection, campaign_id: int, queries: Sequence[Query]) -> None:
    """Insert the queries that are not there yet."""
    campaigns.require_items(connection, campaign_id, [query.item.item_id for query in queries])
    moment = now(connection)
    insert_new(
        connection, QueryRow, [{**_row(campaign_id, query), "created_at": moment} for query in queries]
    )


def replace(connection: Connection, campaign_id: int, round_index: int, queries: Sequence[Query]) -> None:
    """Put these in the place of the round's queries of the same purposes.

    A query that exists keeps its state and round; one that is no longer wanted stays when the annotation
    tool has it or it was answered.
    """
    wanted = {query.query_id for query in queries}
    purposes = {query.purpose.value for query in queries}
    stale = [
        query.query_id
        for query in find(connection, campaign_id, round_index)
        if query.purpose.value in purposes and query.query_id not in wanted and query.state is QueryState.OPEN
    ]
    for page in pages(stale):
        connection.execute(_unasked(campaign_id, page))
    add(connection, campaign_id, queries)
    for query in queries:
        connection.execute(
            update(QueryRow)
            .where(
                QueryRow.campaign_id == campaign_id,
                QueryRow.query_id == query.query_id,
                QueryRow.round_index == round_index,
            )
            .values(rank=query.rank, wanted=query.wanted, **_reason(query.reason))
        )


def find(connection: Connection, campaign_id: int, round_index: int | None) -> list[Query]:
    """Queries of one round or all, ordered by round, purpose and rank."""
    chosen = select(*_COLUMNS).where(QueryRow.campaign_id == campaign_id)
    if round_index is not None:
        chosen = chosen.where(QueryRow.round_index == round_index)
    return _load(connection, campaign_id, chosen)


def still_open(connection: Connection, campaign_id: int) -> list[Query]:
    """Queries that wait for an answer, ordered by round, purpose and rank."""
    return _load(connection, campaign_id, select(*_COLUMNS).where(*_is_open(campaign_id)))


def count_open(connection: Connection, campaign_id: int) -> int:
    """How many queries wait for an answer."""
    return connection.scalars(select(func.count()).where(*_is_open(campaign_id))).one()


def _is_open(campaign_id: int) -> tuple[ColumnElement[bool], ...]:
    return QueryRow.campaign_id == campaign_id, QueryRow.state == QueryState.OPEN.value


def _load(connection: Connection, campaign_id: int, chosen: Select[Any]) -> list[Query]:
    rows = connection.execute(chosen).all()
    items = campaigns.items(connection, campaign_id, [row.item_id for row in rows])
    found = [_query(row, item) for row, item in zip(rows, items, strict=True)]
    return sorted(found, key=lambda one: (one.round_index, one.purpose, one.rank, one.query_id))


def save_tasks(connection: Connection, campaign_id: int, tasks: Sequence[ExternalTask]) -> None:
    """Remember where queries live."""
    rows = [
        {
            "campaign_id": campaign_id,
            "query_id": task.query_id,
            "tool": task.annotator,
            "project": task.project,
            "task": task.task,
        }
        for task in tasks
    ]
    upsert(connection, ExternalTaskRow, rows, key=("campaign_id", "query_id", "tool"))


def settle(
    connection: Connection, campaign_id: int, settled: Sequence[tuple[str, Label]], skipped: Sequence[str]
) -> None:
    """Append the labels and close the queries; an answer outweighs a skip, before it or after."""
    _require(connection, campaign_id, [*(query_id for query_id, _ in settled), *skipped])
    labels.append(connection, campaign_id, [label for _, label in settled])
    _close(connection, campaign_id, [query_id for query_id, _ in settled], QueryState.LABELLED)
    _close(connection, campaign_id, skipped, QueryState.SKIPPED)


def _close(connection: Connection, campaign_id: int, query_ids: Sequence[str], state: QueryState) -> None:
    for page in pages(query_ids):
        unanswered = (
            QueryRow.campaign_id == campaign_id,
            QueryRow.query_id.in_(page),
            QueryRow.state != QueryState.LABELLED.value,
        )
        connection.execute(update(QueryRow).where(*unanswered).values(state=state.value))


def _require(connection: Connection, campaign_id: int, query_ids: Sequence[str]) -> None:
    known: set[str] = set()
    for page in pages(query_ids):
        chosen = select(QueryRow.query_id).where(
            QueryRow.campaign_id == campaign_id, QueryRow.query_id.in_(page)
        )
        known.update(connection.scalars(chosen))
    missing = sorted(set(query_ids) - known)
    if missing:
        raise StoreError(f"the query {missing[0]!r} was never asked in this campaign; nothing was written.")


def _unasked(campaign_id: int, query_ids: Sequence[str]) -> Delete:
    has_task = exists().where(
        ExternalTaskRow.campaign_id == campaign_id, ExternalTaskRow.query_id == QueryRow.query_id
    )
    answered = exists().where(
        AnnotationRow.campaign_id == campaign_id, AnnotationRow.query_id == QueryRow.query_id
    )
    return delete(QueryRow).where(
        QueryRow.campaign_id == campaign_id, QueryRow.query_id.in_(query_ids), ~has_task, ~answered
    )


def _row(campaign_id: int, query: Query) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id,
        "query_id": query.query_id,
        "item_id": query.item.item_id,
        "attempt": query.attempt,
        "round_index": query.round_index,
        "purpose": query.purpose.value,
        "rank": query.rank,
        "wanted": query.wanted,
        "state": query.state.value,
        **_reason(query.reason),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "base_uncertainty": reason.base_uncertainty,
        "adapted_uncertainty": reason.adapted_uncertainty,
        "blended": reason.blended,
        "reason": asdict(reason),
    }


def _query(row: Row[Any], item: Item) -> Query:
    return Query(
        query_id=row.query_id,
        item=item,
        round_index=row.round_index,
        purpose=Role(row.purpose),
        rank=row.rank,
        reason=Reason(**row.reason),
        attempt=row.attempt,
        wanted=row.wanted,
        state=QueryState(row.state),
    )
