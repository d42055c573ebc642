"""Run a campaign under its lease, from its first import to the next stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime

from star_al.app.annotators import check_server, connection, open_annotator, unencrypted
from star_al.app.beginning_again import begin_again, has_answers
from star_al.app.compose import find_started, open_head, open_learner, open_parts, open_store, reading
from star_al.app.computing import computing
from star_al.app.heartbeat import GuardedProgress, Heartbeat
from star_al.app.label_config import check_labels
from star_al.app.model_check import check_untrained, texts_of_data
from star_al.app.same_data import refuse_other_data
from star_al.app.starting import create_campaign
from star_al.app.training_process import TrainingProcess
from star_al.app.waiting import Hints, Waiter, WebhookOptions
from star_al.common.patience import Patience
from star_al.common.process_identity import ProcessIdentity, has_ended
from star_al.common.wording import count, sentence_case
from star_al.config.changes import (
    added_labels,
    changed_fields,
    differing_fields,
    keep_earlier_defaults,
    list_differences,
    renamed_labels,
)
from star_al.config.spec import ApiSpec, CampaignFile, LabelStudioSpec, TaskSpec
from star_al.data import data_source, test_source
from star_al.errors import ConfigError, StoreError
from star_al.labelling.renaming import Relabelling, relabel
from star_al.loop import Loop, Outcome
from star_al.parts import LeasedParts, Parts, round_spec
from star_al.ports import Annotator, Learner, Progress, Store
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
    store = _store_to_run_in(file, people, patience)
    try:
        given = learner
        campaign, learner = _find_or_create(file, store, progress, given)
        file = keep_earlier_defaults(file, campaign.config)
        refuse_other_data(file, store, campaign)
        _refuse_archived(file, store, campaign)
        restarts = _refuse_changes(file, store, campaign)
        if people is not None and (warning := unencrypted(people)):
            progress.say(warning)
        with (
            leased(file, store, campaign, patience) as (lease, heartbeat),
            _hints(people, campaign, webhook) as hints,
            ExitStack() as ending,
        ):
            guarded = GuardedProgress(progress, heartbeat)
            if restarts:
                learner = learner or open_learner(file, file.spec, [], guarded, cache=file.trunk_folder)
                learner.check(texts_of_data(file))
                campaign = begin_again(file, store, campaign, lease, guarded, restarts)
            _adopt_config(file, store, campaign, lease, guarded)
            annotator = annotator or open_annotator(file, store, campaign)
            parts = _parts(file, store, campaign, guarded, learner)
            parts.artefacts.prepare()
            check_untrained(parts)
            background = None
            if people is not None and file.spec.ranking_model == "head":
                background = ending.enter_context(TrainingProcess(file, lease, guarded, heartbeat.check))
                # The learner that was checked would stay in memory beside that of the process.
                learner = given
                parts = _parts(file, store, campaign, guarded, learner)
            parts = ending.enter_context(computing(file, parts, heartbeat.check))
            yield parts.leased(
                lease,
                annotator,
                Waiter(guarded, heartbeat.check, no_wait=no_wait, hints=hints),
                patience,
                background,
            )
    finally:
        progress.waiting(None)
        store.close()


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
    store = _store_to_run_in(file, None, patience)
    try:
        campaign, learner = _find_or_create(file, store, progress)
        file = keep_earlier_defaults(file, campaign.config)
        refuse_other_data(file, store, campaign)
        if _refuse_changes(file, store, campaign):
            raise ConfigError(
                f"{file.path}: the study was prepared with other settings. Run it under another name."
            )
        with leased(file, store, campaign, patience) as (lease, heartbeat):
            guarded = GuardedProgress(progress, heartbeat)
            parts = replace(_parts(file, store, campaign, guarded, learner), lease=lease)
            with computing(file, parts, heartbeat.check) as parts:
                for role in Role:
                    item_ids = store.item_ids(campaign.campaign_id, role)
                    if role is not Role.POOL or len(item_ids) <= largest_pool:
                        base_log_probs(parts, item_ids)
            return parts.learner.versions()
    finally:
        store.close()


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
    learner = given or open_learner(file, file.spec, [], progress, cache=file.trunk_folder)
    learner.check(texts_of_data(file))
    if file.spec.has_head_beside:
        open_head(file, file.spec, [], progress, learner).check()
    try:
        return create_campaign(file, store, progress), learner
    except StoreError:
        campaign = store.find_campaign(file.spec.name)  # another controller may have been quicker
        if campaign is None:
            raise
        return campaign, given


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


def _refuse_archived(file: CampaignFile, store: Store, campaign: Campaign) -> None:
    archived_at = store.marks(campaign.campaign_id).archived_at
    if archived_at is not None:
        raise ConfigError(
            f"{file.path}: campaign {campaign.name!r} was archived on {archived_at.astimezone():%Y-%m-%d} and does "
            "not run. Take it back with `star-al archive --undo`."
        )


def _refuse_changes(file: CampaignFile, store: Store, campaign: Campaign) -> list[str]:
    """Refuse changes that answers do not allow; return those for which the campaign has to begin again.

    Raises:
        ConfigError: People have answered, and the settings must stay as they were then.
    """
    trained = any(round_.adapter_sha256 for round_ in store.rounds(campaign.campaign_id))
    changed = changed_fields(campaign.config, file.spec, trained=trained)
    if changed and has_answers(store, campaign):
        raise ConfigError(
            f"{file.path}: campaign {campaign.name!r} was started with different settings for {', '.join(changed)}. "
            "Change them back, or give the new campaign another name.\n"
            + list_differences(campaign.config, file.spec, changed)
            + "\nTo use them with the labels there are, restore the file and run "
            f"`star-al clone {file.path.name} NAME --with-labels`, then change the new file."
        )
    return changed


@contextmanager
def leased(
    file: CampaignFile, store: Store, campaign: Campaign, patience: Patience | None = None
) -> Iterator[tuple[Lease, Heartbeat]]:
    """Hold the lease of a campaign, renewed by a heartbeat.

    Args:
        file: The campaign file.
        store: The store that holds the campaign.
        campaign: The campaign.
        patience: What ``store`` waits by. It ends with an error or Ctrl-C, which must not be kept waiting.

    Raises:
        LeaseHeldError: Another living process holds it.
    """
    seconds = file.spec.database.lease_seconds
    lease = store.acquire_lease(campaign.campaign_id, str(ProcessIdentity.of()), seconds, may_take=has_ended)
    try:
        with Heartbeat(store, lease, seconds) as heartbeat:
            try:
                yield lease, heartbeat
            except BaseException:
                if patience is not None:
                    patience.end()
                raise
    finally:
        with suppress(StoreError):  # it must not hide an earlier error; the lease expires by itself
            store.release_lease(lease)


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


def _adopt_config(
    file: CampaignFile, store: Store, campaign: Campaign, lease: Lease, progress: Progress
) -> None:
    """Store today's settings, and log what has changed; say so if labels were added."""
    added, renamed = added_labels(campaign.config, file.spec), renamed_labels(campaign.config, file.spec)
    labels = ("task.labels", "task.renamed")
    changed = differing_fields(campaign.config, file.spec, labels)
    messages = [f"settings changed: {', '.join(changed)}"] if changed else []
    messages += (
        [_added_in_words(added, file.spec.task, store.label_counts(campaign.campaign_id))] if added else []
    )
    found = Relabelling((), ())
    if renamed:
        found = relabel(store, campaign.campaign_id, file.spec)
        messages.append(_renamed_in_words(renamed, found))
    store.update_config(
        lease,
        file.spec.model_dump(mode="json"),
        relabelled=found.relabelled,
        settled=found.settled,
        events=[Event("config", message) for message in messages],
    )
    for message in messages[bool(changed) :]:
        progress.say(sentence_case(message))


def _added_in_words(added: Sequence[str], task: TaskSpec, labelled: Mapping[Role, int]) -> str:
    """What adding labels does; a set of labels that was given before says of a new one that the text has it not."""
    words, n = f"labels added: {', '.join(added)}", sum(labelled.values())
    if not task.has_label_sets or not n:
        return words
    them = "it" if len(added) == 1 else "them"
    return (
        f"{words}; {count(n, 'text')} labelled before {'counts' if n == 1 else 'count'} as not having {them}"
    )


def _renamed_in_words(renamed: Mapping[str, str], found: Relabelling) -> str:
    pairs = ", ".join(f"{old} → {new}" for old, new in renamed.items())
    words = f"labels renamed: {pairs}; {count(len(found.relabelled), 'label')} kept under the new name"
    if found.settled:
        words += f", {len(found.settled):,} decided anew from the same answers"
    return words


def _where_it_runs(parts: Parts) -> str:
    versions = parts.learner.versions()
    return f"{sentence_case(parts.spec.model_in_words)} on {versions['device']} in {versions['dtype']}"
