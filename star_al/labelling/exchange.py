"""Exchange with the annotation tool until enough of a round is answered."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from star_al.common.wording import count
from star_al.errors import AwayError
from star_al.labelling.by_hand import is_closed_by_hand, refuse_if_paused, withdraw_round
from star_al.labelling.inbox import Inbox
from star_al.labelling.outbox import push_open, record
from star_al.parts import LeasedParts
from star_al.types import Role, Waiting


class StillOpenError(Exception):
    """Queries are open and the run does not wait for them; ``waiting`` says how far they are."""

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        place = f" at {waiting.place}" if waiting.place else ""
        super().__init__(f"{_done(waiting)}{place}")


def take_in_late(parts: LeasedParts) -> None:
    """Take in answers and corrections that came after the last round was closed."""

    def once() -> None:
        push_open(parts)  # a new process must tell the annotator which tasks exist before it can poll
        Inbox(parts).take_in()

    parts.patience.until_reached(once)


def wait_for_answers(
    parts: LeasedParts,
    round_index: int,
    purposes: Collection[Role],
    asked_at: datetime,
    *,
    closing: int,
) -> None:
    """Take in answers until enough of a round's queries are closed, its time is over, or a person closes it.

    Args:
        parts: The campaign under its lease.
        round_index: The round whose queries are waited for.
        purposes: The purposes of these queries.
        asked_at: When they were sent to the annotation tool.
        closing: The round in the campaign's marks whose closing by hand ends this.

    Raises:
        PausedError: Somebody has paused the campaign.
        StillOpenError: Queries are open and ``parts.wait`` gave up.
        AwayError: The annotation tool cannot be reached and ``parts.wait`` gave up.
    """
    with parts.patience.for_people():
        _wait_for_answers(parts, round_index, purposes, asked_at, closing)


def _wait_for_answers(
    parts: LeasedParts, round_index: int, purposes: Collection[Role], asked_at: datetime, closing: int
) -> None:
    inbox = Inbox(parts)
    rules = parts.spec.labelling
    share = rules.close_share if Role.POOL in purposes else 1.0  # a part of a random set is not random
    until = asked_at + timedelta(hours=rules.close_after_hours) if rules.close_after_hours else None
    while True:
        # Polled before the clock is read: a run that starts after the deadline still takes what came before it.
        away = inbox.try_to_take_in()
        waiting = replace(
            parts.store.waiting(parts.campaign.campaign_id, round_index, purposes),
            place=parts.annotator.place,
            until=until,
        )
        # 0.07 · 100 is 7.000000000000001 in floating point: without the margin, an eighth would be waited for.
        if waiting.closed >= math.ceil(share * waiting.asked - 1e-9):
            return
        if until is not None and datetime.now(UTC) >= until:
            record(parts, "collect", f"the labelling period is over: {_done(waiting)}")
            return
        if away is None and is_closed_by_hand(parts, closing):
            with suppress(AwayError):
                withdraw_round(parts, round_index, purposes)
                inbox.take_in()  # what was answered until the last moment
                return
        refuse_if_paused(parts)
        if not parts.wait(waiting):
            raise away or StillOpenError(waiting)


def _done(waiting: Waiting) -> str:
    notes = [f"{waiting.unlabelled:,} without a label"] if waiting.unlabelled else []
    notes += [f"{waiting.disputed:,} disputed"] if waiting.disputed else []
    without = f" ({', '.join(notes)})" if notes else ""
    verb = "is" if waiting.closed == 1 else "are"
    answers = sum(waiting.answers.values())
    so_far = f", with {count(answers, 'answer')} so far" if answers > waiting.closed else ""
    return f"{waiting.closed:,} of {waiting.asked:,} {verb} done{without}{so_far}"
