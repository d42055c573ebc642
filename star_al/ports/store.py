"""Campaigns in a database: one Protocol for each concern, and ``Store``, which is all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from star_al.types import (
    NO_RESULTS,
    Annotation,
    AnswerCount,
    Artefacts,
    BasePrediction,
    Campaign,
    CampaignSummary,
    Dataset,
    Evaluation,
    Event,
    ExternalTask,
    HeldOutPrediction,
    Item,
    JsonObject,
    Label,
    Lease,
    Marks,
    Query,
    QueryCounts,
    Role,
    Round,
    SourceItem,
    StepResults,
    Study,
    Waiting,
)


class Datasets(Protocol):
    """Imported data sets."""

    def find_dataset(self, key: str) -> Dataset | None:
        """The ready data set with this key."""

    def begin_dataset(
        self, key: str, name: str, importer: str, *, may_replace: Callable[[str], bool]
    ) -> Dataset:
        """Make an empty data set, which stays hidden until it is finished. Several may be under way at once.

        First deletes unfinished imports of this key by this importer or by dead importers.

        Args:
            key: Key of the data set.
            name: Name of the data set.
            importer: The process that imports.
            may_replace: Tells whether an importer is dead.
        """

    def add_items(self, dataset_id: int, items: Iterable[SourceItem]) -> int:
        """Store items, in pages of bounded size, and return how many were new.

        Of several items with one id the first is kept, with the first given label that any of them has.
        """

    def finish_dataset(self, dataset_id: int, *, n_duplicates: int, n_empty: int) -> Dataset:
        """Count the items and mark the data set ready.

        If another importer finished first, this data set is deleted and the other one returned.

        Args:
            dataset_id: The data set.
            n_duplicates: Rows that were left out because of an equal id; recorded.
            n_empty: Rows that were left out because they have no text; recorded.
        """

    def dataset_item_ids(self, dataset_id: int) -> list[str]:
        """Sorted ids of all items of a data set."""


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


class MarksOfPeople(Protocol):
    """What people ask of a campaign, also while a controller runs it; needs no lease. Repeating it changes nothing."""

    def marks(self, campaign_id: int) -> Marks:
        """What has been asked.

        Raises:
            StoreError: The campaign has been deleted.
        """

    def archive(self, campaign_id: int, archived: bool, event: Event) -> None:
        """Put a campaign away, or take it back; the event is logged if that changes anything."""

    def pause(self, campaign_id: int, paused: bool, event: Event) -> None:
        """Pause a campaign, or let it go on; the event is logged if that changes anything."""

    def close_round(self, campaign_id: int, round_index: int, event: Event) -> None:
        """Let a round go on with the answers it has; ``HELD_OUT`` for the labels requested before round 0.

        An earlier round than the last closed one changes nothing.
        """


class Leases(Protocol):
    """One controller per campaign."""

    def acquire_lease(
        self, campaign_id: int, owner: str, seconds: float, *, may_take: Callable[[str], bool]
    ) -> Lease:
        """Take the campaign if it is free, its lease has expired, or its owner is dead.

        Args:
            campaign_id: The campaign to take.
            owner: Who takes it.
            seconds: How long the lease lasts unless it is renewed.
            may_take: Tells whether the present owner is dead.

        Raises:
            LeaseHeldError: A living controller holds it; the message names it and the seconds left.
        """

    def lease_owner(self, campaign_id: int) -> str | None:
        """Who holds the campaign, as by ``acquire_lease``; None if it is free or its lease has expired."""

    def renew_lease(self, lease: Lease, /, seconds: float) -> None:
        """Let the lease end ``seconds`` from now."""

    def release_lease(self, lease: Lease, /) -> None:
        """Give the campaign back. Does nothing if another controller has taken over."""


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


class Rounds(Protocol):
    """Rounds, and what their steps found out."""

    def rounds(self, campaign_id: int) -> list[Round]:
        """All rounds in order."""

    def start_round(self, lease: Lease, /, round_: Round, training: Sequence[Label]) -> None:
        """Make a round with a snapshot of the labels it trains on. A round that exists stays as it is.

        Args:
            lease: The campaign's lease.
            round_: The round, in state ``started``.
            training: The labels in force, one per item.
        """

    def training_labels(self, campaign_id: int, round_index: int) -> list[Label]:
        """The snapshot of labels that a round trains on, in order of item id."""

    def commit_step(
        self, lease: Lease, /, round_: Round, event: Event, results: StepResults = NO_RESULTS
    ) -> None:
        """Store a step in one short transaction: the round's new values and state, its results and its event.

        Evaluations, ranking and held-out predictions replace those of the same round; empty ones leave them.
        Queries are added; one that exists (unique on campaign, item, attempt) keeps its state, and an open
        buffer query takes round, rank, reason, ``buffer`` and ``control`` of the one that is added.

        Args:
            lease: The campaign's lease.
            round_: The round as the step leaves it.
            event: What to log.
            results: What else the step made.
        """

    def evaluations(self, campaign_id: int, round_index: int) -> list[Evaluation]:
        """The evaluations of a round, by model and scaling."""

    def held_out(self, campaign_id: int, round_index: int) -> list[HeldOutPrediction]:
        """The held-out predictions of a round, by model and item id."""

    def base_predictions(self, base_key: str, item_ids: Sequence[str]) -> dict[str, BasePrediction]:
        """The stored predictions of a base model, by item id; all campaigns share them."""

    def save_base_predictions(
        self, lease: Lease, /, base_key: str, predictions: Sequence[BasePrediction]
    ) -> None:
        """Store a page of predictions; existing ones stay.

        Args:
            lease: The lease of the campaign that needs them.
            base_key: The learner's hash of all that they depend on.
            predictions: One per item.
        """


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


class Studies(Protocol):
    """Campaigns that are run to be compared."""

    def save_study(self, study: Study) -> Study:
        """Make the study, or add its runs to the one of this name, whose config stays; return all of it."""

    def study(self, name: str) -> Study | None:
        """The study of this name, its runs ordered by strategy and seed."""


class Log(Protocol):
    """The append-only log of a campaign, and its history for people to read."""

    def add_event(self, lease: Lease, /, event: Event) -> None:
        """Append to the log."""

    def events(self, campaign_id: int) -> list[Event]:
        """The log, oldest first."""

    def history(self, campaign_id: int) -> list[JsonObject]:
        """Rows of the view ``round_history`` (without the campaign's name), by round."""


class Store(Datasets, Campaigns, MarksOfPeople, Leases, Labels, Rounds, Queries, Studies, Log, Protocol):
    """Campaigns in a database.

    Frozen records go in and come out, and transactions stay inside. Methods that take a lease check, within
    their transaction, that its epoch is the current one.

    Raises:
        LeaseLostError: From any method with a lease if another controller has taken over; nothing was written.
        StoreError: The database cannot be reached or written.
    """

    def close(self) -> None:
        """Close all connections."""
