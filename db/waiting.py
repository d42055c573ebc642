"""How far the batch of a round is, counted by the database: a poll must not load every query."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, case, func, select

from db.tables import AnnotationRow, QueryRow
from star_al.types import QueryCounts, QueryState, Role, Waiting


def count(connection: Connection, campaign_id: int, round_index: int, purposes: Collection[Role]) -> Waiting:
    """Count the items of a round's batch by what became of them; all attempts at an item count as the item.

    Items are asked for ``purposes``; the buffer does not count.
    """
    batch = (
        (QueryRow.campaign_id == campaign_id)
        & (QueryRow.round_index == round_index)
        & QueryRow.purpose.in_([purpose.value for purpose in purposes])
        & ~QueryRow.buffer
    )
    items = (
        select(
            _any(QueryRow.state == QueryState.OPEN.value).label("open"),
            _any(QueryRow.state == QueryState.LABELLED.value).label("labelled"),
            _any(QueryRow.disputed.is_(True)).label("disputed"),
        )
        .where(batch)
        .group_by(QueryRow.item_id)
        .subquery()
    )
    unlabelled = (1 - items.c.open) * (1 - items.c.labelled)
    in_dispute = items.c.disputed * (1 - items.c.labelled)
    asked, still_open, without_label, disputed = connection.execute(
        select(func.count(), func.sum(items.c.open), func.sum(unlabelled), func.sum(in_dispute)).select_from(
            items
        )
    ).one()
    return Waiting(
        closed=asked - (still_open or 0),
        asked=asked,
        unlabelled=without_label or 0,
        disputed=disputed or 0,
        answers=_answers(connection, batch),
    )


def query_counts(connection: Connection, campaign_id: int) -> QueryCounts:
    """Count the queries that are open, and the items by what became of them."""
    is_open = QueryRow.state == QueryState.OPEN.value
    items = (
        select(
            func.sum(case((is_open, 1), else_=0)).label("n_open"),
            _any(is_open).label("open"),
            _any(QueryRow.state == QueryState.LABELLED.value).label("labelled"),
            _any(QueryRow.disputed.is_(True)).label("disputed"),
        )
        .where(QueryRow.campaign_id == campaign_id)
        .group_by(QueryRow.item_id)
        .subquery()
    )
    dropped = (1 - items.c.open) * (1 - items.c.labelled)
    columns = (items.c.n_open, dropped, dropped * items.c.disputed, items.c.open * items.c.disputed)
    row = connection.execute(select(*(func.coalesce(func.sum(each), 0) for each in columns))).one()
    return QueryCounts(*map(int, row))


def _any(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """1 if the condition is true for one of a group of queries, else 0."""
    return func.max(case((condition, 1), else_=0))


def _answers(connection: Connection, batch: ColumnElement[bool]) -> dict[str, int]:
    """How many of the queries each annotator has answered, the busiest annotator first."""
    same_query = (AnnotationRow.campaign_id == QueryRow.campaign_id) & (
        AnnotationRow.query_id == QueryRow.query_id
    )
    annotator = func.coalesce(AnnotationRow.annotator, "")
    counted = (
        select(annotator, func.count(AnnotationRow.query_id.distinct()))
        .select_from(QueryRow)
        .join(AnnotationRow, same_query)
        .where(batch, ~AnnotationRow.skipped)
        .group_by(annotator)
    )
    counts = [(str(name), int(n)) for name, n in connection.execute(counted)]
    return dict(sorted(counts, key=lambda each: (-each[1], each[0])))
