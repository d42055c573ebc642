"""A campaign, and the lease under which one controller writes to it."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.types.json_values import JsonObject


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as stored. ``config`` is the resolved specification it runs with.

    ``key`` is a random value made with the campaign. It tells the campaign from one of the same name in
    another database.
    """

    campaign_id: int
    name: str
    dataset_id: int
    config: JsonObject
    seed: int
    key: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a campaign.

    ``epoch`` rises with every takeover, so that a late write under an earlier lease can be refused.
    """

    campaign_id: int
    owner: str
    epoch: int
