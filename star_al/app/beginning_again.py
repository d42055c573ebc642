"""Other settings for a campaign that nobody has answered yet: it begins again, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from star_al.app.annotators import open_annotator
from star_al.app.starting import restart_campaign
from star_al.config.changes import list_differences
from star_al.config.spec import CampaignFile, CampaignSpec, OracleSpec
from star_al.errors import ConfigError
from star_al.ports import Progress, Store
from star_al.types import Campaign, Event, Lease

CLONED = "clone"
"""The step of the event that a campaign with the labels of another begins with."""


def has_answers(store: Store, campaign: Campaign) -> bool:
    """True if a campaign has answers or labels that are not in its data."""
    campaign_id = campaign.campaign_id
    return bool(store.annotations(campaign_id)) or any(
        event.step == CLONED for event in store.events(campaign_id)
    )


def begin_again(
    file: CampaignFile,
    store: Store,
    campaign: Campaign,
    lease: Lease,
    progress: Progress,
    changed: Sequence[str],
) -> Campaign:
    """Begin a campaign without answers again, with the settings of its file.

    What people have been asked is withdrawn first.

    Args:
        file: The campaign file.
        store: The store.
        campaign: The campaign as stored.
        lease: Its lease.
        progress: Where it is shown.
        changed: The settings that differ, by dotted name.

    Raises:
        ConfigError: Somebody has answered meanwhile; the campaign is as it was.
        AnnotatorError: The annotation tool cannot be reached.
    """
    differences = list_differences(campaign.config, file.spec, changed)
    _withdraw_all(file, store, campaign, lease)
    event = Event("config", f"began again with other settings for {', '.join(changed)}")
    restart_campaign(file, store, lease, event, progress)
    progress.say(
        f"Nobody had answered yet, so the campaign began again with changed settings:\n{differences}"
    )
    found = store.find_campaign(campaign.name)
    assert found is not None
    return found


def _withdraw_all(file: CampaignFile, store: Store, campaign: Campaign, lease: Lease) -> None:
    """Withdraw all open queries from the tool that they were sent to."""
    open_ = store.open_queries(campaign.campaign_id)
    before = CampaignSpec.model_validate(campaign.config)
    if not open_ or isinstance(before.annotator, OracleSpec):
        return
    annotator = open_annotator(file.model_copy(update={"spec": before}), store, campaign)
    still_ours = partial(store.renew_lease, lease, file.spec.database.lease_seconds)
    gone = set(annotator.withdraw(open_, still_ours))
    if not gone.issuperset(query.query_id for query in open_):
        raise ConfigError(
            f"{file.path}: somebody has begun to answer, so these settings can no longer change. Change them back, "
            f"or begin another campaign with `star-al clone {file.path.name} NAME`."
        )
