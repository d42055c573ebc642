"""Run a campaign under its lease, from its first import to the next stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime

from star_al.app.annotators import check_server, connection, open_annotator, unencrypted
from star_al.app.beginning_again import begin_again
from star_al.app.changed_settings import adopt_settings, refuse_changes
from star_al.app.compose import open_learner, open_parts
from star_al.app.computing import computing
from star_al.app.heads import open_head
from star_al.app.heartbeat import GuardedProgress, Heartbeat
from star_al.app.label_config import check_labels
from star_al.app.leasing import leased
from star_al.app.model_check import check_untrained, texts_of_data
from star_al.app.same_data import refuse_other_data
from star_al.app.starting import create_campaign
from star_al.app.stores import find_started, open_store, reading
from star_al.app.training_process import TrainingProcess
from star_al.app.waiting import Hints, Waiter, WebhookOptions
from star_al.common.patience import Patience
from star_al.common.wording import sentence_case
from star_al.config.changes import keep_earlier_defaults
from star_al.config.spec import ApiSpec, CampaignFile, LabelStudioSpec
from star_al.data import data_source, test_source
from star_al.errors import ConfigError, StoreError
from star_al.loop import Loop, Outcome
from star_al.parts import LeasedParts, Parts, round_spec
from star_al.ports import Annotator, Learner, Progress, Store
from star_al.replay import Replay, find_round, replay_round
from star_al.steps.base_predictions import base_log_probs
from star_al.types import Campaign, JsonObject, Lease, Role


def run(
    file: CampaignFile,
    progress: Progress,
    *,
    max_rounds: int | None = None,
    no_wait: bool = False,
    webhook: WebhookOptions | None = None,
) -> Outcome:
    """Start or resume a campaign, and run its rounds under its lease.

    Args:
        file: The campaign file.
        progress: Where the run shows what it does.
        max_rounds: Rounds to finish in this call; None runs until a rule stops the campaign.
        no_wait: Return instead of waiting for people.
        webhook: Where Label Studio may report new annotations; None polls only.

    Raises:
        StarALError: Any of the tree. What was done is stored, and the call may be repeated.
    """
    paused_at = paused_since(file)
    if paused_at is not None:  # before a model is loaded
        return Outcome("held", 0, f"since {paused_at.astimezone():%Y-%m-%d %H:%M}")
    with controlling(file, progress, no_wait=no_wait, webhook=webhook) as parts:
        parts.progress.say(_where_it_runs(parts))
        return Loop(parts).run(max_rounds)


@contextmanager
def controlling(
    file: CampaignFile,
    progress: Progress,
    *,
    no_wait: bool = False,
    webhook: WebhookOptions | None = None,
    annotator: Annotator | None = None,
    learner: Learner | None = None,
) -> Iterator[LeasedParts]:
    """Start a campaign if it does not exist, and hold its lease.

    Args:
        file: The campaign file.
        progress: Where the work is shown.
        no_wait: Let the loop return instead of waiting for people.
        webhook: Where Label Studio may report new annotations; None polls only.
        annotator: Who answers, in place of the annotator that the file names.
        learner: The model to use; None opens one.

    Raises:
        StarALError: As ``run``.
    """
    people = _people(file, webhook)
    no_wait = no_wait or isinstance(file.spec.annotator, ApiSpec)  # its answers need the lease, too
    patience = Patience(waits=not no_wait, say=progress.say)
    with closing(_store_to_run_in(file, people, patience)) as store, _waiting_ended(progress):
        campaign, opened = _find_or_create(file, store, progress, learner)
        file = keep_earlier_defaults(file, campaign.config)
        refuse_other_data(file, store, campaign)
        _refuse_archived(file, store, campaign)
        restarts = refuse_changes(file, store, campaign)
        if people is not None and (warning := unencrypted(people)):
            progress.say(warning)
        with (
            leased(file, store, campaign, patience) as (lease, heartbeat),
            _hints(people, campaign, webhook) as hints,
        ):
            guarded = GuardedProgress(progress, heartbeat)
            if restarts:
                opened = _checked_learner(file, guarded, opened)
                campaign = begin_again(file, store, campaign, lease, guarded, restarts)
            adopt_settings(file, store, campaign, lease, guarded)
            annotator = annotator or open_annotator(file, store, campaign)
            waiter = Waiter(guarded, heartbeat.check, no_wait=no_wait, hints=hints)
            parts = _parts(file, store, campaign, guarded, opened)
            parts.artefacts.prepare()
            check_untrained(parts)
            with _trained_aside(file, people, lease, guarded, heartbeat) as background:
                if background is not None:
                    # The learner that was checked would stay in memory beside that of the process.
                    opened = learner
                    parts = _parts(file, store, campaign, guarded, learner)
                with computing(file, parts, heartbeat.check) as parts:
                    yield parts.leased(lease, annotator, waiter, patience, background)


def prepare(file: CampaignFile, progress: Progress, *, largest_pool: float) -> JsonObject:
    """Create a campaign, and store what other campaigns on the same data and model can share.

    That is the data set, and the base model's predictions of the held-out items and of a pool that is not too
    large.

    Args:
        file: The campaign file.
        progress: Where the work is shown.
        largest_pool: A pool of more items is not predicted.

    Returns:
        The versions of libraries, device and dtype that the learner works with.

    Raises:
        StarALError: As ``run``.
    """
    patience = Patience(waits=True, say=progress.say)
    with closing(_store_to_run_in(file, None, patience)) as store:
        campaign, learner = _find_or_create(file, store, progress)
        file = keep_earlier_defaults(file, campaign.config)
        refuse_other_data(file, store, campaign)
        if refuse_changes(file, store, campaign):
            raise ConfigError(
                f"{file.path}: the study was prepared with other settings. Run it under another name."
            )
        with leased(file, store, campaign, patience) as (lease, heartbeat):
            guarded = GuardedProgress(progress, heartbeat)
            parts = replace(_parts(file, store, campaign, guarded, learner), lease=lease)
            parts.artefacts.prepare()
            with computing(file, parts, heartbeat.check) as parts:
                for role in Role:
                    item_ids = store.item_ids(campaign.campaign_id, role)
                    if role is not Role.POOL or len(item_ids) <= largest_pool:
                        base_log_probs(parts, item_ids)
            return parts.learner.versions()


def resolved_dtype(file: CampaignFile, progress: Progress) -> str:
    """The dtype that ``model.dtype`` means on this machine."""
    if file.spec.model.dtype != "auto":
        return file.spec.model.dtype
    return str(open_learner(file, file.spec, [], progress).versions()["dtype"])


def replay(file: CampaignFile, round_index: int, progress: Progress) -> Replay:
    """Run a stored round again, and compare its batch; the database is only read.

    Raises:
        DataError: There is no such round, or it has no batch.
    """
    with reading(file) as (store, campaign):
        round_ = find_round(store, campaign, round_index)
        spec = round_spec(round_)
        rounds = store.rounds(campaign.campaign_id)
        learner = open_learner(file, spec, rounds, progress, cache=file.trunk_folder)
        parts = open_parts(file, store, campaign, progress, spec, learner=learner)
        return replay_round(parts.for_round(round_))


def _people(file: CampaignFile, webhook: WebhookOptions | None) -> LabelStudioSpec | None:
    """The settings of the people who label; None if another kind of annotator does."""
    annotator = file.spec.annotator
    people = annotator if isinstance(annotator, LabelStudioSpec) else None
    if webhook is not None and people is None:
        raise ConfigError(
            f"{file.path}: --webhook needs annotator.kind: label_studio, but it is {annotator.kind}. "
            "Leave out --webhook."
        )
    return people


def _store_to_run_in(file: CampaignFile, people: LabelStudioSpec | None, patience: Patience) -> Store:
    """The store, created if it does not exist.

    Labels, data and people are checked first, so that a mistake leaves no database and no campaign behind.
    """
    if people is not None:
        check_labels(file, people)
    if find_started(file) is None:
        data_source(file)
        test_source(file)
        if people is not None:
            check_server(file, people)
    return open_store(file, create=True, patience=patience)


def _find_or_create(
    file: CampaignFile, store: Store, progress: Progress, given: Learner | None = None
) -> tuple[Campaign, Learner | None]:
    """The campaign, made if there is none; and the learner, if its model had to be checked for a new one.

    A learner that is given is used and returned.
    """
    campaign = store.find_campaign(file.spec.name)
    if given is None:  # this takes seconds, or minutes for a large model
        trains_model = campaign is None and not file.spec.has_head_learner
        trying = ", and trying one training step" if trains_model else ""
        progress.say(f"Loading the {file.spec.model_in_words}{trying}")
    if campaign is not None:
        return campaign, given
    learner = _checked_learner(file, progress, given)
    if file.spec.has_head_beside:
        open_head(file, file.spec, [], progress, learner).check()
    try:
        return create_campaign(file, store, progress), learner
    except StoreError:
        campaign = store.find_campaign(file.spec.name)  # another controller may have been quicker
        if campaign is None:
            raise
        return campaign, given


def _checked_learner(file: CampaignFile, progress: Progress, given: Learner | None = None) -> Learner:
    """The learner, which was found able to learn from the campaign's texts."""
    learner = given or open_learner(file, file.spec, [], progress, cache=file.trunk_folder)
    learner.check(texts_of_data(file))
    return learner


