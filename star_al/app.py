"""The composition root: names in a config become concrete classes, and a campaign becomes runnable.

The command line calls the functions of this module and prints what they return.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from star_al import rng
from star_al.annotators.oracle import Oracle
from star_al.artefacts import ArtefactFolder
from star_al.config import AnnotatorSpec, CampaignFile, CampaignSpec, changed_fields
from star_al.data import DataSource, ImportCounts, data_source, read_items, test_source
from star_al.errors import ConfigError, DataError, StoreError
from star_al.heartbeat import GuardedProgress, Heartbeat, is_dead, owner_name
from star_al.loop import Loop, Outcome
from star_al.parts import Parts
from star_al.ports import Annotator, Learner, Progress, Store
from star_al.replay import Replay, replay_round
from star_al.task import ClosedTask
from star_al.types import Campaign, Dataset, Lease, Role, Round

ANNOTATORS: Mapping[str, Callable[[AnnotatorSpec, ClosedTask, int], Annotator]] = {"oracle": Oracle}
"""Annotators by the ``kind`` in a config."""


# -- opening -------------------------------------------------------------------------------------------


def open_store(file: CampaignFile, *, create: bool = False) -> Store:
    """The campaign's database; ``create`` makes the schema in one that is new or empty.

    Raises:
        StoreError: it cannot be reached, or is at another schema version.
    """
    from db.store import SqlStore

    return SqlStore.open(file.database_url, create=create)


def open_learner(file: CampaignFile, rounds: list[Round]) -> Learner:
    """The model with its adapter and posterior; a campaign keeps the dtype that its first round ran in."""
    from star_al.models.learner import LoraLearner

    spec = file.spec
    if rounds and spec.model.dtype == "auto":
        stored = rounds[0].versions.get("dtype")
        spec = spec.model_copy(update={"model": spec.model.model_copy(update={"dtype": stored or "auto"})})
    return LoraLearner(ClosedTask(spec.task), spec, model_path(file))


def model_path(file: CampaignFile) -> str:
    """The model's folder where there is one, relative to the campaign file; else its hub name."""
    name = file.spec.model.name
    folder = file.resolve(name)
    if folder.exists():
        return str(folder)
    if name.startswith((".", "/", "~")):
        raise ConfigError(f"{file.path}: model.name: there is no folder {folder}.")
    return name


def find_campaign(file: CampaignFile, store: Store) -> Campaign:
    """The campaign of this file.

    Raises:
        StoreError: it has not been started.
    """
    campaign = store.find_campaign(file.spec.name)
    if campaign is None:
        raise StoreError(f"campaign {file.spec.name!r} has not been started; `star-al run {file.path.name}` does.")
    return campaign


@contextmanager
def reading(file: CampaignFile) -> Iterator[tuple[Store, Campaign]]:
    """Store and campaign for commands that only look."""
    store = open_store(file)
    try:
        yield store, find_campaign(file, store)
    finally:
        store.close()


def read_only_parts(file: CampaignFile, store: Store, campaign: Campaign, progress: Progress) -> Parts:
    """All parts but a lease; nothing can be written to the store with them."""
    spec = CampaignSpec.model_validate(campaign.config)
    task = ClosedTask(spec.task)
    return Parts(
        campaign=campaign,
        spec=spec,
        task=task,
        store=store,
        learner=open_learner(file, store.rounds(campaign.campaign_id)),
        annotator=ANNOTATORS[spec.annotator.kind](spec.annotator, task, campaign.seed),
        artefacts=ArtefactFolder(file.artefact_folder),
        progress=progress,
        lease=None,
        wait=lambda n_open: False,
    )


# -- running -------------------------------------------------------------------------------------------


def run(
    file: CampaignFile, progress: Progress, *, max_rounds: int | None = None, no_wait: bool = False
) -> Outcome:
    """Start or resume a campaign and run its rounds, under its lease.

    Raises:
        StarALError: any of the tree; whatever was done is stored and the call may be repeated.
    """
    store = open_store(file, create=True)
    try:
        campaign = store.find_campaign(file.spec.name) or _create(file, store, progress)
        _refuse_changes(file, campaign)
        with _leased(file, store, campaign) as (lease, heartbeat):
            store.update_config(lease, file.spec.model_dump(mode="json"))
            parts = read_only_parts(file, store, campaign, GuardedProgress(progress, heartbeat))
            parts = replace(parts, spec=file.spec, lease=lease, wait=_waiter(no_wait))
            progress.say(_where_it_runs(parts))
            return Loop(parts, lease).run(max_rounds)
    finally:
        store.close()


