"""Run a campaign under its lease, from its first import to the next stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from star_al.app.compose import open_learner, open_store, read_only_parts, reading
from star_al.app.starting import create_campaign
from star_al.config import CampaignFile, changed_fields
from star_al.data import data_source, test_source
from star_al.errors import ConfigError, StoreError
from star_al.fitting import round_spec
from star_al.heartbeat import GuardedProgress, Heartbeat, is_dead, owner_name
from star_al.loop import Loop, Outcome
from star_al.parts import Parts
from star_al.ports import Progress, Store
from star_al.replay import Replay, find_round, replay_round
from star_al.types import Campaign, Lease


def run(
    file: CampaignFile, progress: Progress, *, max_rounds: int | None = None, no_wait: bool = False
) -> Outcome:
    """Start or resume a campaign and run its rounds, under its lease.

    Raises:
        StarALError: any of the tree; whatever was done is stored and the call may be repeated.
    """
    store = _store_to_run_in(file)
    try:
        campaign = store.find_campaign(file.spec.name) or _create(file, store, progress)
        _refuse_changes(file, store, campaign)
        with _leased(file, store, campaign) as (lease, heartbeat):
            store.update_config(lease, file.spec.model_dump(mode="json"))
            guarded = GuardedProgress(progress, heartbeat)
            parts = read_only_parts(file, store, campaign, guarded, file.spec)
            parts = replace(parts, lease=lease, wait=_waiter(no_wait))
            progress.say(_where_it_runs(parts))
            return Loop(parts, lease).run(max_rounds)
    finally:
        store.close()


def replay(file: CampaignFile, round_index: int, progress: Progress) -> Replay:
    """Run a stored round again and compare its batch; writes nothing to the database.

    Raises:
        DataError: there is no such round, or it has asked nothing.
    """
    with reading(file) as (store, campaign):
        round_ = find_round(store, campaign, round_index)
        return replay_round(read_only_parts(file, store, campaign, progress, round_spec(round_)), round_)


def _store_to_run_in(file: CampaignFile) -> Store:
    """The store, made if there is none yet; the data is looked for first, so that a slip leaves no database."""
    from db import migrate

    if migrate.is_empty(file.database_url):
        data_source(file)
        test_source(file)
    return open_store(file, create=True)


def _create(file: CampaignFile, store: Store, progress: Progress) -> Campaign:
    """A new campaign, after a look at whether its model can do the task; or the one made in the meantime."""
    open_learner(file, file.spec, []).check()
    try:
        return create_campaign(file, store, progress)
    except StoreError:
        campaign = store.find_campaign(file.spec.name)  # another controller may have been quicker
        if campaign is None:
            raise
        return campaign


def _refuse_changes(file: CampaignFile, store: Store, campaign: Campaign) -> None:
    trained = any(round_.adapter_sha256 for round_ in store.rounds(campaign.campaign_id))
    changed = changed_fields(campaign.config, file.spec, trained=trained)
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
        with suppress(StoreError):  # an earlier error is the one to tell; the lease expires by itself
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
