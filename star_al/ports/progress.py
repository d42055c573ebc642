"""Where the loop reports what it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units (items, steps) done since the last call."""


def ignore(_: int) -> None:
    """Take progress that nobody watches."""


class Progress(Protocol):
    """A terminal, a log, or nothing."""

    def say(self, message: str) -> None:
        """Print one line."""

    def task(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Show a bar with a time estimate for a task of ``total`` units; ``None`` if the total is unknown."""

    def waiting(self, message: str | None) -> None:
        """Show what the loop waits for, replacing what the last call showed; ``None`` ends it."""
