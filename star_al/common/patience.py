"""How a run waits for what it cannot reach now, the database or the annotation tool: one rule for both."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from star_al.errors import AwayError

T = TypeVar("T")

BRIEF = 3.0
"""Seconds that everybody waits for something that was reached before: a server that restarts, a lost connection."""

FOR_WORK = 15 * 60.0
"""Seconds that a run waits before it gives up what it has just computed. It is short enough to be noticed, and
longer than a restart or an upgrade of a server."""

TOOL = "annotation tool"
"""The source of an ``Outage`` of the annotation tool; a database is named by its address."""


@dataclass(frozen=True)
class Outage:
    """How an error is waited out.

    Attributes:
        seconds: How long, from the first failure on.
        longest_pause: Seconds between two tries, at most.
        message: What is said, once for each ``source``; None says nothing.
        source: What is away.
    """

    seconds: float
    longest_pause: float = 5.0
    message: str | None = None
    source: str = ""


class Patience:
    """Tries something again, after growing pauses, until it works or its time is over.

    One object serves all that a run does. It says once that something is away. When the run ends, it ends all
    waiting, in every thread; from then on everything is tried once.

    Args:
        waits: Wait for what is away; False gives up after ``BRIEF`` seconds, as ``--no-wait`` does.
        say: Where it says what is away.
    """

    def __init__(self, *, waits: bool = False, say: Callable[[str], None] = lambda _: None) -> None:
        self._waits, self._say = waits, say
        self._for_people = False
        self._ended = threading.Event()
        self._away: set[str] = set()

    @property
    def seconds(self) -> float:
        """How long something that was reached before is waited for at present."""
        if not self._waits:
            return BRIEF
        return math.inf if self._for_people else FOR_WORK

    @contextmanager
    def for_people(self) -> Iterator[None]:
        """Wait as long as it takes meanwhile: nothing is lost by waiting while people label."""
        self._for_people = True
        try:
            yield
        finally:
            self._for_people = False

    def end(self) -> None:
        """End all waiting."""
        self._ended.set()

    def again(self, act: Callable[[], T], outage: Callable[[BaseException], Outage | None]) -> T:
        """Call ``act`` until it succeeds.

        Args:
            act: What is tried; it may be repeated.
            outage: How an error of ``act`` is waited out; None for an error that is raised at once.

        Returns:
            What ``act`` returned.
        """
        failing_since: float | None = None
        sources: set[str] = set()

        def is_over(state: tenacity.RetryCallState) -> bool:
            nonlocal failing_since
            failing_since = time.monotonic() if failing_since is None else failing_since
            return self._ended.is_set() or time.monotonic() - failing_since >= _outage(state, outage).seconds

        def pause(state: tenacity.RetryCallState) -> float:
            longest = _outage(state, outage).longest_pause
            # Random, so that two controllers that collided do not collide again.
            return tenacity.wait_random_exponential(multiplier=0.05, max=longest)(state)

        def tell(state: tenacity.RetryCallState) -> None:
            self._tell(_outage(state, outage), sources)

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda exc: outage(exc) is not None),
            stop=is_over,
            wait=pause,
            sleep=tenacity.nap.sleep_using_event(self._ended),
            before_sleep=tell,
            reraise=True,
        )
        result: T = attempts(act)
        self._away -= sources
        return result

    def until_reached(self, act: Callable[[], T]) -> T:
        """Call ``act`` until the annotation tool answers; a run that does not wait calls it once.

        Raises:
            AwayError: The tool does not answer, and the run does not wait.
        """
        seconds = math.inf if self._waits else 0.0

        def outage(exc: BaseException) -> Outage | None:
            if not isinstance(exc, AwayError):
                return None
            return Outage(seconds, message=str(exc), source=TOOL)

        return self.again(act, outage)

    def announce(self, source: str, message: str) -> None:
        """Say that something is away, unless it was said since it was last there."""
        if source not in self._away:
            self._away.add(source)
            self._say(f"{message} Waiting until it is back.")

    def reached(self, source: str) -> None:
        """Note that something is there."""
        self._away.discard(source)

    def _tell(self, outage: Outage, sources: set[str]) -> None:
        if outage.message is not None and self._waits:
            sources.add(outage.source)
            self.announce(outage.source, outage.message)


def _outage(state: tenacity.RetryCallState, outage: Callable[[BaseException], Outage | None]) -> Outage:
    exc = state.outcome.exception() if state.outcome is not None else None
    found = None if exc is None else outage(exc)
    assert found is not None  # tenacity asks only about failures that are retried
    return found
