"""One campaign on the in-memory store with the NumPy learner and everything else it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star_al.annotators.oracle import Oracle
from star_al.app.starting import create_campaign
from star_al.artefacts.folder import ArtefactFolder
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.loop import Loop, Outcome
from star_al.parts import Parts
from star_al.task import ClosedTask
from star_al.types import Lease, Query, Role
from support.campaigns import write_campaign
from support.memory_store import MemoryStore
from support.numpy_learner import NumpyLearner
from support.quiet import Quiet


class World:
    """One campaign with everything it runs on; ``run`` may be called again, as after a restart."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.file: CampaignFile = load_campaign(_campaign(folder, changes))
        self.store = MemoryStore()
        self.learner = NumpyLearner(ClosedTask(self.file.spec.task))
        self.progress = Quiet()
        self.campaign = create_campaign(self.file, self.store, self.progress)
        self.campaign_id = self.campaign.campaign_id

    def lease(self) -> Lease:
        return self.store.acquire_lease(self.campaign_id, "test", 60, may_take=lambda owner: True)

    def parts(self, lease: Lease | None) -> Parts:
        spec, task = self.file.spec, ClosedTask(self.file.spec.task)
        return Parts(
            campaign=self.campaign,
            spec=spec,
            task=task,
            store=self.store,
            learner=self.learner,
            annotator=Oracle(spec.annotator, task, spec.seed),
            artefacts=ArtefactFolder(self.file.artefact_folder),
            progress=self.progress,
            lease=lease,
            wait=lambda waiting: False,
        )

    def run(self, max_rounds: int | None = None) -> Outcome:
        lease = self.lease()
        return Loop(self.parts(lease), lease).run(max_rounds)

    def asked(self, purpose: Role = Role.POOL) -> list[Query]:
        return [query for query in self.store.queries(self.campaign_id) if query.purpose is purpose]


def _campaign(folder: Path, changes: dict[str, Any]) -> Path:
    """The campaign file in the folder as it is, unless there is none or settings are to change."""
    path = folder / "campaign.yaml"
    return path if path.exists() and not changes else write_campaign(folder, **changes)
