"""What a store promises of campaigns and their items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from star_al.types import (
    Artefacts,
    Campaign,
    CampaignSummary,
    Event,
    Item,
    JsonObject,
    Label,
    Lease,
    Role,
    SourceItem,
)


class Campaigns(Protocol):
    """Campaigns and the items in them."""

    def create_campaign(
        self,
        name: str,
        dataset_id: int,
        config: JsonObject,
        seed: int,
        *,
        held_out: Mapping[str, Role],
        test_dataset_id: int | None,
    ) -> Campaign:
        """Make a campaign, in one transaction.

        All items of the data set join: those in ``held_out`` with that role, the others as pool, except
        items that are also in the test data set, which join as test. Given labels of all items that joined
        become labels of version 1 with source ``import``.

        Args:
            name: The campaign's name, unique in the database.
            dataset_id: The data set to label.
            config: The campaign's settings, as plain values.
            seed: The seed that all random choices derive from.
            held_out: Roles of the items that are never trained on, by item id.
            test_dataset_id: The data set of a test file; ``None`` without one.

        Raises:
            StoreError: The name is taken, a data set is not ready, or a held-out item does not exist.
        """

    def find_campaign(self, name: str) -> Campaign | None:
        """The campaign of this name."""

    def summaries(self) -> list[CampaignSummary]:
        """A line about each campaign, by name."""

    def clone_campaign(self, campaign_id: int, name: str, config: JsonObject) -> Campaign:
        """Make a campaign with the items of another, in the same roles and with the same seed.

        The labels in force become labels of version 1 with source ``import``.

        Args:
            campaign_id: The campaign to copy.
            name: The new campaign's name.
            config: Its settings.

        Raises:
            StoreError: The name is taken, or there is no such campaign.
        """

    def restart_campaign(
        self,
        lease: Lease,
        /,
        dataset_id: int,
        config: JsonObject,
        seed: int,
        event: Event,
        *,
        held_out: Mapping[str, Role],
        test_dataset_id: int | None,
    ) -> None:
        """Begin a campaign again, as if ``create_campaign`` had just made it with these arguments.

        Its name, key, log and lease stay. Rounds, queries, answers and labels are deleted, and data sets that
        no campaign uses any more.

        Args:
            lease: The campaign's lease.
            dataset_id: As for ``create_campaign``.
            config: As for ``create_campaign``.
            seed: As for ``create_campaign``.
            event: What to log.
            held_out: As for ``create_campaign``.
            test_dataset_id: As for ``create_campaign``.

        Raises:
            StoreError: A data set is not ready, or a held-out item does not exist.
        """

    def own_artefacts(self, campaign_id: int) -> Artefacts:
        """Adapters, heads and score files of a campaign's rounds that no other campaign's rounds have."""

    def delete_campaign(self, lease: Lease, /) -> None:
        """Delete a campaign with its log, and the data sets and adapters that no other campaign has."""

    def update_config(
        self,
        lease: Lease,
        /,
        config: JsonObject,
        *,
        relabelled: Sequence[Label] = (),
        settled: Sequence[tuple[str, Label]] = (),
        events: Sequence[Event] = (),
    ) -> None:
        """Replace the config by one that differs only in what a running campaign may change.

        Args:
            lease: The campaign's lease.
            config: The settings.
            relabelled: Labels that are called differently under it; appended.
            settled: (query id, label) pairs of queries that its labels decide, as in ``close_queries``.
            events: What to log.
        """

    def project_stamps(self, campaign_id: int) -> list[str] | None:
        """What marks the annotation project as this database's, the newest first; None if any may be replaced."""

    def save_project_stamps(self, campaign_id: int, stamps: Sequence[str] | None) -> None:
        """Replace the stamps; None lets the next run replace any. Needs no lease."""

    def separate_campaign(self, lease: Lease, /) -> None:
        """Give a campaign, copied with its database, a key of its own; forget its tasks and its stamps."""

    def extend_campaign(self, campaign_id: int, items: Iterable[SourceItem]) -> int:
        """Add rows to the pool from the first round that has not used its pool; return how many were new.

        That is the newest round while it is started, fitted, evaluated or stopped, else the one after it.
        Round 0, whose pool the stop set is drawn from, gets them only if it has stopped the campaign. All
        rows become visible at once or none does. Items that the campaign already has, in any role, are left
        out. Given labels of the others, and of pool items without a label or a query, become imported
        labels whose ``round_index`` is that first round. Needs no lease, because it only appends.
        """

    def item_ids(self, campaign_id: int, role: Role, *, by_round: int | None = None) -> list[str]:
        """Sorted ids of the items of a role: all, or those that had joined by a round."""

    def sizes(self, campaign_id: int) -> dict[Role, int]:
        """How many items each role has."""

    def pool_ids(self, campaign_id: int, round_index: int) -> list[str]:
        """Sorted ids of the items that round ``round_index`` may choose from.

        A function of history alone, the same before and after the round's own queries: pool items that
        joined by this round, without a label imported by this round (``None`` is from the start), and not
        queried by an earlier round, unless by a buffer query that is still open.
        """

    def items(self, campaign_id: int, item_ids: Sequence[str]) -> list[Item]:
        """Load items in the order of ``item_ids``.

        Raises:
            StoreError: An id is not in the campaign.
        """

    def known_items(self, campaign_id: int, item_ids: Sequence[str]) -> set[str]:
        """Those of the ids that are items of the campaign."""

    def options(self, campaign_id: int, item_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The options of those items that have options of their own (multiple choice), by item id."""
