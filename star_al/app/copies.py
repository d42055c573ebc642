"""A database and its copy share a project in Label Studio: let one of them go on with it."""

from __future__ import annotations

from star_al.app.leasing import leased
from star_al.app.stores import reading
from star_al.config.spec import CampaignFile


def separate(file: CampaignFile) -> str:
    """Make the campaign of a copied database one of its own; return its name.

    Raises:
        StoreError: The campaign has not been started, or another process runs it.
    """
    with reading(file) as (store, campaign), leased(file, store, campaign) as (lease, _):
        store.separate_campaign(lease)
        return campaign.name


def claim(file: CampaignFile) -> str:
    """Let the next run use the project from this database again; return the campaign's name.

    Raises:
        StoreError: The campaign has not been started, or another process runs it.
    """
    with reading(file) as (store, campaign), leased(file, store, campaign):
        store.save_project_stamps(campaign.campaign_id, None)
        return campaign.name
