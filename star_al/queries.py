"""Queries and their keys: a request to label an item, first or again."""

from __future__ import annotations

import hashlib
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
        query_id=query_id(campaign_name, query.item.item_id, attempt),
        attempt=attempt,
        wanted=wanted,
        state=QueryState.OPEN,
        disputed=False,
        reason=replace(query.reason, text=f"{why}; {query.reason.text}"),
    )