def _refuse_changes(file: CampaignFile, campaign: Campaign) -> None:
    changed = changed_fields(campaign.config, file.spec.model_dump(mode="json"))
    if changed:
        raise ConfigError(
            f"{file.path}: campaign {campaign.name!r} has been started with other settings; "
            f"changed: {', '.join(changed)}. Change them back, or give the new campaign another name."
        )


@contextmanager
def _leased(file: CampaignFile, store: Store, campaign: Campaign) -> Iterator[tuple[Lease, Heartbeat]]:
    seconds = file.spec.database.lease_seconds
    lease = store.acquire_lease(campaign.campaign_id, owner_name(), seconds, may_take=is_dead)
    try:
        with Heartbeat(store, lease, seconds) as heartbeat:
            yield lease, heartbeat
    finally:
        store.release_lease(lease)


def _waiter(no_wait: bool) -> Callable[[int], bool]:
    """Sleep between polls, a little longer each time up to 30 s; or give up at once."""
    pause = 1.0

    def wait(n_open: int) -> bool:
        nonlocal pause
        if no_wait:
            return False
        threading.Event().wait(pause)
        pause = min(pause * 1.5, 30.0)
        return True

    return wait


def _where_it_runs(parts: Parts) -> str:
    versions = parts.learner.versions()
    return f"Model {parts.spec.model.name} on {versions['device']} in {versions['dtype']}"


# -- starting ------------------------------------------------------------------------------------------


def _create(file: CampaignFile, store: Store, progress: Progress) -> Campaign:
    """Import the data and draw the held-out items; the campaign appears in one transaction at the end."""
    spec = file.spec
    task = ClosedTask(spec.task)
    dataset = _import(store, data_source(file), task, progress, what="items")
    source = test_source(file)
    test = None if source is None else _import(store, source, task, progress, what="test items")
    item_ids = store.dataset_item_ids(dataset.dataset_id)
    if test is not None:
        test_ids = set(store.dataset_item_ids(test.dataset_id))
        shared = sum(item_id in test_ids for item_id in item_ids)
        if shared:
            progress.say(f"{shared} items are in the test file too and were left out of the pool")
            item_ids = [item_id for item_id in item_ids if item_id not in test_ids]
    held_out = _draw_held_out(spec, item_ids)
    if len(held_out) >= len(item_ids):
        raise DataError(
            f"{spec.data.path}: the pool is empty: of {len(item_ids)} usable items, {len(held_out)} are held out "
            "(evaluation.size and evaluation.calibration). Add data or hold out fewer."
        )
    return store.create_campaign(
        spec.name,
        dataset.dataset_id,
        spec.model_dump(mode="json"),
        spec.seed,
        held_out=held_out,
        test_dataset_id=test.dataset_id if test else None,
    )


def _draw_held_out(spec: CampaignSpec, item_ids: list[str]) -> dict[str, Role]:
    """Audit and calibration items, drawn at random by the campaign's seed."""
    n_audit = spec.evaluation.size if spec.evaluation.kind == "audit" else 0
    drawn = rng.draw(item_ids, n_audit + spec.evaluation.calibration, rng.derive_seed(spec.seed, 0, "held out"))
    return {
        item_id: Role.AUDIT if position < n_audit else Role.CALIBRATION for position, item_id in enumerate(drawn)
    }


def _import(store: Store, source: DataSource, task: ClosedTask, progress: Progress, *, what: str) -> Dataset:
    key = source.fingerprint()
    found = store.find_dataset(key)
    if found is not None and found.ready:
        progress.say(f"{found.n_items:,} {what} from {source.name}, already in the database")
        return found
    dataset = store.begin_dataset(key, source.name)
    counts = ImportCounts()
    with progress.task(f"Importing {source.name}", None) as advance:
        new = store.add_items(dataset.dataset_id, _counted(read_items(source, task, counts), advance))
    duplicates = counts.items - new
    dataset = store.finish_dataset(dataset.dataset_id, n_duplicates=duplicates, n_empty=counts.empty)
    progress.say(f"{new:,} {what} from {source.name}: {duplicates:,} duplicates and {counts.empty:,} empty left out")
    return dataset
