"""Queries: what was asked and why, in which round, and how each query ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)

from db import campaign_items, event_log, tasks
from db import labels as labels_
from db.statements import insert_new, now, pages
from db.tables import AnnotationRow, ExternalTaskRow, QueryRow
from star_al.errors import StoreError
from star_al.types import Event, Label, Query, QueryState, Reason, Role

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
    QueryRow.buffer,
    QueryRow.disputed,
    QueryRow.control,
)
_OPEN = QueryRow.state == QueryState.OPEN.value
_WAITS_IN_BUFFER = QueryRow.buffer & _OPEN
_HAS_TASK = exists().where(
    ExternalTaskRow.campaign_id == QueryRow.campaign_id, ExternalTaskRow.query_id == QueryRow.query_id
)
_ANSWERED = exists().where(
    AnnotationRow.campaign_id == QueryRow.campaign_id, AnnotationRow.query_id == QueryRow.query_id
)


def add(connection: Connection, campaign_id: int, queries: Sequence[Query], event: Event) -> None:
    """Insert the queries that do not exist yet, and log the event."""
    _insert(connection, campaign_id, queries)
    event_log.append(connection, campaign_id, event)


def _insert(connection: Connection, campaign_id: int, queries: Sequence[Query]) -> None:
    """Insert the queries that do not exist yet."""
    campaign_items.require(connection, campaign_id, [query.item_id for query in queries])
    moment = now(connection)
    insert_new(
        connection, QueryRow, [{**_row(campaign_id, query), "created_at": moment} for query in queries]
    )


def replace(connection: Connection, campaign_id: int, round_index: int, queries: Sequence[Query]) -> None:
    """Replace the round's queries of the same purposes.

    A query that exists keeps its state and, unless it is an open buffer query, its round. A query that is
    not among ``queries`` is deleted unless it has a task or an annotation.
    """
    wanted = {query.query_id for query in queries}
    purposes = {query.purpose.value for query in queries}
    stale = [
        query.query_id
        for query in load(connection, campaign_id, round_index)
        if query.purpose.value in purposes and query.query_id not in wanted and query.state is QueryState.OPEN
    ]
    for page in pages(stale):
        connection.execute(delete(QueryRow).where(_among(campaign_id, page), ~_HAS_TASK, ~_ANSWERED))
    _insert(connection, campaign_id, queries)
    asked = [
        {"this": query.query_id, "rank": query.rank, "wanted": query.wanted, **_reason(query.reason)}
        for query in queries
    ]
    moved = [
        {**values, "round_index": query.round_index, "buffer": query.buffer, "control": query.control}
        for values, query in zip(asked, queries, strict=True)
    ]
    _change(connection, campaign_id, asked, QueryRow.round_index == round_index)
    _change(connection, campaign_id, moved, _WAITS_IN_BUFFER)


def _change(
    connection: Connection, campaign_id: int, rows: Sequence[Mapping[str, object]], which: ColumnElement[bool]
) -> None:
    """Update queries: each row has the new values of the query with id ``this``, if it is one of ``which``."""
    this = (QueryRow.campaign_id == campaign_id) & (QueryRow.query_id == bindparam("this"))
    for page in pages(rows):
        connection.execute(update(QueryRow).where(this, which), page)


def load(connection: Connection, campaign_id: int, round_index: int | None = None) -> list[Query]:
    """Queries of one round or all, ordered by round, purpose and rank."""
    chosen = select(*_COLUMNS).where(QueryRow.campaign_id == campaign_id)
    if round_index is not None:
        chosen = chosen.where(QueryRow.round_index == round_index)
    return _ordered(connection.execute(chosen))


def load_open(connection: Connection, campaign_id: int) -> list[Query]:
    """Queries that wait for an answer, ordered by round, purpose and rank."""
    return _ordered(connection.execute(select(*_COLUMNS).where(QueryRow.campaign_id == campaign_id, _OPEN)))


def load_attempts(connection: Connection, campaign_id: int, query_ids: Sequence[str]) -> list[Query]:
    """These queries and all other attempts at their items, ordered by round, purpose and rank."""
    item_ids = {
        item_id
        for page in pages(query_ids)
        for item_id in connection.scalars(select(QueryRow.item_id).where(_among(campaign_id, page)))
    }
    of_items = (
        select(*_COLUMNS).where(QueryRow.campaign_id == campaign_id, QueryRow.item_id.in_(page))
        for page in pages(item_ids)
    )
    return _ordered(row for chosen in of_items for row in connection.execute(chosen))


def _ordered(rows: Iterable[Row[Any]]) -> list[Query]:
    return sorted(map(_query, rows), key=lambda one: (one.round_index, one.purpose, one.rank, one.query_id))


def withdraw(connection: Connection, campaign_id: int, query_ids: Sequence[str], event: Event) -> None:
    """Delete queries that are open and have no annotation, with their tasks; log the event."""
    for page in pages(query_ids):
        chosen = select(QueryRow.query_id).where(_among(campaign_id, page), _OPEN, ~_ANSWERED)
        untouched = connection.scalars(chosen).all()
        tasks.forget(connection, campaign_id, untouched)
        connection.execute(delete(QueryRow).where(_among(campaign_id, untouched)))
    event_log.append(connection, campaign_id, event)


def carry_over(connection: Connection, campaign_id: int, query_ids: Sequence[str], round_index: int) -> None:
    """Move open buffer queries of other rounds behind the last ranks of this one, in the order given."""
    elsewhere = _WAITS_IN_BUFFER & (QueryRow.round_index != round_index)
    purpose_of: dict[str, str] = {}
    for page in pages(query_ids):
        chosen = select(QueryRow.query_id, QueryRow.purpose).where(_among(campaign_id, page), elsewhere)
        purpose_of.update(connection.execute(chosen).all())
    last = Counter(_last_ranks(connection, campaign_id, round_index))
    moved = []
    for query_id in dict.fromkeys(query_ids):
        if purpose := purpose_of.get(query_id):
            last[purpose] += 1
            moved.append({"this": query_id, "round_index": round_index, "rank": last[purpose]})
    _change(connection, campaign_id, moved, elsewhere)


def _last_ranks(connection: Connection, campaign_id: int, round_index: int) -> dict[str, int]:
    """The highest rank of a round, by purpose."""
    chosen = (
        select(QueryRow.purpose, func.max(QueryRow.rank))
        .where(QueryRow.campaign_id == campaign_id, QueryRow.round_index == round_index)
        .group_by(QueryRow.purpose)
    )
    return dict(connection.execute(chosen).all())


def close(
    connection: Connection,
    campaign_id: int,
    labels: Sequence[tuple[str, Label]],
    skipped: Sequence[str],
    disputed: Sequence[str] = (),
    follow_up: Sequence[Query] = (),
) -> None:
    """Close queries with labels or without, and add those that ask again; a label outweighs a skip.

    Raises:
        StoreError: A query was never asked, or a label has no value.
    """
    labelled = [query_id for query_id, _ in labels]
    _require(connection, campaign_id, [*labelled, *skipped, *disputed])
    labels_.append(connection, campaign_id, [label for _, label in labels])
    _end(connection, campaign_id, labelled, state=QueryState.LABELLED.value)
    _end(connection, campaign_id, skipped, state=QueryState.SKIPPED.value)
    _end(connection, campaign_id, disputed, state=QueryState.SKIPPED.value, disputed=True)
    _insert(connection, campaign_id, follow_up)


def _end(connection: Connection, campaign_id: int, query_ids: Sequence[str], **ending: object) -> None:
    for page in pages(query_ids):
        unlabelled = QueryRow.state != QueryState.LABELLED.value
        connection.execute(update(QueryRow).where(_among(campaign_id, page), unlabelled).values(ending))


def known(connection: Connection, campaign_id: int, query_ids: Sequence[str]) -> set[str]:
    """The ids among ``query_ids`` that are queries of the campaign."""
    return {
        query_id
        for page in pages(query_ids)
        for query_id in connection.scalars(select(QueryRow.query_id).where(_among(campaign_id, page)))
    }


def _require(connection: Connection, campaign_id: int, query_ids: Sequence[str]) -> None:
    missing = sorted(set(query_ids) - known(connection, campaign_id, query_ids))
    if missing:
        raise StoreError(f"the query {missing[0]!r} was never asked in this campaign; nothing was written.")


def _among(campaign_id: int, query_ids: Sequence[str]) -> ColumnElement[bool]:
    return (QueryRow.campaign_id == campaign_id) & QueryRow.query_id.in_(query_ids)


def _row(campaign_id: int, query: Query) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id,
        "query_id": query.query_id,
        "item_id": query.item_id,
        "attempt": query.attempt,
        "round_index": query.round_index,
        "purpose": query.purpose.value,
        "rank": query.rank,
        "wanted": query.wanted,
        "state": query.state.value,
        "buffer": query.buffer,
        "disputed": query.disputed,
        "control": query.control,
        **_reason(query.reason),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "base_uncertainty": reason.base_uncertainty,
        "adapted_uncertainty": reason.adapted_uncertainty,
        "blended": reason.blended,
        "reason": asdict(reason),
    }


def _query(row: Row[Any]) -> Query:
    return Query(
        query_id=row.query_id,
        item_id=row.item_id,
        round_index=row.round_index,
        purpose=Role(row.purpose),
        rank=row.rank,
        reason=Reason(**row.reason),
        attempt=row.attempt,
        wanted=row.wanted,
        state=QueryState(row.state),
        buffer=row.buffer,
        disputed=row.disputed,
        control=row.control,
    )
