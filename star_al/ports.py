"""What the loop needs from the world, as Protocols: a learner, an annotator, a store, a progress display.

Adapters import this module, never the reverse. Every method may be called again after a crash: writes are
upserts or guarded by the lease's epoch, and the same inputs give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from star_al.types import (
    NO_RESULTS,
    Annotation,
    BasePrediction,
    Campaign,
    Dataset,
    Ensured,
    Evaluation,
    Event,
    ExternalTask,
    Float32Array,
    HeldOutPrediction,
    Item,
    JsonObject,
    JsonValue,
    Label,
    Lease,
    Poll,
    Predictions,
    Query,
    Role,
    Round,
    SourceItem,
    StepResults,
    Study,
)

Advance = Callable[[int], None]
"""Called with the number of units (items, steps) done since the last call."""


class Progress(Protocol):
    """Where the loop tells what it does; a terminal, a log, or nothing."""

    def say(self, message: str) -> None:
        """Print one line."""

    def task(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """A task of ``total`` units (null: unknown) with a bar and a time estimate."""

    def waiting(self, message: str | None) -> None:
        """Show what is waited for, in the place of what the last call showed; null ends it."""


class Learner(Protocol):
    """A language model with an adapter whose posterior can be sampled. It reads texts and options only."""

    @property
    def base_key(self) -> str:
        """Hash of all that base predictions depend on: weights, dtype, prompt, labels, truncation."""

    @property
    def truncated(self) -> int:
        """How many different items met so far had their text or options cut to fit the model."""

    def check(self) -> None:
        """Load the model and refuse what cannot work with it, before a campaign is made.

        That is: weights, prompt, labels, and the names of the layers to adapt.

        Raises:
            ModelError, ConfigError: one of them cannot be used; the message says which and why.
        """

    def versions(self) -> JsonObject:
        """Libraries, device and dtype, for the record of a round."""

    def base_predict(self, items: Sequence[Item], advance: Advance) -> list[BasePrediction]:
        """Predictions of the frozen base model, adapter off, in the order of ``items``.

        Raises:
            ModelError: the model cannot be loaded or answers NaN.
        """

    def training_steps(self, n_examples: int) -> int:
        """How many optimiser steps ``fit`` takes on this many examples."""

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
    ) -> str:
        """Train an adapter on (item, label value) pairs and write it into the empty ``folder``.

        ``parent`` is the folder of the adapter to start from (warm start), or null. ``advance`` counts
        optimiser steps. Returns the kind of the artefact. The same arguments on the same machine
        write the same bytes.

        Raises:
            ModelError: the loss is not finite, or the model cannot be loaded.
        """

    def predict(
        self, folder: Path | None, items: Sequence[Item], *, draws: range | None, seed: int, advance: Advance
    ) -> Predictions:
        """Posterior predictions with the adapter in ``folder``, in the order of ``items``.

        ``folder`` null means the base model (K = 1). ``draws`` are the numbers k of the samples; null means
        the posterior's mean or mode (K = 1). Sample k depends on ``seed`` and k alone, so calls with other
        items or other draws share their function samples. ``advance`` counts items.

        Raises:
            ModelError: the adapter is damaged or the predictions are not finite.
        """

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """The model's own embeddings, (N, d), in the order of ``items``.

        Its last hidden state at the prompt's end, from which it answers; by the mean or mode of the posterior
        in ``folder``, null: by the base model. Finite. ``advance`` counts items.

        Raises:
            ModelError: the adapter is damaged or the embeddings are not finite.
        """


StillOurs = Callable[[], None]
"""Raises ``LeaseLostError`` when another controller runs the campaign; called before each change elsewhere."""


class Annotator(Protocol):
    """People, or an oracle, who answer queries."""

    @property
    def place(self) -> str | None:
        """Where people label, as a URL; null for a simulated annotator, or before the first ``ensure``."""

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        """Make each query exist as exactly one open task; harmless to repeat.

        ``known`` is where earlier calls, perhaps of another process, put queries of the campaign. Queries
        and known tasks are the whole of what the campaign has open.

        Raises:
            AnnotatorError: the annotation tool cannot be reached or refuses.
        """

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        """Annotations that are new or changed since ``cursor`` (null: all), of any query ever ensured.

        May return again what it returned before. Follows a call of ``ensure``.

        Raises:
            AnnotatorError: the annotation tool cannot be reached or refuses.
        """

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        """Take back the tasks that nobody has touched; ids of the queries that have no task now.

        Raises:
            AnnotatorError: the annotation tool cannot be reached or refuses.
        """


class Store(Protocol):
    """Campaigns in a database. Frozen records go in and come out; transactions stay inside.

    Methods that take a lease refuse, within their transaction, an epoch that is not the current one.

    Raises:
        LeaseLostError: from any method with a lease, when another controller has taken over; nothing was
            written.
        StoreError: the database cannot be reached or written.
    """

    # -- data sets -------------------------------------------------------------------------------------

    def find_dataset(self, key: str) -> Dataset | None:
        """The ready data set with this key."""

    def begin_dataset(
        self, key: str, name: str, importer: str, *, may_replace: Callable[[str], bool]
    ) -> Dataset:
        """A new, empty data set that nobody finds before it is finished; several may be under way at once.

        What this importer left unfinished under ``key`` goes first, and what those left of whom
        ``may_replace(importer)`` says that they are dead.
        """

    def add_items(self, dataset_id: int, items: Iterable[SourceItem]) -> int:
        """Store items in pages of bounded size, leaving out ids already there; how many were new.

        Of items with one id the first is kept, with the first given label that any of them has.
        """

    def finish_dataset(self, dataset_id: int, *, n_duplicates: int, n_empty: int) -> Dataset:
        """Count the items and mark the data set ready.

        When another importer was first, this one's data set is removed and the other's returned.
        """

    def dataset_item_ids(self, dataset_id: int) -> list[str]:
        """Sorted ids of all items of a data set."""

    # -- campaigns -------------------------------------------------------------------------------------

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
        """A new campaign, in one transaction.

        All items of the data set join: those in ``held_out`` with that role, the others as pool, except
        items that are also in the test data set, which join as test. Given labels of all that joined
        become labels of version 1, source ``import``.
        """

    def find_campaign(self, name: str) -> Campaign | None:
        """The campaign of this name."""

    def update_config(self, lease: Lease, config: JsonObject) -> None:
        """Store a config that differs only in what a running campaign may change."""

    def extend_campaign(self, campaign_id: int, items: Iterable[SourceItem]) -> int:
        """Add rows to a campaign's pool, from the first round that has not used its pool; how many were new.

        That is the newest round while it is started, fitted, evaluated or stopped, else the one after it.
        Round 0, whose pool the stop set is drawn from, gets them only when it has stopped the campaign. All
        rows are seen at once or none. Items that the campaign already has, in any role, are left out. Given
        labels of the others, and of pool items that have no label and no query, become imported labels whose
        ``round_index`` is that first round. Needs no lease: it only appends.
        """

    # -- lease -----------------------------------------------------------------------------------------

    def acquire_lease(
        self, campaign_id: int, owner: str, seconds: float, *, may_take: Callable[[str], bool]
    ) -> Lease:
        """Take the campaign when it is free, expired, or ``may_take(present owner)`` says it is dead.

        Raises:
            LeaseHeldError: a living controller holds it; the message names it and the seconds left.
        """

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        """Push the lease's end to ``seconds`` from now."""

    def release_lease(self, lease: Lease) -> None:
        """Give the campaign back; does nothing when the epoch is over."""

    # -- items -----------------------------------------------------------------------------------------

    def item_ids(self, campaign_id: int, role: Role) -> list[str]:
        """Sorted ids of a role."""

    def pool_ids(self, campaign_id: int, round_index: int) -> list[str]:
        """Sorted ids of what round ``round_index`` may ask.

        A function of history alone, the same before and after the round's own queries: pool items that
        joined by this round, without a label imported by this round (null is from the start), and not
        queried by an earlier round, unless by a buffer query that is still open.
        """

    def items(self, campaign_id: int, item_ids: Sequence[str]) -> list[Item]:
        """Items in the order of ``item_ids``.

        Raises:
            StoreError: an id is not in the campaign.
        """

    # -- labels and annotations ------------------------------------------------------------------------

    def labels(self, campaign_id: int, role: Role | None = None) -> dict[str, Label]:
        """The label in force of each labelled item, of one role or all."""

    def mirror(self, lease: Lease, annotator: str, annotations: Sequence[Annotation]) -> int:
        """Keep annotations and their revisions; how many revisions were new.

        An annotation whose value, ``skipped`` or ``withdrawn`` differs from the newest revision of its
        external id becomes the next revision; any other is left out. ``revision`` is assigned. One whose
        query is not of this campaign is left out too.
        """

    def annotations(self, campaign_id: int, query_ids: Sequence[str] | None = None) -> list[Annotation]:
        """All revisions, ordered by external id and revision."""

    # -- rounds ----------------------------------------------------------------------------------------

    def rounds(self, campaign_id: int) -> list[Round]:
        """All rounds in order."""

    def start_round(self, lease: Lease, round_: Round, training: Sequence[Label]) -> None:
        """A new round with the snapshot of labels it trains on (``round_labels``)."""

    def training_labels(self, campaign_id: int, round_index: int) -> list[Label]:
        """The snapshot that a round trains on, in order of item id."""

    def commit_step(
        self, lease: Lease, round_: Round, event: Event, results: StepResults = NO_RESULTS
    ) -> None:
        """Store a step in one short transaction: the round's new values and state, its results and its event.

        Evaluations, ranking and held-out predictions replace those of the same round; empty ones leave them.
        Queries are added; one that exists (unique on campaign, item, attempt) keeps its state, and an open
        buffer query takes round, rank, reason, ``buffer`` and ``control`` of the one that is added.
        """

    def add_queries(self, lease: Lease, queries: Sequence[Query], event: Event) -> None:
        """Queries outside a round's selection (audit and calibration items); existing ones stay."""

    def evaluations(self, campaign_id: int, round_index: int) -> list[Evaluation]:
        """What ``commit_step`` stored."""

    def held_out(self, campaign_id: int, round_index: int) -> list[HeldOutPrediction]:
        """What ``commit_step`` stored, by model and item id."""

    # -- queries ---------------------------------------------------------------------------------------

    def queries(self, campaign_id: int, round_index: int | None = None) -> list[Query]:
        """Queries of one round or all, ordered by round, purpose and rank."""

    def open_queries(self, campaign_id: int) -> list[Query]:
        """Queries of all rounds that wait for an answer, in the order of ``queries``."""

    def save_tasks(self, lease: Lease, tasks: Sequence[ExternalTask]) -> None:
        """Remember where queries live in the annotation tool; upsert.

        Another query of the campaign that was said to live in one of these places is no longer said to.
        """

    def tasks(self, campaign_id: int) -> list[ExternalTask]:
        """Where queries live, as saved, by query id."""

    def withdraw(self, lease: Lease, query_ids: Sequence[str], event: Event) -> None:
        """Forget open queries and their places, as if never asked; those with an annotation stay."""

    def carry_over(self, lease: Lease, query_ids: Sequence[str], round_index: int) -> None:
        """Make open buffer queries those of another round; ranks go on after the round's last."""

    def settle(
        self,
        lease: Lease,
        labels: Sequence[tuple[str, Label]],
        skipped: Sequence[str],
        disputed: Sequence[str] = (),
        follow_up: Sequence[Query] = (),
    ) -> None:
        """Close queries: (query id, label) pairs get their label appended, ``skipped`` ids are marked so.

        ``disputed`` ids are marked both skipped and disputed. ``follow_up`` are queries that ask closed ones
        again. One transaction. A late answer to a skipped query makes it labelled. A labelled query stays so: an
        answer that differs appends a version of the label, a skip changes nothing.
        """

    # -- base predictions ------------------------------------------------------------------------------

    def base_predictions(self, base_key: str, item_ids: Sequence[str]) -> dict[str, BasePrediction]:
        """Those that are stored, by item id."""

    def save_base_predictions(
        self, lease: Lease, base_key: str, predictions: Sequence[BasePrediction]
    ) -> None:
        """Store a page; existing ones stay."""

    # -- studies ---------------------------------------------------------------------------------------

    def save_study(self, study: Study) -> Study:
        """Make the study, or add its runs to the one of this name, whose config stays; the whole of it."""

    def study(self, name: str) -> Study | None:
        """The study of this name, its runs by strategy and seed."""

    # -- record ----------------------------------------------------------------------------------------

    def add_event(self, lease: Lease, event: Event) -> None:
        """Append to the log."""

    def events(self, campaign_id: int) -> list[Event]:
        """The log, oldest first."""

    def history(self, campaign_id: int) -> list[JsonObject]:
        """Rows of the view ``round_history`` (without the campaign's name), by round."""

    def close(self) -> None:
        """Give connections back."""
