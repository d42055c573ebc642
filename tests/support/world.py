"""One campaign on the in-memory store, with the NumPy learner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from star_al.annotators.oracle import Oracle
from star_al.app.starting import create_campaign
from star_al.artefacts.folder import ArtefactFolder
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, OracleSpec
from star_al.loop import Loop, Outcome
from star_al.parts import LeasedParts, Parts, RoundParts
from star_al.task import closed, make_task
from star_al.task.columns import is_open
from star_al.types import Item, Lease, Query, Role, Round
from support.campaigns import write_campaign
from support.drawing_learner import DrawingLearner
from support.memory_store import MemoryStore
from support.numpy_learner import NumpyLearner
from support.quiet import Quiet


class World:
    """One campaign and its parts; ``run`` may be called again, as after a restart."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.file: CampaignFile = load_campaign(_campaign(folder, changes))
        self.store = MemoryStore()
        task = make_task(self.file.spec.task)
        # Most tests look into the learners of a closed task; those of open ones use what all learners have.
        self.learner = cast(
            NumpyLearner, DrawingLearner(task) if is_open(task) else NumpyLearner(closed(task))
        )
        self.head = cast(NumpyLearner, None if is_open(task) else NumpyLearner(closed(task), "head"))
        self.progress = Quiet()
        self.campaign = create_campaign(self.file, self.store, self.progress)
        self.campaign_id = self.campaign.campaign_id

    def lease(self) -> Lease:
        return self.store.acquire_lease(self.campaign_id, "test", 60, may_take=lambda owner: True)

    def parts(self) -> Parts:
        return Parts(
            campaign=self.campaign,
            spec=self.file.spec,
            store=self.store,
            learner=self.learner,
            artefacts=ArtefactFolder(self.file.artefact_folder),
            progress=self.progress,
            head=self.head if self.file.spec.has_head_beside else None,
        )

    def round_parts(self, index: int) -> RoundParts:
        """A stored round, to look at or to replay."""
        return self.parts().for_round(self.round(index))

    def leased_parts(self) -> LeasedParts:
        """Those of a controller that takes the campaign now."""
        parts = self.parts()
        return parts.leased(self.lease(), self.oracle(), lambda waiting: False)

    def oracle(self) -> Oracle:
        """The simulated annotator of the campaign file."""
        spec = self.file.spec
        assert isinstance(spec.annotator, OracleSpec)
        return Oracle(spec.annotator, make_task(spec.task), spec.seed, self.load_items)

    def load_items(self, item_ids: Sequence[str]) -> list[Item]:
        return self.store.items(self.campaign_id, item_ids)

    def item(self, query: Query) -> Item:
        """What a query asks."""
        return self.load_items([query.item_id])[0]

    def run(self, max_rounds: int | None = None) -> Outcome:
        return Loop(self.leased_parts()).run(max_rounds)

    def round(self, index: int) -> Round:
        return self.store.rounds(self.campaign_id)[index]

    def asked(self, purpose: Role = Role.POOL) -> list[Query]:
        return [query for query in self.store.queries(self.campaign_id) if query.purpose is purpose]


def _campaign(folder: Path, changes: dict[str, Any]) -> Path:
    """Load the campaign file in the folder; write it first if it does not exist or settings change."""
    path = folder / "campaign.yaml"
    return path if path.exists() and not changes else write_campaign(folder, **changes)
