"""The composition root: settings become concrete classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from star_al.app.heads import open_head
from star_al.app.language_learners import open_language_learner
from star_al.artefacts.folder import ArtefactFolder
from star_al.artefacts.shared_files import SharedFiles
from star_al.config.changes import refuse_removed_settings
from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.parts import Parts
from star_al.ports import Learner, Progress, Store
from star_al.types import Campaign, Round


def open_learner(
    file: CampaignFile,
    spec: CampaignSpec,
    rounds: Sequence[Round],
    progress: Progress,
    *,
    cache: Path | None = None,
) -> Learner:
    """The model of ``spec`` with its adapter and posterior, on the device that the file names.

    Args:
        file: The campaign file; it decides on what concerns the machine (device, sizes).
        spec: The settings of the model, the adapter and the posterior.
        rounds: The rounds so far. A campaign keeps the dtype that its first round ran in, so that a resumed
            one does not depend on a probe.
        progress: Where the learner tells what a user should know.
        cache: A folder that keeps activations of frozen blocks; None keeps none and writes nothing but what a
            head reads of the pool.

    Raises:
        ConfigError: The adapters of ``rounds`` need a setting that this version no longer has.
    """
    refuse_removed_settings(rounds)
    if not spec.has_head_learner:
        return open_language_learner(file, spec, rounds, progress, cache)
    reads_model = spec.head.features in ("model", "both")
    language_model = open_language_learner(file, spec, rounds, progress, cache) if reads_model else None
    return open_head(file, spec, rounds, progress, language_model, keep=cache is not None)


class _DeferredLearner:
    """Opens a learner when something of it is first used."""

    def __init__(self, open_: Callable[[], Learner]) -> None:
        self._open = open_

    @cached_property
    def _learner(self) -> Learner:
        return self._open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)


def deferred_learner(open_: Callable[[], Learner]) -> Learner:
    """Return a learner that ``open_`` opens when it is first used, so that no model is loaded before."""
    return cast("Learner", _DeferredLearner(open_))


def open_artefacts(file: CampaignFile) -> ArtefactFolder:
    """The campaign's adapters and score files; nothing is read or written yet."""
    address = file.artefact_address
    return ArtefactFolder(file.artefact_folder, None if address is None else SharedFiles(address))


def open_parts(
    file: CampaignFile,
    store: Store,
    campaign: Campaign,
    progress: Progress,
    spec: CampaignSpec | None = None,
    *,
    learner: Learner | None = None,
) -> Parts:
    """The parts of a campaign, to read it.

    Args:
        file: The campaign file.
        store: The store that holds the campaign.
        campaign: The campaign.
        progress: Where work on it is shown.
        spec: Its settings; None takes those stored with the campaign.
        learner: A learner of these settings; None opens one that writes nothing.
    """
    spec = spec or CampaignSpec.model_validate(campaign.config)
    keep = learner is not None
    rounds = store.rounds(campaign.campaign_id)
    learner = learner or open_learner(file, spec, rounds, progress)
    beside = partial(open_head, file, spec, rounds, progress, learner, keep=keep)
    return Parts(
        campaign=campaign,
        spec=spec,
        store=store,
        learner=learner,
        head=deferred_learner(beside) if spec.has_head_beside else None,
        artefacts=open_artefacts(file),
        progress=progress,
    )
