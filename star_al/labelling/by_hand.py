"""What people ask of a running campaign: to pause, or to close a round with the answers it has."""

from __future__ import annotations

from collections.abc import Collection

from star_al.common.wording import count
from star_al.labelling.outbox import record, still_ours
from star_al.parts import LeasedParts, Parts
from star_al.types import Event, Query, Role

WITHDRAWN = "withdrawn"
"""In the detail of an event: ranks of the batch's items that were withdrawn, by item id."""


class PausedError(Exception):
    """The campaign was paused by hand."""


def refuse_if_paused(parts: Parts) -> None:
    """Check that nobody has paused the campaign.

    Raises:
        PausedError: Somebody has.
    """
    paused_at = parts.store.marks(parts.campaign.campaign_id).paused_at
    if paused_at is not None:
        raise PausedError(f"since {paused_at.astimezone():%Y-%m-%d %H:%M}")


def is_closed_by_hand(parts: Parts, closing: int) -> bool:
    """True if a round is to go on with the answers it has; ``HELD_OUT`` for the labels before round 0."""
    closed = parts.store.marks(parts.campaign.campaign_id).close_round
    return closed is not None and closed >= closing


def withdraw_round(parts: LeasedParts, round_index: int, purposes: Collection[Role]) -> None:
    """Withdraw the open queries of a round that nobody has touched; their items go back to where they came from.

    A query with an answer stays open; further answers to it count later.

    Raises:
        AwayError: The annotation tool is away; call again to go on.
    """
    campaign_id = parts.campaign.campaign_id
    open_ = [
        query
        for query in parts.store.open_queries(campaign_id)
        if query.round_index == round_index and query.purpose in purposes and not query.buffer
    ]
    gone = frozenset(parts.annotator.withdraw(open_, still_ours(parts))) if open_ else frozenset()
    answered = {each.query_id for each in parts.store.annotations(campaign_id, sorted(gone))}
    withdrawn = [query for query in open_ if query.query_id in gone - answered]
    if withdrawn:
        detail = {WITHDRAWN: {query.item_id: query.rank for query in withdrawn if _is_of_batch(query)}}
        message = f"closed by hand: withdrew {count(len(withdrawn), 'open text')}"
        event = Event("collect", message, round_index, detail=detail)
        parts.store.withdraw_queries(parts.lease, [query.query_id for query in withdrawn], event)
        parts.progress.say(f"Round {round_index} · {message}")
    else:
        record(parts, "collect", "closed by hand")


def _is_of_batch(query: Query) -> bool:
    return query.purpose is Role.POOL and query.attempt == 1


def withdrawn_ranks(parts: Parts, round_index: int) -> dict[str, int]:
    """Ranks of the items of a round's batch that were withdrawn when the round was closed by hand, by item id."""
    ranks: dict[str, int] = {}
    for event in parts.store.events(parts.campaign.campaign_id):
        found = event.detail.get(WITHDRAWN)
        if event.round_index == round_index and isinstance(found, dict):
            ranks |= {item_id: int(rank) for item_id, rank in found.items()}
    return ranks