def _parts(
    file: CampaignFile, store: Store, campaign: Campaign, progress: Progress, learner: Learner | None
) -> Parts:
    """Parts to run the campaign with, under the settings of its file."""
    if learner is None:
        rounds = store.rounds(campaign.campaign_id)
        learner = open_learner(file, file.spec, rounds, progress, cache=file.trunk_folder)
    return open_parts(file, store, campaign, progress, file.spec, learner=learner)


def paused_since(file: CampaignFile) -> datetime | None:
    """When the campaign was paused by hand; None if it is not paused or has not been started."""
    if find_started(file) is None:
        return None
    with reading(file) as (store, campaign):
        return store.marks(campaign.campaign_id).paused_at


@contextmanager
def _waiting_ended(progress: Progress) -> Iterator[None]:
    """Let no line stay that says what is waited for."""
    try:
        yield
    finally:
        progress.waiting(None)


def _refuse_archived(file: CampaignFile, store: Store, campaign: Campaign) -> None:
    archived_at = store.marks(campaign.campaign_id).archived_at
    if archived_at is not None:
        raise ConfigError(
            f"{file.path}: campaign {campaign.name!r} was archived on {archived_at.astimezone():%Y-%m-%d} and does "
            "not run. Take it back with `star-al archive --undo`."
        )


