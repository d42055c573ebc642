"""Delete a campaign with all that belongs to it alone."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from star_al.app.annotators import label_studio_annotator, no_items
from star_al.app.compose import open_artefacts
from star_al.app.computing import Work, results_of
from star_al.app.leasing import leased
from star_al.app.stores import reading
from star_al.common.files import disk_errors
from star_al.common.wording import count
from star_al.compute.results import results_folder
from star_al.config.spec import CampaignFile, LabelStudioSpec
from star_al.errors import StoreError
from star_al.ports import Progress, StillOurs, Store
from star_al.types import Campaign, Role


@dataclass(frozen=True)
class Going:
    """What deleting a campaign would delete, in words."""

    campaign: str
    parts: tuple[str, ...]


def what_would_go(file: CampaignFile, *, keep_project: bool = False) -> Going:
    """Say what ``delete`` would delete.

    Raises:
        StoreError: The campaign has not been started, or the database cannot be read.
    """
    with reading(file) as (store, campaign):
        campaign_id = campaign.campaign_id
        labels = sum(len(store.labels(campaign_id, role)) for role in Role if role is not Role.TEST)
        answers = len({each.external_id for each in store.annotations(campaign_id)})
        rounds = len(store.rounds(campaign_id))
        own = store.own_artefacts(campaign_id)
        parts = [
            f"{count(rounds, 'round')}, {count(labels, 'label')} and {count(answers, 'answer')} in the database",
            f"{count(len(own.adapters), 'adapter')} and {count(len(own.scores), 'score file')} "
            f"in {file.artefact_address or file.artefact_folder}",
        ]
        if isinstance(file.spec.annotator, LabelStudioSpec) and not keep_project:
            parts.append("its Label Studio project, with all tasks and answers")
        return Going(campaign.name, tuple(parts))


def delete(file: CampaignFile, progress: Progress, *, keep_project: bool = False) -> None:
    """Delete a campaign: its Label Studio project, its artefacts, its rows; nothing else's.

    The rows go last, so that a call that was interrupted can be repeated.

    Args:
        file: The campaign file; it and the data stay.
        progress: Where it is said what stays.
        keep_project: Leave Label Studio alone.

    Raises:
        LeaseHeldError: A controller runs the campaign.
        AnnotatorError: Label Studio cannot be reached or refuses; nothing else was deleted.
        StoreError: The database or the artefacts cannot be changed.
    """
    with reading(file) as (store, campaign), leased(file, store, campaign) as (lease, _):
        if isinstance(file.spec.annotator, LabelStudioSpec) and not keep_project:
            _delete_projects(
                file,
                file.spec.annotator,
                campaign,
                lambda: store.renew_lease(lease, file.spec.database.lease_seconds),
                progress,
            )
        _delete_artefacts(file, store, campaign)
        store.delete_campaign(lease)


def _delete_projects(
    file: CampaignFile, spec: LabelStudioSpec, campaign: Campaign, still_ours: StillOurs, progress: Progress
) -> None:
    ended = label_studio_annotator(file, spec, campaign, no_items).delete_projects(still_ours)
    for title in ended.deleted:
        progress.say(f"Deleted the Label Studio project {title}")
    for title, reason in ended.kept:
        progress.say(f"The Label Studio project {title} stays: {reason}")


def _delete_artefacts(file: CampaignFile, store: Store, campaign: Campaign) -> None:
    folder, own = file.artefact_folder, store.own_artefacts(campaign.campaign_id)
    shared = open_artefacts(file).shared
    if shared is not None:
        names = [f"adapters/{sha256}" for sha256 in own.adapters]
        names += [f"scores/{sha256}.parquet" for sha256 in own.scores]
        names += [results_folder(results_of(campaign, work)) for work in get_args(Work)]
        for name in names:
            shared.remove(name)
    with disk_errors(StoreError, f"{folder}: cannot be deleted", "Check its permissions, then run again."):
        for sha256 in own.adapters:
            _remove(folder / "adapters" / sha256)
        for sha256 in own.scores:
            (folder / "scores" / f"{sha256}.parquet").unlink(missing_ok=True)
        for work in (folder / ".work").glob(f"scores-{campaign.campaign_id}-*"):
            _remove(work)
        for work in get_args(Work):
            _remove(folder / results_folder(results_of(campaign, work)))
        if not any(
            path.is_file() for path in folder.rglob("*") if "trunk" not in path.relative_to(folder).parts
        ):
            _remove(folder / "trunk")  # activations of texts, which only a campaign with adapters here needs
        for empty in ("adapters", "scores", ".staging", ".work", ""):
            with suppress(OSError):  # something else is in it
                (folder / empty).rmdir()


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
