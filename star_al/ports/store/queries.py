"""What a store promises of queries and of the annotation tool's tasks for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from star_al.types import Event, ExternalTask, Label, Lease, Query, QueryCounts, Role, Waiting


class Queries(Protocol):
    """Queries, and their tasks in the annotation tool."""

    def add_queries(self, lease: Lease, /, queries: Sequence[Query], event: Event) -> None:
        """Add queries outside a round's selection (audit and calibration items); existing ones stay.

        Args:
            lease: The campaign's lease.
            queries: The queries to add.
            event: What to log.
        """

    def queries(self, campaign_id: int, round_index: int | None = None) -> list[Query]:
        """Queries of one round or all, ordered by round, purpose and rank."""

    def open_queries(self, campaign_id: int) -> list[Query]:
        """Queries of all rounds that wait for an answer, in the order of ``queries``."""

    def attempts(self, campaign_id: int, query_ids: Sequence[str]) -> list[Query]:
        """These queries and all other attempts at their items, in the order of ``queries``."""

    def waiting(self, campaign_id: int, round_index: int, purposes: Collection[Role]) -> Waiting:
        """Count how far a round is with its queries for ``purposes``, without its buffer.

        All attempts at an item count as the item. Answers are counted by annotator, one per query, without
        skips, the busiest annotator first. Place and time are not set.

        Args:
            campaign_id: The campaign.
            round_index: The round.
            purposes: The roles whose queries count.
        """

    def query_counts(self, campaign_id: int) -> QueryCounts:
        """Count open queries, and the items by what became of them; all attempts at an item count as the item."""

    def save_tasks(self, lease: Lease, /, tasks: Sequence[ExternalTask]) -> None:
        """Remember which task holds which query. A task holds one query: saving it takes it from any other."""

    def tasks(self, campaign_id: int) -> list[ExternalTask]:
        """The tasks that hold queries, by query id."""

    def projects(self, campaign_id: int) -> list[str]:
        """The projects that hold tasks, the one with most of them first."""

    def withdraw_queries(self, lease: Lease, /, query_ids: Sequence[str], event: Event) -> None:
        """Delete open queries and their tasks, as if they had never been made; queries with an annotation stay.

        Args:
            lease: The campaign's lease.
            query_ids: The queries to delete.
            event: What to log.
        """

    def carry_over(self, lease: Lease, /, query_ids: Sequence[str], round_index: int) -> None:
        """Move open buffer queries to another round, behind its last ranks.

        Args:
            lease: The campaign's lease.
            query_ids: The queries to move.
            round_index: The round that gets them.
        """

    def close_queries(
        self,
        lease: Lease,
        /,
        labels: Sequence[tuple[str, Label]],
        skipped: Sequence[str],
        disputed: Sequence[str] = (),
        follow_up: Sequence[Query] = (),
    ) -> None:
        """Close queries, with a label or without, in one transaction.

        A late answer to a skipped query makes it labelled. A labelled query stays labelled: an answer that
        differs appends a version of the label, a skip changes nothing.

        Args:
            lease: The campaign's lease.
            labels: (query id, label) pairs; the labels are appended, unless they repeat the one in force.
            skipped: Ids of queries to close without a label.
            disputed: Ids of queries to close without a label because their annotators disagree.
            follow_up: New queries for the items of closed ones.

        Raises:
            StoreError: A query does not exist, or a label has no value; nothing was written.
        """
