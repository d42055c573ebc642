"""Who answers queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from star_al.types import Ensured, ExternalTask, Item, Poll, Query

StillOurs = Callable[[], None]
"""Raises ``LeaseLostError`` if another controller runs the campaign. Called before each change elsewhere."""

LoadItems = Callable[[Sequence[str]], list[Item]]
"""Loads items of the campaign by their ids, in order. Queries carry no texts: there may be many of both."""


class Annotator(Protocol):
    """Answers queries: people, or an oracle."""

    @property
    def place(self) -> str | None:
        """The URL where people label; ``None`` for a simulated annotator and before the first ``ensure``."""

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        """Make each query exist as exactly one open task. Safe to repeat.

        Args:
            queries: All open queries of the campaign.
            known: The tasks that earlier calls, perhaps of another process, made for the campaign.
            still_ours: Called before each change in the annotation tool.

        Raises:
            AnnotatorError: The annotation tool cannot be reached or refuses.
        """

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        """Get the annotations that are new or changed since ``cursor``, of any query ever ensured.

        May return again what it returned before. Call ``ensure`` first.

        Args:
            cursor: From the last poll; ``None`` for all annotations.
            still_ours: Called before each change in the annotation tool.

        Raises:
            AnnotatorError: The annotation tool cannot be reached or refuses.
        """

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        """Delete the tasks that nobody has touched; return the ids of those queries that have no task now.

        Raises:
            AnnotatorError: The annotation tool cannot be reached or refuses.
        """
