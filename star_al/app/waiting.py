"""How a run waits for people: what it shows, how long it pauses between polls, and what wakes it."""

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

FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 1.0, 1.5, 30.0
"""Seconds between two polls: short as long as answers come, longer while nobody labels."""

LEASE_EVERY = 0.5
"""Seconds after which a pause looks whether the campaign is still ours."""

NAMES_SHOWN = 5


@dataclass(frozen=True)
class WebhookOptions:
    """Where webhooks are listened for (HOST:PORT, port 0: any), and how Label Studio reaches that address."""

    bind: str = "127.0.0.1:0"
    url: str | None = None


class Hints(Protocol):
    """Something that may know of answers before the next poll."""

    @property
    def woken(self) -> threading.Event:
        """Set when there may be answers."""

    def attach(self, place: str) -> None:
        """Listen for answers given at ``place``.

        Raises:
            AnnotatorError: it cannot be done; the next polls bring them all the same.
        """


class Waiter:
    """``Parts.wait``: show what is waited for, and pause until the next poll.

    ``check`` raises when the campaign is no longer ours.
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
        self._told: str | None = None  # why there is no webhook

    def __call__(self, waiting: Waiting) -> bool:
        """Whether to poll again; false where nobody waits."""
        if self._no_wait:
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
            if str(exc) != self._told:
                self._told = str(exc)
                self._progress.say(f"{exc} Answers are polled for.")

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            if self._woken.wait(min(left, LEASE_EVERY)):
                break
        self._woken.clear()  # before the poll, so that what comes meanwhile is not missed
        self._check()


class Pauses:
    """Seconds to the next poll; they grow as long as nothing happens."""

    def __init__(self) -> None:
        self._seen: tuple[int, Mapping[str, int]] | None = None
        self._next = FIRST_PAUSE

    def after(self, waiting: Waiting) -> float:
        """How long to pause after a poll that has found this."""
        seen = waiting.closed, dict(waiting.answers)
        if seen != self._seen:
            self._seen, self._next = seen, FIRST_PAUSE
        pause, self._next = self._next, min(self._next * GROWTH, LONGEST_PAUSE)
        return pause


def in_words(waiting: Waiting) -> str:
    """One line: how many are labelled, by whom, where, and until when."""
    parts = [f"{waiting.closed - waiting.unlabelled:,} of {waiting.asked:,} labelled"]
    if waiting.unlabelled:
        parts.append(f"{waiting.unlabelled:,} without a label")
    if waiting.answers:
        parts.append(_by_whom(waiting.answers))
    if waiting.place:
        parts.append(waiting.place)
    if waiting.until:
        parts.append(f"closes {_clock(waiting.until, datetime.now(UTC))}")
    return " · ".join(parts)


def _by_whom(answers: Mapping[str, int]) -> str:
    ranked = sorted(answers.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{name or 'somebody'} {n:,}" for name, n in ranked[:NAMES_SHOWN]]
    hidden = len(ranked) - len(shown)
    return ", ".join(shown) + (f" and {hidden} more" if hidden else "")


def _clock(moment: datetime, now: datetime) -> str:
    """In the time of this machine; with the day where that is another."""
    here = moment.astimezone()
    day = "" if here.date() == now.astimezone().date() else f"on {here:%Y-%m-%d} "
    return f"{day}at {here:%H:%M}"


def _seconds_left(waiting: Waiting) -> float:
    if waiting.until is None:
        return float("inf")
    return (waiting.until - datetime.now(UTC)).total_seconds()
