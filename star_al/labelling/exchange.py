"""Questions out, answers in: keep the annotation tool and the store in step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from star_al.errors import AwayError
from star_al.labelling.queries import items_in, next_attempt, without_label
from star_al.labelling.settle import Settled, newest_revisions, settle
from star_al.parts import LeasedParts, Parts
from star_al.types import Annotation, Event, Poll, Query, QueryState, Role, Waiting

_NEVER = datetime.max.replace(tzinfo=UTC)


class StillOpenError(Exception):
    """Queries are open and nobody waits for them; ``waiting`` tells of them."""

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        place = f" at {waiting.place}" if waiting.place else ""
        super().__init__(f"{_done(waiting)}{place}")


def push_open(parts: LeasedParts) -> int:
    """Ensure that every open query of the campaign is a task, once; how many are open."""
    campaign_id = parts.campaign.campaign_id
    queries = parts.store.open_queries(campaign_id)
    ensured = parts.annotator.ensure(queries, parts.store.tasks(campaign_id), _still_ours(parts))
    parts.store.save_tasks(parts.lease, ensured.tasks)
    if ensured.restored:
        _tell(parts, "push", f"{len(ensured.restored)} deleted tasks were made again")
    if ensured.dropped:
        parts.store.close_queries(parts.lease, [], ensured.dropped)
        _tell(parts, "push", f"{len(ensured.dropped)} open tasks were deleted: their items are dropped")
    return len(queries) - len(ensured.dropped)


def take_in_late(parts: LeasedParts) -> None:
    """Take in what has been answered or corrected since the last round was closed."""
    push_open(parts)
    Inbox(parts).take_in()


def wait_for_answers(
    parts: LeasedParts, round_index: int, purposes: Collection[Role], asked_at: datetime
) -> None:
    """Take in answers until enough of what a round asked for ``purposes`` is closed, or its time is over.

    Raises:
        StillOpenError: more is to come and ``parts.wait`` gave up.
    """
    inbox = Inbox(parts)
    rules = parts.spec.labelling
    share = rules.close_share if Role.POOL in purposes else 1.0  # a part of a random set is not random
    until = asked_at + timedelta(hours=rules.close_after_hours) if rules.close_after_hours else None
    while True:
        away = inbox.try_to_take_in()
        waiting = _waiting(parts, round_index, purposes, until)
        if waiting.closed >= math.ceil(share * waiting.asked - 1e-9):
            return
        if until is not None and datetime.now(UTC) >= until:
            _tell(parts, "collect", f"time is over: {_done(waiting)}")
            return
        if not parts.wait(waiting):
            raise away or StillOpenError(waiting)


def withdraw_buffer(parts: LeasedParts, next_round: int | None) -> None:
    """Take back what earlier rounds asked beyond their batches and nobody has touched.

    The rest goes on as part of round ``next_round`` (null: where it is).
    """
    campaign_id = parts.campaign.campaign_id
    stale = _buffered(parts, next_round)
    if not stale:
        return
    gone = parts.annotator.withdraw(stale, _still_ours(parts))
    if gone:
        message = f"{len(gone)} untouched tasks of the buffer were withdrawn"
        parts.store.withdraw_queries(parts.lease, gone, Event("push", message, next_round))
    if next_round is not None:
        rest = {query.query_id for query in parts.store.open_queries(campaign_id)}
        parts.store.carry_over(
            parts.lease, [query.query_id for query in stale if query.query_id in rest], next_round
        )


class Inbox:
    """Answers as they come; each poll starts where the one before ended."""

    def __init__(self, parts: LeasedParts) -> None:
        self.parts = parts
        self.campaign_id = parts.campaign.campaign_id
        self._cursor: str | None = None
        self._first = True  # answers may have been mirrored, but not settled, before a kill
        self._told = {event.message for event in parts.store.events(self.campaign_id)}
        self._is_away = False

    def try_to_take_in(self) -> AwayError | None:
        """One poll; the error of an annotation tool that is away, which is told once."""
        try:
            self.take_in()
        except AwayError as exc:
            if not self._is_away:
                self.parts.progress.say(f"{exc} Waiting for it.")
            self._is_away = True
            return exc
        self._is_away = False
        return None

    def take_in(self) -> None:
        """One poll: mirror what came, settle what it answers, ask again what the rules ask again."""
        parts = self.parts
        poll = parts.annotator.poll(self._cursor, _still_ours(parts))
        news = [*poll.annotations, *self._taken_back(poll)]
        parts.store.mirror(parts.lease, parts.spec.annotator.kind, news)
        again = self._settle_all(news) if news or self._first else []
        if again or poll.gone:
            push_open(parts)
        self._cursor, self._first = poll.cursor, False

    def _taken_back(self, poll: Poll) -> list[Annotation]:
        """Annotations that we have and their task, which was there before them, no longer has."""
        if not poll.complete:
            return []
        there = {annotation.external_id for annotation in poll.annotations}
        return [
            replace(annotation, withdrawn=True)
            for annotation in newest_revisions(self.parts.store.annotations(self.campaign_id))
            if annotation.external_id not in there
            and not annotation.withdrawn
            and annotation.created_at is not None
            and poll.complete.get(annotation.query_id, _NEVER) <= annotation.created_at
        ]

    def _settle_all(self, new: Collection[Annotation]) -> list[Query]:
        """Close what is answered; the further attempts that the rules ask for."""
        parts = self.parts
        settled = self._settle(new)
        self._tell_refused(settled.refused)
        again = self._follow_up(settled)
        parts.store.close_queries(
            parts.lease,
            settled.labels,
            [query.query_id for query in settled.skipped],
            [query.query_id for query in settled.disputed],
            follow_up=again,
        )
        return again

    def _settle(self, new: Collection[Annotation]) -> Settled:
        """Settle the open queries, and the closed ones with new answers."""
        store, rules = self.parts.store, self.parts.spec.labelling
        answered = {annotation.query_id for annotation in new}
        everything = store.queries(self.campaign_id)
        concerned = [
            query for query in everything if query.state is QueryState.OPEN or query.query_id in answered
        ]
        query_ids = {query.query_id for query in concerned}
        item_ids = {query.item.item_id for query in concerned}
        others = [
            query
            for query in everything
            if query.query_id not in query_ids
            and (rules.settle == "dawid_skene" or query.item.item_id in item_ids)
        ]
        known = store.annotations(self.campaign_id, [query.query_id for query in (*concerned, *others)])
        return settle(concerned, others, known, self.parts.task, rules)

    def _follow_up(self, settled: Settled) -> list[Query]:
        """Further attempts at what was skipped or disputed just now, as far as the rules ask for them."""
        rules, name = self.parts.spec.labelling, self.parts.campaign.name
        again = []
        for query in settled.skipped:
            if rules.skipped == "ask_again" and _may_try_again(query, rules.max_attempts):
                again.append(
                    next_attempt(query, name, wanted=rules.overlap, why="asked again: it was skipped")
                )
        for query in settled.disputed:
            if rules.disputed != "drop" and _may_try_again(query, rules.max_attempts):
                another = rules.disputed == "ask_another"
                why = "another opinion: answers disagree" if another else "asked again: answers disagree"
                again.append(next_attempt(query, name, wanted=1 if another else rules.overlap, why=why))
        return again

    def _tell_refused(self, complaints: Collection[str]) -> None:
        for complaint in complaints:
            message = f"counts as a skip: {complaint}"
            if message not in self._told:
                self._told.add(message)
                _tell(self.parts, "collect", message)


def _may_try_again(query: Query, max_attempts: int) -> bool:
    return query.state is QueryState.OPEN and query.attempt < max_attempts


def _waiting(
    parts: LeasedParts, round_index: int, purposes: Collection[Role], until: datetime | None
) -> Waiting:
    """How far the batch of a round is; further attempts at an item count as the item."""
    campaign_id = parts.campaign.campaign_id
    asked = parts.store.queries(campaign_id, round_index)
    batch = [query for query in asked if query.purpose in purposes and not query.buffer]
    items = {query.item.item_id for query in batch}
    given_up, _ = without_label(batch)
    answers = parts.store.annotations(campaign_id, [query.query_id for query in batch])
    people = {(each.query_id, each.annotator or "") for each in answers if not each.skipped}
    return Waiting(
        closed=len(items - items_in(batch, QueryState.OPEN)),
        asked=len(items),
        unlabelled=len(given_up),
        answers=dict(Counter(person for _, person in sorted(people)).most_common()),
        place=parts.annotator.place,
        until=until,
    )


def _done(waiting: Waiting) -> str:
    without = f", {waiting.unlabelled} of them without a label" if waiting.unlabelled else ""
    answers = sum(waiting.answers.values())
    so_far = f" ({answers} answers so far)" if answers > waiting.closed else ""
    return f"{waiting.closed} of {waiting.asked} are done{without}{so_far}"


def _buffered(parts: Parts, next_round: int | None) -> list[Query]:
    """Open queries that were asked beyond a batch, before round ``next_round`` (null: all)."""
    return [
        query
        for query in parts.store.open_queries(parts.campaign.campaign_id)
        if query.buffer and (next_round is None or query.round_index < next_round)
    ]


def _still_ours(parts: LeasedParts) -> Callable[[], None]:
    """Renews the lease, which fails when another controller has taken over."""
    return lambda: parts.store.renew_lease(parts.lease, parts.spec.database.lease_seconds)


def _tell(parts: LeasedParts, step: str, message: str) -> None:
    parts.store.add_event(parts.lease, Event(step, message))
    parts.progress.say(message[0].upper() + message[1:])
