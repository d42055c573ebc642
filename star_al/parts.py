"""What a campaign runs on: the adapters that the composition root chose, bound to one campaign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from star_al.artefacts.folder import ArtefactFolder
from star_al.config.spec import CampaignSpec
from star_al.ports import Annotator, Learner, Progress, Store
from star_al.task import ClosedTask
from star_al.types import Campaign, Lease, Waiting


@dataclass(frozen=True)
class Parts:
    """The loop's world. ``lease`` null means read-only work, as in a replay."""

    campaign: Campaign
    spec: CampaignSpec
    task: ClosedTask
    store: Store
    learner: Learner
    annotator: Annotator
    artefacts: ArtefactFolder
    progress: Progress
    lease: Lease | None
    wait: Callable[[Waiting], bool]
    """Called after a poll that did not end the waiting; returns when to poll again, or false to give up."""
