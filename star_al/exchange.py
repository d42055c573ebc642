"""Questions out, answers in: keep the annotation tool and the store in step."""

from __future__ import annotations

from star_al.parts import Parts
from star_al.settle import settle
from star_al.types import Event, Lease, Query


class StillOpenError(Exception):
    """Queries are open and nobody waits for them."""


def push_open(parts: Parts, lease: Lease) -> int:
    """Ensure that every open query of the campaign is a task, once; how many are open."""
    queries = parts.store.open_queries(parts.campaign.campaign_id)
    parts.store.save_tasks(lease, parts.annotator.ensure(queries))
    return len(queries)


def collect_open(parts: Parts, lease: Lease) -> None:
    """Take in answers until no query is open; late and corrected answers to closed ones count too.

    Raises:
        StillOpenError: queries are open and ``parts.wait`` gave up.
    """
    cursor = None
    refused: set[str] = set()
    while True:
        cursor = _take_in(parts, lease, cursor, refused)
        n_open = parts.store.count_open(parts.campaign.campaign_id)
        if not n_open:
            return
        if not parts.wait(n_open):
            raise StillOpenError(f"{n_open} queries are open")


def _take_in(parts: Parts, lease: Lease, cursor: str | None, refused: set[str]) -> str | None:
    """One poll: mirror what came, settle what it answers, tell once of answers that cannot be read."""
    campaign_id = parts.campaign.campaign_id
    poll = parts.annotator.poll(cursor)
    parts.store.mirror(lease, parts.spec.annotator.kind, poll.annotations)
    queries = _concerned(parts, {annotation.query_id for annotation in poll.annotations})
    known = parts.store.annotations(campaign_id, [query.query_id for query in queries])
    settled = settle(queries, known, parts.task)
    parts.store.settle(lease, settled.labels, settled.skipped)
    for complaint in settled.refused:
        if complaint not in refused:
            refused.add(complaint)
            parts.store.add_event(lease, Event("collect", f"not counted: {complaint}"))
            parts.progress.say(f"Not counted: {complaint}")
    return poll.cursor


def _concerned(parts: Parts, answered: set[str]) -> list[Query]:
    """The open queries, whose answers may be here since before a kill, and closed ones with new answers."""
    queries = parts.store.open_queries(parts.campaign.campaign_id)
    late = answered - {query.query_id for query in queries}
    if not late:
        return queries
    everything = parts.store.queries(parts.campaign.campaign_id)
    return queries + [query for query in everything if query.query_id in late]
