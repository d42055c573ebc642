"""What a store promises of labels, and of the annotations that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from star_al.types import Annotation, AnswerCount, Label, Lease, Role


class Labels(Protocol):
    """Annotations as they were given, and the labels settled from them."""

    def labels(self, campaign_id: int, role: Role | None = None) -> dict[str, Label]:
        """The label in force of each labelled item, of one role or all, by item id."""

    def label_counts(self, campaign_id: int) -> dict[Role, int]:
        """How many items of each role have a label."""

    def mirror(self, lease: Lease, /, annotator: str, annotations: Sequence[Annotation]) -> int:
        """Keep annotations and their revisions; return how many revisions were new.

        An annotation whose value, ``skipped`` or ``withdrawn`` differs from the newest revision of its
        external id becomes the next revision; ``revision`` is assigned here. All others are left out, and
        so are annotations of queries that are not in this campaign.

        Args:
            lease: The campaign's lease.
            annotator: The kind or name of the annotator that they come from.
            annotations: The annotations as the annotator has them.
        """

    def annotations(self, campaign_id: int, query_ids: Sequence[str] | None = None) -> list[Annotation]:
        """All revisions, of some queries or all, ordered by external id and revision."""

    def answer_counts(self, campaign_id: int, *, with_options: bool = False) -> list[AnswerCount]:
        """How often each person gave each value, in any order.

        The newest revision of an annotation counts, and one of each person for a query: the newest that is not
        a skip, else a skip. Withdrawn annotations count only if a query has no others.

        Args:
            campaign_id: The campaign.
            with_options: Tell items with different options apart (multiple choice).
        """

    def lead_times(self, campaign_id: int) -> dict[str, list[float]]:
        """Seconds that each person took for their answers, skips excluded, in any order."""