@contextmanager
def _hints(
    people: LabelStudioSpec | None, campaign: Campaign, options: WebhookOptions | None
) -> Iterator[Hints | None]:
    """The receiver of webhooks; None if no webhook is to be used."""
    if people is None or options is None:
        yield None
        return
    from star_al.annotators.label_studio.webhook import Webhook

    with Webhook(connection(people), campaign.key, bind=options.bind, url=options.url) as webhook:
        yield webhook


@contextmanager
def _trained_aside(
    file: CampaignFile,
    people: LabelStudioSpec | None,
    lease: Lease,
    progress: GuardedProgress,
    heartbeat: Heartbeat,
) -> Iterator[TrainingProcess | None]:
    """The process that trains the language model while a head ranks the pool for people; None if nobody waits."""
    if people is None or file.spec.ranking_model != "head":
        yield None
        return
    with TrainingProcess(file, lease, progress, heartbeat.check) as process:
        yield process


def _where_it_runs(parts: Parts) -> str:
    from star_al.models.devices import slowness_of

    versions = parts.learner.versions()
    device, dtype = str(versions["device"]), str(versions["dtype"])
    where = f"{sentence_case(parts.spec.model_in_words)} on {device} in {dtype}"
    if (slowness := slowness_of(dtype, device)) == 1:
        return where
    return (
        f"{where}, which takes {slowness:.0f} times as long as float32 on this processor. A campaign keeps its dtype: "
        "run it on another machine, or begin a new one with model.dtype: auto."
    )
