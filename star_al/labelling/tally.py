"""The summary of a round's batch: how many items got a label, how many did not, and how far annotators agreed."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.common.wording import count
from star_al.labelling.ballots import load_ballots, votes_by_item
from star_al.labelling.crowd import krippendorff_alpha
from star_al.labelling.effort import Effort, effort_with_drafts
from star_al.labelling.queries import items_in, without_label
from star_al.parts import Parts
from star_al.types import QueryState, Role


@dataclass(frozen=True)
class Tally:
    """Summary of a round's batch.

    Attributes:
        labelled: Items with a label.
        still_open: Items that still wait for one.
        dropped: Items that were closed without a label.
        disputed: Dropped items whose annotators disagreed.
        agreement: Krippendorff's alpha over all queries of the round; None if it is not defined.
        effort: What people did with drafts; None if they saw none.
    """

    labelled: int
    still_open: int
    dropped: int
    disputed: int
    agreement: float | None
    effort: Effort | None = None

    def in_words(self) -> str:
        """The line of the collect step."""
        disputed = f" ({self.disputed:,} disputed)" if self.disputed else ""
        words = [count(self.labelled, "label")]
        words += [f"{self.dropped:,} closed without a label{disputed}"] if self.dropped else []
        words += [f"{self.still_open:,} still open"] if self.still_open else []
        words += [] if self.agreement is None else [f"agreement (alpha) {self.agreement:.2f}"]
        words += [] if self.effort is None else [self.effort.in_words()]
        return ", ".join(words)


def tally_round(parts: Parts, round_index: int) -> Tally:
    """Summarise a round's batch as it stands; several attempts at an item count as one, the buffer does not count."""
    campaign_id = parts.campaign.campaign_id
    queries = parts.store.queries(campaign_id, round_index)
    batch = [query for query in queries if query.purpose is Role.POOL and not query.buffer]
    labelled = items_in(batch, QueryState.LABELLED)
    still_open = items_in(batch, QueryState.OPEN) - labelled
    dropped, disputed = without_label(batch)
    answers = parts.store.annotations(campaign_id, [query.query_id for query in queries])
    ballots = load_ballots(parts.store, campaign_id, parts.task, queries, answers)
    return Tally(
        labelled=len(labelled),
        still_open=len(still_open),
        dropped=len(dropped),
        disputed=len(disputed),
        agreement=krippendorff_alpha(votes_by_item(ballots.values()), parts.task.distance),
        effort=effort_with_drafts(parts.spec, parts.task, ballots.values()),
    )
