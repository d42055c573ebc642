"""Moments in the life of a controller that runs in a thread: at one of them it dies or stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from star_al.ports import Store

WRITES = {
    "renew_lease",
    "save_tasks",
    "mirror",
    "close_queries",
    "add_queries",
    "commit_step",
    "start_round",
    "withdraw_queries",
}


class Killed(BaseException):
    """kill -9, as far as a thread can be killed: nothing may catch it."""


class Moments:
    """Counts the writes of one controller, and does at one moment of them what it is told to."""

    def __init__(self, at: int | None = None, do: Callable[[], None] | None = None) -> None:
        self._at, self._do, self.count = at, do, 0

    def one(self) -> None:
        self.count += 1
        if self.count == self._at and self._do is not None:
            self._do()


class WatchedStore:
    """A store whose writes are moments, each before and after it."""

    def __init__(self, store: Store, moments: Moments) -> None:
        self._store, self._moments = store, moments

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in WRITES:
            return method

        def watched(*args: Any, **kwargs: Any) -> Any:
            self._moments.one()
            result = method(*args, **kwargs)
            self._moments.one()
            return result

        return watched


def die() -> None:
    """What a controller does that is killed."""
    raise Killed
