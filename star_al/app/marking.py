"""Pause a campaign, archive it, or close a round; a list of all campaigns. A controller may be running meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.app.leasing import leased
from star_al.app.stores import reading
from star_al.config.spec import CampaignFile
from star_al.errors import DataError
from star_al.ports import Store
from star_al.types import HELD_OUT, Campaign, CampaignSummary, Event, Role, RoundState


def list_campaigns(url: str) -> list[CampaignSummary]:
    """A line about each campaign of a database; none if the database is empty.

    Raises:
        StoreError: It cannot be read.
    """
    from db import migrate
    from db.store import SqlStore

    if migrate.is_empty(url):
        return []
    store = SqlStore.open(url)
    try:
        return store.summaries()
    finally:
        store.close()


@dataclass(frozen=True)
class Asked:
    """What a person has asked of a campaign, and which process is to do it (None: the next run)."""

    campaign: str
    runs: str | None


def pause(file: CampaignFile, paused: bool) -> Asked:
    """Pause a campaign, or let it go on.

    Raises:
        StoreError: The campaign has not been started, or the database cannot be written.
    """
    with reading(file) as (store, campaign):
        event = Event("pause" if paused else "resume", "paused by hand" if paused else "goes on")
        store.pause(campaign.campaign_id, paused, event)
        return _asked(store, campaign)


def archive(file: CampaignFile, archived: bool) -> Asked:
    """Put a campaign away, or take it back.

    Raises:
        LeaseHeldError: A controller runs it.
        StoreError: The campaign has not been started, or the database cannot be written.
    """
    with reading(file) as (store, campaign), leased(file, store, campaign):
        event = Event("archive", "archived" if archived else "taken back from the archive")
        store.archive(campaign.campaign_id, archived, event)
        return Asked(campaign.name, None)


@dataclass(frozen=True)
class Closing:
    """A round that goes on with the answers it has.

    Attributes:
        round_index: The round; None for the audit and calibration labels before round 0.
        labelled: Items with an answer, which stay.
        open_: Items without, which go back to where they came from.
        runs: The process that closes the round; None: the next run.
    """

    round_index: int | None
    labelled: int
    open_: int
    runs: str | None


def close_round(file: CampaignFile) -> Closing:
    """Let the newest round go on with the answers it has.

    Raises:
        DataError: No round is waiting for labels.
        StoreError: The campaign has not been started, or the database cannot be written.
    """
    with reading(file) as (store, campaign):
        campaign_id, rounds = campaign.campaign_id, store.rounds(campaign.campaign_id)
        index = rounds[-1].index if rounds else HELD_OUT
        open_items = {
            query.item_id
            for query in store.open_queries(campaign_id)
            if query.round_index == max(index, 0) and not query.buffer
        }
        waits = not rounds or rounds[-1].state in (RoundState.SELECTED, RoundState.PUSHED)
        if not waits or not open_items:
            where = f"round {index}" if rounds else "the campaign"
            raise DataError(f"{where} is not waiting for labels, so there is nothing to close.")
        purposes = (Role.AUDIT, Role.CALIBRATION) if index == HELD_OUT else (Role.POOL,)
        asked = store.queries(campaign_id, max(index, 0))
        labelled = {query.item_id for query in asked if query.purpose in purposes} - open_items
        store.close_round(campaign_id, index, Event("close-round", "closed by hand", max(index, 0)))
        return Closing(
            None if index == HELD_OUT else index,
            len(labelled),
            len(open_items),
            _asked(store, campaign).runs,
        )


def _asked(store: Store, campaign: Campaign) -> Asked:
    runs = next((one.runs for one in store.summaries() if one.name == campaign.name), None)
    return Asked(campaign.name, runs)
