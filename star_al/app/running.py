"""Run a campaign under its lease, from its first import to the next stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from star_al.app.annotators import check_server, connection, open_annotator
from star_al.app.compose import find_started, open_learner, open_parts, open_store, reading
from star_al.app.heartbeat import GuardedProgress, Heartbeat, is_dead, owner_name
from star_al.app.label_config import check_labels
from star_al.app.starting import create_campaign
from star_al.app.waiting import Hints, Waiter, WebhookOptions
from star_al.config.changes import added_labels, changed_fields, differing_fields
from star_al.config.spec import CampaignFile, LabelStudioSpec
from star_al.data import data_source, test_source
from star_al.errors import ConfigError, StoreError
from star_al.loop import Loop, Outcome
from star_al.parts import Parts, round_spec
from star_al.ports import Progress, Store
from star_al.replay import Replay, find_round, replay_round
from star_al.steps.base_predictions import base_log_probs
from star_al.types import Campaign, Event, JsonObject, Lease, Role


def run(
    file: CampaignFile,
    progress: Progress,
    *,
    max_rounds: int | None = None,
    no_wait: bool = False,
    webhook: WebhookOptions | None = None,
) -> Outcome:
    """Start or resume a campaign and run its rounds, under its lease.

    Raises:
        StarALError: any of the tree; whatever was done is stored and the call may be repeated.
    """
    people = _people(file, webhook)
    store = _store_to_run_in(file, people)
    try:
        campaign = store.find_campaign(file.spec.name) or _create(file, store, progress)
        _refuse_changes(file, store, campaign)
        with (
            _leased(file, store, campaign) as (lease, heartbeat),
            _hints(people, campaign, webhook) as hints,
        ):
            guarded = GuardedProgress(progress, heartbeat)
            _adopt_config(file, store, campaign, lease, guarded)
            parts = open_parts(file, store, campaign, guarded, file.spec).leased(
                lease,
                open_annotator(file, store, campaign),
                Waiter(guarded, heartbeat.check, no_wait=no_wait, hints=hints),
            )
            progress.say(_where_it_runs(parts))
            return Loop(parts).run(max_rounds)
    finally:
        progress.waiting(None)
        store.close()


def prepare(file: CampaignFile, progress: Progress, *, largest_pool: float) -> JsonObject:
    """Make the campaign, and store what other campaigns on its data and model can use; the learner's versions.

    That is the data set and the base model's predictions of held-out items, and of the pool up to a size.

    Raises:
        StarALError: as ``run``.
    """
    store = _store_to_run_in(file, None)
    try:
        campaign = store.find_campaign(file.spec.name) or _create(file, store, progress)
        _refuse_changes(file, store, campaign)
        with _leased(file, store, campaign) as (lease, heartbeat):
            guarded = GuardedProgress(progress, heartbeat)
            parts = replace(open_parts(file, store, campaign, guarded, file.spec), lease=lease)
            for role in Role:
                item_ids = store.item_ids(campaign.campaign_id, role)
                if role is not Role.POOL or len(item_ids) <= largest_pool:
                    base_log_probs(parts, item_ids)
            return parts.learner.versions()
    finally:
        store.close()


def resolved_dtype(file: CampaignFile, progress: Progress) -> str:
    """What ``model.dtype`` comes to on this machine."""
    if file.spec.model.dtype != "auto":
        return file.spec.model.dtype
    return str(open_learner(file, file.spec, [], progress).versions()["dtype"])


def replay(file: CampaignFile, round_index: int, progress: Progress) -> Replay:
    """Run a stored round again and compare its batch; writes nothing to the database.

    Raises:
        DataError: there is no such round, or it has asked nothing.
    """
    with reading(file) as (store, campaign):
        round_ = find_round(store, campaign, round_index)
        parts = open_parts(file, store, campaign, progress, round_spec(round_))
        return replay_round(parts.for_round(round_))


def _people(file: CampaignFile, webhook: WebhookOptions | None) -> LabelStudioSpec | None:
    """The people who label; null where the annotator is simulated."""
    annotator = file.spec.annotator
    people = annotator if isinstance(annotator, LabelStudioSpec) else None
    if webhook is not None and people is None:
        raise ConfigError(
            f"{file.path}: --webhook needs people in Label Studio, but annotator.kind is {annotator.kind}. "
            "Leave it out."
        )
    return people


def _store_to_run_in(file: CampaignFile, people: LabelStudioSpec | None) -> Store:
    """The store, made if there is none yet.

    Labels, data and people are looked at first: a slip leaves no database, and no campaign.
    """
    if people is not None:
        check_labels(file, people)
    if find_started(file) is None:
        data_source(file)
        test_source(file)
        if people is not None:
            check_server(file, people)
    return open_store(file, create=True)


def _create(file: CampaignFile, store: Store, progress: Progress) -> Campaign:
    """A new campaign, after a look at whether its model can do the task; or the one made in the meantime."""
    open_learner(file, file.spec, [], progress).check()
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


@contextmanager
def _hints(
    people: LabelStudioSpec | None, campaign: Campaign, options: WebhookOptions | None
) -> Iterator[Hints | None]:
    """Webhooks, where they are asked for."""
    if people is None or options is None:
        yield None
        return
    from star_al.annotators.label_studio.webhook import Webhook

    with Webhook(connection(people), campaign.key, bind=options.bind, url=options.url) as webhook:
        yield webhook


def _adopt_config(
    file: CampaignFile, store: Store, campaign: Campaign, lease: Lease, progress: Progress
) -> None:
    """Store the config as it is now; tell of labels that it has more than before, and log what else is new."""
    added = added_labels(campaign.config, file.spec)
    changed = [name for name in differing_fields(campaign.config, file.spec, ()) if name != "task.labels"]
    store.update_config(lease, file.spec.model_dump(mode="json"))
    if changed:
        store.add_event(lease, Event("config", f"settings changed: {', '.join(changed)}"))
    if added:
        message = f"labels added: {', '.join(added)}"
        store.add_event(lease, Event("config", message))
        progress.say(message[0].upper() + message[1:])


def _where_it_runs(parts: Parts) -> str:
    versions = parts.learner.versions()
    return f"Model {parts.spec.model.name} on {versions['device']} in {versions['dtype']}"
