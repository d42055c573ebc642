"""The one transaction that ends a step of a round."""

from __future__ import annotations

from sqlalchemy import Connection

from db import event_log, queries, rounds
from star_al.types import NO_RESULTS, Event, Round, StepResults


def commit(
    connection: Connection,
    campaign_id: int,
    round_: Round,
    event: Event,
    results: StepResults = NO_RESULTS,
) -> None:
    """Store the round's new values and state, the results of the step, and its event."""
    rounds.save(connection, campaign_id, round_, results)
    if results.queries:
        queries.replace(connection, campaign_id, round_.index, results.queries)
    event_log.append(connection, campaign_id, event)
