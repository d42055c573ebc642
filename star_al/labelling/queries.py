"""Queries and their keys: a request to label an item, first or again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from star_al.types import Query, QueryState


def query_id(campaign_name: str, item_id: str, attempt: int) -> str:
    """The key of a query, the same after every restart and unique over campaigns in one annotation tool."""
    return hashlib.sha256(f"{campaign_name}\n{item_id}\n{attempt}".encode()).hexdigest()[:32]


def next_attempt(query: Query, campaign_name: str, *, wanted: int, why: str) -> Query:
    """A query that asks ``wanted`` people the same item once more, in the same round."""
    attempt = query.attempt + 1
    return replace(
        query,
        query_id=query_id(campaign_name, query.item_id, attempt),
        attempt=attempt,
        wanted=wanted,
        state=QueryState.OPEN,
        disputed=False,
        reason=replace(query.reason, text=f"{why}; {query.reason.text}"),
    )


def items_in(queries: Sequence[Query], state: QueryState) -> set[str]:
    """Ids of the items that have a query in this state; further attempts may be in another."""
    return {query.item_id for query in queries if query.state is state}


def without_label(queries: Sequence[Query]) -> tuple[set[str], set[str]]:
    """Ids of the items that were given up, and of those among them whose annotators disagreed."""
    given_up = (
        items_in(queries, QueryState.SKIPPED)
        - items_in(queries, QueryState.OPEN)
        - items_in(queries, QueryState.LABELLED)
    )
    return given_up, given_up & {query.item_id for query in queries if query.disputed}
