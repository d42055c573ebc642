"""A progress display that keeps its messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from star_al.ports import Advance


class Quiet:
    """Implements ``ports.Progress`` without printing."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waited: list[str | None] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        yield lambda n: None

    def waiting(self, message: str | None) -> None:
        self.waited.append(message)
