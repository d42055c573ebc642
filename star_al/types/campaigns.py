"""A campaign, the lease under which one controller writes to it, and what people ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from star_al.types.json_values import JsonObject
from star_al.types.rounds import RoundState


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


@dataclass(frozen=True, slots=True)
class Marks:
    """What a person has asked for, beside the lease of the controller that may be running.

    Attributes:
        archived_at: When the campaign was put away; it does not run.
        paused_at: When it was paused; a running controller stops before its next step.
        close_round: The last round that goes on with the answers it has (``HELD_OUT`` for the labels requested
            before round 0); ``None`` if no round was closed by hand.
    """

    archived_at: datetime | None = None
    paused_at: datetime | None = None
    close_round: int | None = None


HELD_OUT = -1
"""The ``close_round`` of the audit and calibration labels, which are requested before round 0."""


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """One line about a campaign.

    Attributes:
        name: The campaign.
        rounds: How many rounds it has.
        state: State of the newest round; ``None`` without one.
        stop_reason: Why the newest round stopped the campaign; ``None`` if it did not.
        labels: Items with a label, without those of a test file.
        accuracy: The newest measured accuracy of an adapted model.
        active_at: The last event or answer.
        runs: Who runs it now; ``None`` if nobody does.
        marks: What a person has asked for.
    """

    name: str
    rounds: int
    state: RoundState | None
    stop_reason: str | None
    labels: int
    accuracy: float | None
    active_at: datetime
    runs: str | None
    marks: Marks


@dataclass(frozen=True, slots=True)
class Artefacts:
    """Hashes of adapters and score files."""

    adapters: frozenset[str]
    scores: frozenset[str]
