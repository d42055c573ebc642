"""What a campaign runs on: the adapters that the composition root chose, bound to one campaign.

Three views of the same parts:

- ``Parts``: to read a campaign under the settings that its file has today.
- ``RoundParts``: one round, under the settings that the round was stored with.
- ``LeasedParts``: the controller's; it holds the campaign's lease, so it may write and ask people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from star_al.artefacts.folder import ArtefactFolder
from star_al.common.patience import Patience
from star_al.config.spec import CampaignSpec
from star_al.ports import HERE, Annotator, Background, Compute, Learner, Pool, Progress, Store
from star_al.task import Task, make_task
from star_al.types import Campaign, Lease, Role, Round, Waiting


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A campaign with what its work needs; ``spec`` holds today's settings.

    Without a ``lease`` nothing can be written: every method of the store that writes to a campaign asks for one.
    """

    campaign: Campaign
    spec: CampaignSpec
    store: Store
    learner: Learner
    artefacts: ArtefactFolder
    progress: Progress
    lease: Lease | None = None
    head: Learner | None = None
    """The head beside a language model; None without one, also if the head is the learner."""
    compute: Compute = HERE
    """Where the learners predict."""

    @property
    def ranker(self) -> Learner:
        """The learner that ranks the pool."""
        return self.head if self.head is not None and self.spec.head_ranks else self.learner

    def ranker_sha256(self, round_: Round) -> str | None:
        """What ranked the pool of a round: its head or its adapter; None if it had no label to train on."""
        return round_.head_sha256 if self.spec.ranking_model == "head" else round_.adapter_sha256

    @cached_property
    def first_pool(self) -> Pool:
        """The pool of round 0, over which a head without labels predicts."""
        return self.pool(0)

    def pool(self, round_index: int) -> Pool:
        """All texts of the pool that had joined by a round, labelled or not."""
        store, campaign_id = self.store, self.campaign.campaign_id
        item_ids = store.item_ids(campaign_id, Role.POOL, by_round=round_index)
        # Not ``self.store``: parts that hold a pool which holds them would keep a million ids until a rare collection.
        return Pool(tuple(item_ids), lambda ids: store.items(campaign_id, ids))

    @cached_property
    def task(self) -> Task:
        """The task of ``spec``."""
        return make_task(self.spec.task)

    def for_round(self, round_: Round) -> RoundParts:
        """The same parts, bound to a round and the settings stored with it."""
        return RoundParts(
            campaign=self.campaign,
            spec=round_spec(round_),
            store=self.store,
            learner=self.learner,
            artefacts=self.artefacts,
            progress=self.progress,
            lease=self.lease,
            head=self.head,
            compute=self.compute,
            round=round_,
        )

    def leased(
        self,
        lease: Lease,
        annotator: Annotator,
        wait: Callable[[Waiting], bool],
        patience: Patience | None = None,
        background: Background | None = None,
    ) -> LeasedParts:
        """The same parts with what a controller has besides.

        Args:
            lease: The campaign's lease.
            annotator: Who answers.
            wait: As ``LeasedParts.wait``.
            patience: How long to wait for what is away; None does not.
            background: As ``LeasedParts.background``.
        """
        return LeasedParts(
            campaign=self.campaign,
            spec=self.spec,
            store=self.store,
            learner=self.learner,
            artefacts=self.artefacts,
            progress=self.progress,
            lease=lease,
            head=self.head,
            compute=self.compute,
            annotator=annotator,
            wait=wait,
            patience=patience or Patience(say=self.progress.say),
            background=background,
        )


@dataclass(frozen=True, kw_only=True)
class RoundParts(Parts):
    """One round; ``spec`` holds the settings stored with it, whatever the campaign file says by now.

    A round stores the file's settings when it is fitted, and again when it decides to go on (all but
    ``adapter`` and ``posterior``, by which its model was trained). What a round computes follows from them:

    - fit, evaluate: ``task``, ``learner``, ``model``, ``adapter``, ``posterior``, ``head``, ``evaluation``
    - decide: ``stopping``
    - score, select: ``acquisition``; of ``labelling``, the ``buffer`` and the ``overlap`` of its queries; of
      ``stopping``, what ``max_labels`` leaves for the batch

    So a round that is resumed or replayed chooses the same batch although the file has changed.

    Today's settings, those of ``Parts``, hold for everything that concerns people and machines: ``annotator``;
    the other settings of ``labelling`` (how answers become labels, when a round closes, whom to ask again);
    ``database``, ``artefacts``; and ``model.device``, ``model.batch_tokens`` and ``model.trunk_cache_gb``, with
    which the learner was made.
    """

    round: Round

    @cached_property
    def free_ids(self) -> tuple[str, ...]:
        """Sorted ids of the items that the round may ask. Of a million, a database takes seconds to give them."""
        return tuple(self.store.pool_ids(self.campaign.campaign_id, self.round.index))

    @property
    def is_trained(self) -> bool:
        """True if what ranks the pool has been trained; else a base model ranks it, or nothing does."""
        return self.ranker_sha256(self.round) is not None


@dataclass(frozen=True, kw_only=True)
class LeasedParts(Parts):
    """The parts of a controller, which holds the campaign's lease: it writes to the store and asks people."""

    lease: Lease
    annotator: Annotator
    wait: Callable[[Waiting], bool]
    """Called after a poll that did not end the waiting; True to poll again, False to give up."""
    patience: Patience
    background: Background | None = None
    """Where the language model is trained while a head ranks the pool; None trains it in turn."""


def round_spec(round_: Round) -> CampaignSpec:
    """The settings stored with a round."""
    return CampaignSpec.model_validate(round_.config)
