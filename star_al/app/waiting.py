"""How a run waits for people: what it shows, how long it pauses between polls, and what wakes it up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from star_al.errors import AnnotatorError
from star_al.ports import Progress
from star_al.types import Waiting

FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.5, 1.5, 30.0
"""Seconds between two polls: short while answers arrive, longer while nobody labels."""

AT_WORK = 120.0
"""Seconds after an answer in which pauses stay short: whoever reads a text for a minute must not wait for a poll when
the answer to it was the last of the batch."""

LEASE_EVERY = 0.5
"""Seconds between two checks of the lease during a pause."""

NAMES_SHOWN = 5


@dataclass(frozen=True)
class WebhookOptions:
    """The address that listens for webhooks (HOST:PORT, port 0 for any), and its URL for Label Studio."""

    bind: str = "127.0.0.1:0"
    url: str | None = None


class Hints(Protocol):
    """A source of hints that answers have arrived, such as a webhook."""

    @property
    def woken(self) -> threading.Event:
        """An event that is set when answers may have arrived."""

    def attach(self, place: str) -> None:
        """Listen for answers that are given at ``place``.

        Raises:
            AnnotatorError: This is not possible; polling still finds the answers.
        """


class Waiter:
    """Shows what a round waits for and pauses until the next poll.

    Args:
        progress: Where the line is shown.
        check: Raises ``LeaseLostError`` if another controller has taken over the campaign.
        no_wait: Do not wait for people, only for what the machine does beside.
        hints: Ends a pause early when answers have arrived.
    """

    def __init__(
        self,
        progress: Progress,
        check: Callable[[], None],
        *,
        no_wait: bool = False,
        hints: Hints | None = None,
    ) -> None:
        self._progress, self._check = progress, check
        self._no_wait, self._hints = no_wait, hints
        self._woken = threading.Event() if hints is None else hints.woken
        self._pauses = Pauses()
        self._shown_error: str | None = None  # why there is no webhook

    def __call__(self, waiting: Waiting) -> bool:
        """Pause until the next poll.

        Returns:
            True to poll again; False, without a pause, if the run does not wait.

        Raises:
            LeaseLostError: Another controller has taken over the campaign.
        """
        if self._no_wait and waiting.beside is None:
            return False
        left = _seconds_left(waiting)
        if left <= 0:
            return True
        self._listen(waiting.place)
        self._progress.waiting(in_words(waiting))
        self._pause(min(self._pauses.after(waiting), left))
        return True

    def _listen(self, place: str | None) -> None:
        if self._hints is None or place is None:
            return
        try:
            self._hints.attach(place)
        except AnnotatorError as exc:
            if str(exc) != self._shown_error:
                self._shown_error = str(exc)
                self._progress.say(f"{exc} Polling for answers instead.")

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            if self._woken.wait(min(left, LEASE_EVERY)):
                break
        self._woken.clear()  # before the poll, so that a hint that arrives during it is not lost
        self._check()


class Pauses:
    """Seconds until the next poll, which grow while nobody answers."""

    def __init__(self) -> None:
        self._seen: tuple[int, Mapping[str, int]] | None = None
        self._next = FIRST_PAUSE
        self._short = 0.0  # seconds for which pauses stay short

    def after(self, waiting: Waiting) -> float:
        """Return how long to pause after a poll with this result."""
        seen = waiting.closed, dict(waiting.answers)
        if seen != self._seen:
            self._short = AT_WORK if self._seen is not None else 0.0
            self._seen, self._next = seen, FIRST_PAUSE
        pause = self._next
        if self._short > 0:
            self._short -= pause
        else:
            self._next = min(pause * GROWTH, LONGEST_PAUSE)
        return pause


def in_words(waiting: Waiting) -> str:
    """Describe in one line how many texts are labelled, by whom, where, and until when."""
    parts = [f"{waiting.closed - waiting.unlabelled:,} of {waiting.asked:,} labelled"]
    if waiting.unlabelled:
        parts.append(f"{waiting.unlabelled:,} without a label")
    if waiting.disputed:
        parts.append(f"{waiting.disputed:,} disputed")
    if waiting.answers:
        parts.append(_by_whom(waiting.answers))
    if waiting.place:
        parts.append(waiting.place)
    if waiting.until:
        parts.append(f"closes {clock(waiting.until, datetime.now(UTC))}")
    if waiting.beside:
        parts.append(waiting.beside)
    return " · ".join(parts)


def _by_whom(answers: Mapping[str, int]) -> str:
    ranked = sorted(answers.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{name or 'unnamed'} {n:,}" for name, n in ranked[:NAMES_SHOWN]]
    hidden = len(ranked) - len(shown)
    return ", ".join(shown) + (f" and {hidden} more" if hidden else "")


def clock(moment: datetime, now: datetime) -> str:
    """Format a moment in local time, with the date unless it is today."""
    here = moment.astimezone()
    day = "" if here.date() == now.astimezone().date() else f"on {here:%Y-%m-%d} "
    return f"{day}at {here:%H:%M}"


def _seconds_left(waiting: Waiting) -> float:
    if waiting.until is None:
        return float("inf")
    return (waiting.until - datetime.now(UTC)).total_seconds()
