"""Queries: their keys, further attempts, and what became of their items."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from star_al.types import Query, QueryState


def query_id(campaign_name: str, item_id: str, attempt: int) -> str:
    """The key of a query: the same after every restart, and unique among campaigns in one annotation tool.

    Args:
        campaign_name: The campaign's name.
        item_id: The item to label.
        attempt: 1 for the first query about the item, then counted up.
    """
    return hashlib.sha256(f"{campaign_name}\n{item_id}\n{attempt}".encode()).hexdigest()[:32]


def next_attempt(query: Query, campaign_name: str, *, wanted: int, why: str) -> Query:
    """A query that asks ``wanted`` people to label the same item again, in the same round.

    Args:
        query: The attempt before.
        campaign_name: The campaign's name, for the key.
        wanted: How many people are to answer.
        why: Why it is asked again; put in front of the query's reason.
    """
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
    """Ids of the items that have a query in this state; other attempts at an item may be in another."""
    return {query.item_id for query in queries if query.state is state}


def without_label(queries: Sequence[Query]) -> tuple[set[str], set[str]]:
    """Items whose queries were all closed without a label.

    Returns:
        Their ids, and the ids of those among them that were disputed.
    """
    dropped = (
        items_in(queries, QueryState.SKIPPED)
        - items_in(queries, QueryState.OPEN)
        - items_in(queries, QueryState.LABELLED)
    )
    return dropped, dropped & {query.item_id for query in queries if query.disputed}
