"""Let a controller in a thread die or pause before or after any of its writes."""

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
    """Stands for kill -9 in a thread; no code may catch it."""


class Moments:
    """Counts the writes of one controller and calls a function before or after one of them."""

    def __init__(self, at: int | None = None, do: Callable[[], None] | None = None) -> None:
        self._at, self._do, self.count = at, do, 0

    def one(self) -> None:
        self.count += 1
        if self.count == self._at and self._do is not None:
            self._do()


class WatchedStore:
    """A store that reports each write to ``Moments``, before and after."""

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
    """Die as if killed."""
    raise Killed
