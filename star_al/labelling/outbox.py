"""Push open queries to the annotation tool, and withdraw what nobody needs to answer any more."""

from __future__ import annotations

from star_al.common.wording import count, sentence_case
from star_al.parts import LeasedParts, Parts
from star_al.ports import StillOurs
from star_al.types import Event, Query


def push_open(parts: LeasedParts) -> int:
    """Make every open query exist as exactly one task, and return how many are open."""
    campaign_id = parts.campaign.campaign_id
    queries = parts.store.open_queries(campaign_id)
    ensured = parts.annotator.ensure(queries, parts.store.tasks(campaign_id), still_ours(parts))
    parts.store.save_tasks(parts.lease, ensured.tasks)
    if ensured.restored:
        record(parts, "push", f"recreated {count(len(ensured.restored), 'deleted task')}")
    if ensured.dropped:
        parts.store.close_queries(parts.lease, [], ensured.dropped)
        record(parts, "push", f"dropped {_with_deleted_tasks(len(ensured.dropped))}")
    return len(queries) - len(ensured.dropped)


def withdraw_buffer(parts: LeasedParts, next_round: int | None) -> None:
    """Withdraw the buffer queries of earlier rounds that nobody has touched.

    The others become part of round ``next_round``. If it is None, all buffer queries are withdrawn that can be,
    and the others stay in their rounds.
    """
    campaign_id = parts.campaign.campaign_id
    stale = _buffered(parts, next_round)
    if not stale:
        return
    gone = parts.annotator.withdraw(stale, still_ours(parts))
    if gone:
        message = f"withdrew {count(len(gone), 'untouched task')} from the buffer"
        parts.store.withdraw_queries(parts.lease, gone, Event("push", message, next_round))
    if next_round is not None:
        rest = {query.query_id for query in parts.store.open_queries(campaign_id)}
        parts.store.carry_over(
            parts.lease, [query.query_id for query in stale if query.query_id in rest], next_round
        )


def still_ours(parts: LeasedParts) -> StillOurs:
    """A function that renews the lease, which fails if another controller has taken over."""
    return lambda: parts.store.renew_lease(parts.lease, parts.spec.database.lease_seconds)


def record(parts: LeasedParts, step: str, message: str) -> None:
    """Log a message and print it.

    Args:
        parts: The campaign under its lease.
        step: The step that the message belongs to.
        message: One sentence without a capital or a full stop; it is printed with a capital.
    """
    parts.store.add_event(parts.lease, Event(step, message))
    parts.progress.say(sentence_case(message))


def _with_deleted_tasks(n: int) -> str:
    return f"{count(n, 'text')} whose {'task was' if n == 1 else 'tasks were'} deleted"


def _buffered(parts: Parts, next_round: int | None) -> list[Query]:
    """Open buffer queries of the rounds before ``next_round``; of all rounds if that is None."""
    return [
        query
        for query in parts.store.open_queries(parts.campaign.campaign_id)
        if query.buffer and (next_round is None or query.round_index < next_round)
    ]
